// One line on the terminal that says how far a long step is; silent where nobody watches.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace vl2 {

/// Whether progress should be shown: standard error is a terminal, and the user did not ask for quiet.
bool wants_progress(bool quiet);

/// A count of bytes for people: "812 B", "3.4 MB", "55.0 GB" (powers of 1000).
std::string human_bytes(uint64_t bytes);

/// A time for people: "45 s", "1 min 13 s", "2 h 05 min".
std::string human_time(double seconds);

/// Writes progress to standard error: one line that is written over, at most ten times a second, and gone at the end.
///
/// With enabled = false every call does nothing. Clear the line before writing anything else to the terminal.
/// Threads  one
class Progress {
 public:
  explicit Progress(bool enabled) : enabled_(enabled) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// "loading model.safetensors  12.0 of 32.3 GB  37 %"; total 0 leaves the share out.
  void bytes(std::string_view what, uint64_t done, uint64_t total);

  /// "reading the prompt  512 of 1446 tokens  210.4 tokens/s"; rate since the first call with this `what`; total 0: no "of".
  void tokens(std::string_view what, uint64_t done, uint64_t total);

  /// "reading pages  17 of 200  2.5 pages/s  1 min 13 s left"; rate since the first call with this `what`, so that pages of an earlier
  /// run do not count.
  void pages(std::string_view what, uint64_t done, uint64_t total);

  /// Any step that has no count: "encoding picture 1 of 2". Shown at once.
  void step(std::string_view what);

  /// Takes the line away.
  void clear();

  /// A line that stays: clears, then writes it.
  void note(std::string_view line);

 private:
  using Clock = std::chrono::steady_clock;
  void show(const std::string& line, bool at_once);
  double rate_since_first(std::string_view what, uint64_t done);

  bool enabled_;
  bool visible_ = false;
  Clock::time_point last_shown_{};
  std::string counted_;  // the `what` that started_ belongs to
  Clock::time_point started_{};
  uint64_t first_count_ = 0;
};

}  // namespace vl2
