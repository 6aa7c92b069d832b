// Threads that share the parts of one piece of work after another.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vl2 {

class WorkerPool {
 public:
  /// threads  beside the caller of run()
  explicit WorkerPool(uint32_t threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Calls work(0) .. work(count - 1) from the threads and the caller, in any order; returns when all of them have. Threads: one
  /// caller at a time.
  void run(size_t count, const std::function<void(size_t)>& work);

 private:
  void serve();
  void take_parts(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(size_t)>* work_ = nullptr;
  size_t next_ = 0, count_ = 0, under_way_ = 0;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace vl2
