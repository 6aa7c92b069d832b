// Results on their way to disk: a thread that writes and syncs while the model is at the next page.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "app/batch/result_record.h"

namespace vl2::batch {

/// Threads  push() and finish() on one
class ResultWriter {
 public:
  static constexpr size_t kWaiting = 4;  ///< results that may wait to be written

  /// write  called on the writer's thread, in the order of push(); not again after an error
  explicit ResultWriter(std::function<Status(const PageResult&)> write);
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;
  ~ResultWriter() { (void)finish(); }

  /// Waits for room. False: writing has failed, there is no use in going on.
  bool push(PageResult result);

  /// Waits until everything is written; the first error of it.
  Status finish();

 private:
  void work();

  const std::function<Status(const PageResult&)> write_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<PageResult> waiting_;
  bool closed_ = false;
  Status status_;
  std::thread thread_;
};

}  // namespace vl2::batch
