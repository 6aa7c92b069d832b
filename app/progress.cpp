#include "app/progress.h"

#include <array>
#include <cstdio>
#include <unistd.h>

namespace vl2 {
namespace {

constexpr std::chrono::milliseconds kBetweenLines{100};

std::string one_decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

}  // namespace

bool wants_progress(bool quiet) {
  return !quiet && isatty(STDERR_FILENO) == 1;
}

std::string human_bytes(uint64_t bytes) {
  if (bytes < 1000)
    return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  constexpr std::array kUnits = {" kB", " MB", " GB", " TB"};
  while (value >= 999.95 && unit + 1 < kUnits.size())
    value /= 1000, ++unit;
  return one_decimal(value) + kUnits[unit];
}

void Progress::bytes(std::string_view what, uint64_t done, uint64_t total) {
  if (!enabled_)
    return;
  std::string line = std::string(what) + "  " + human_bytes(done);
  if (total != 0)
    line += " of " + human_bytes(total) + "  " +
            std::to_string(static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total))) + " %";
  show(line, done == total);
}

void Progress::tokens(std::string_view what, uint64_t done, uint64_t total) {
  if (!enabled_)
    return;
  const auto now = Clock::now();
  if (counted_ != what) {
    counted_ = what;
    started_ = now;
    first_count_ = done;
  }
  std::string line = std::string(what) + "  " + std::to_string(done);
  if (total != 0)
    line += " of " + std::to_string(total);
  line += " tokens";
  const double seconds = std::chrono::duration<double>(now - started_).count();
  if (seconds > 0 && done > first_count_)
    line += "  " + one_decimal(static_cast<double>(done - first_count_) / seconds) + " tokens/s";
  show(line, done == total);
}

void Progress::step(std::string_view what) {
  show(std::string(what), true);
}

void Progress::show(const std::string& line, bool at_once) {
  const auto now = Clock::now();
  if (!enabled_ || (!at_once && visible_ && now - last_shown_ < kBetweenLines))
    return;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());  // back to the first column, erase, write
  std::fflush(stderr);
  visible_ = true;
  last_shown_ = now;
}

void Progress::clear() {
  if (!visible_)
    return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  visible_ = false;
}

void Progress::note(std::string_view line) {
  if (!enabled_)
    return;
  clear();
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace vl2
