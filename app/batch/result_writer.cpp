#include "app/batch/result_writer.h"

namespace vl2::batch {

ResultWriter::ResultWriter(uint32_t slots, std::function<Status(const PageResult&)> write)
    : most_waiting_(kWaiting * slots), write_(std::move(write)), thread_([this] { work(); }) {}

bool ResultWriter::push(uint64_t position, PageResult result) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return position < written_ + most_waiting_ || given_up_ || !status_.ok(); });
  if (given_up_ || !status_.ok())
    return false;
  waiting_.emplace(position, std::move(result));
  changed_.notify_all();
  return true;
}

void ResultWriter::give_up() {
  {
    const std::lock_guard lock(mutex_);
    given_up_ = true;
  }
  changed_.notify_all();
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
    changed_.wait(lock, [&] { return closed_ || next_is_there(); });
    if (!next_is_there())
      return;
    const PageResult result = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    lock.unlock();
    Status status = write_(result);
    lock.lock();
    ++written_;
    status_ = std::move(status);
    changed_.notify_all();
    if (!status_.ok())
      return;
  }
}

}  // namespace vl2::batch
