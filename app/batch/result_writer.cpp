#include "app/batch/result_writer.h"

namespace vl2::batch {

ResultWriter::ResultWriter(std::function<Status(const PageResult&)> write)
    : write_(std::move(write)), thread_([this] { work(); }) {}

bool ResultWriter::push(PageResult result) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() < kWaiting || !status_.ok(); });
  if (!status_.ok())
    return false;
  waiting_.push_back(std::move(result));
  changed_.notify_all();
  return true;
}

Status ResultWriter::finish() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable())
    thread_.join();
  return status_;
}

void ResultWriter::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty() || !status_.ok())
      return;
    const PageResult result = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Status status = write_(result);
    lock.lock();
    status_ = std::move(status);
    changed_.notify_all();
    if (!status_.ok())
      return;
  }
}

}  // namespace vl2::batch
