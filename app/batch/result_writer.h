// Results on their way to disk: put in order, then written and synced by a thread while the model is at the next pages.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "app/batch/result_record.h"

namespace vl2::batch {

/// Memory   the results between the last one that was written and the one that is furthest ahead: kWaiting a slot
/// Threads  push() on any; finish() on one, after the last push()
class ResultWriter {
 public:
  static constexpr size_t kWaiting = 4;  ///< results a slot that may wait: to be written, or for a page before them

  /// slots  pages that are answered at a time
  /// write  called on the writer's thread, in the order of positions; not again after an error
  ResultWriter(uint32_t slots, std::function<Status(const PageResult&)> write);
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;
  ~ResultWriter() { (void)finish(); }

  /// Waits for room; the first result that is not written yet always has it. False: writing has failed, or it was given up: there
  /// is no use in going on.
  ///
  /// position  of the page among those to do; each from 0 on once, in any order
  bool push(uint64_t position, PageResult result);

  /// From now on nobody waits for room, since a page that others wait for will never come.
  void give_up();

  /// Waits until everything is written that has all before it; the first error of writing.
  Status finish();

 private:
  void work();
  bool next_is_there() const { return !waiting_.empty() && waiting_.begin()->first == written_; }

  const size_t most_waiting_;
  const std::function<Status(const PageResult&)> write_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, PageResult> waiting_;  // by position
  uint64_t written_ = 0;                    // results
  bool closed_ = false, given_up_ = false;
  Status status_;
  std::thread thread_;
};

}  // namespace vl2::batch
