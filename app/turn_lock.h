// A lock that goes to those who wait in the order in which they came.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace vl2 {

/// Unlike std::mutex it cannot starve: a thread that unlocks and locks again goes behind all that wait. Works with
/// std::unique_lock and std::lock_guard.
class TurnLock {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    const uint64_t ticket = join();
    changed_.wait(guard, [&] { return is_next(ticket); });
    take();
  }

  /// Waits for `limit` at most; false: the turn never came.
  bool try_lock_for(std::chrono::milliseconds limit) {
    std::unique_lock guard(mutex_);
    const uint64_t ticket = join();
    if (!changed_.wait_for(guard, limit, [&] { return is_next(ticket); })) {
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
      changed_.notify_all();
      return false;
    }
    take();
    return true;
  }

  void unlock() {
    const std::lock_guard guard(mutex_);
    held_ = false;
    changed_.notify_all();
  }

 private:
  uint64_t join() {
    waiting_.push_back(next_ticket_);
    return next_ticket_++;
  }
  bool is_next(uint64_t ticket) const { return !held_ && waiting_.front() == ticket; }
  void take() {
    waiting_.pop_front();
    held_ = true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<uint64_t> waiting_;
  uint64_t next_ticket_ = 0;
  bool held_ = false;
};

}  // namespace vl2
