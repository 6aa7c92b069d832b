#include "app/progress.h"

#include <algorithm>
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

std::string human_time(double seconds) {
  constexpr double kMost = 1e9;  // 31 years
  const auto whole = static_cast<uint64_t>(std::clamp(seconds, 0.0, kMost) + 0.5);
  std::array<char, 32> text{};
  if (whole < 60)
    std::snprintf(text.data(), text.size(), "%u s", static_cast<unsigned>(whole));
  else if (whole < 3600)
    std::snprintf(text.data(), text.size(), "%u min %02u s", static_cast<unsigned>(whole / 60),
                  static_cast<unsigned>(whole % 60));
  else
    std::snprintf(text.data(), text.size(), "%u h %02u min", static_cast<unsigned>(whole / 3600),
                  static_cast<unsigned>(whole / 60 % 60));
  return text.data();
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

// Per second, since the first call with this `what`; 0: cannot be told yet.
double Progress::rate_since_first(std::string_view what, uint64_t done) {
  const auto now = Clock::now();
  if (counted_ != what) {
    counted_ = what;
    started_ = now;
    first_count_ = done;
  }
  const double seconds = std::chrono::duration<double>(now - started_).count();
  return seconds > 0 && done > first_count_ ? static_cast<double>(done - first_count_) / seconds : 0;
}

void Progress::tokens(std::string_view what, uint64_t done, uint64_t total) {
  if (!enabled_)
    return;
  const double rate = rate_since_first(what, done);
  std::string line = std::string(what) + "  " + std::to_string(done);
  if (total != 0)
    line += " of " + std::to_string(total);
  line += " tokens";
  if (rate > 0)
    line += "  " + one_decimal(rate) + " tokens/s";
  show(line, done == total);
}

void Progress::pages(std::string_view what, uint64_t done, uint64_t total) {
  if (!enabled_)
    return;
  const double rate = rate_since_first(what, done);
  std::string line = std::string(what) + "  " + std::to_string(done) + " of " + std::to_string(total);
  if (rate > 0)
    line += "  " + (rate < 1 ? one_decimal(1 / rate) + " s/page" : one_decimal(rate) + " pages/s") + "  " +
            human_time(static_cast<double>(total - done) / rate) + " left";
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
