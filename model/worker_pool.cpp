#include "model/worker_pool.h"

namespace vl2 {

WorkerPool::WorkerPool(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i)
    threads_.emplace_back([this] { serve(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    thread.join();
}

void WorkerPool::run(size_t count, const std::function<void(size_t)>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  next_ = 0;
  count_ = count;
  if (count > 1)
    wake_.notify_all();
  take_parts(lock);
  done_.wait(lock, [this] { return under_way_ == 0; });
}

// With the lock held, which is open while a part is worked on.
void WorkerPool::take_parts(std::unique_lock<std::mutex>& lock) {
  while (next_ < count_) {
    const size_t part = next_++;
    ++under_way_;
    lock.unlock();
    (*work_)(part);
    lock.lock();
    --under_way_;
  }
  if (under_way_ == 0)
    done_.notify_all();
}

void WorkerPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return ends_ || next_ < count_; });
    if (ends_)
      return;
    take_parts(lock);
  }
}

}  // namespace vl2
