#include "app/vl2_api_steps.h"

#include <algorithm>
#include <chrono>

#include "runtime/clock.h"

namespace vl2::api {

namespace {

// How long a leader waits for the others of the last step: a part of what a step costs everybody, and no more than threads take to
// hand out a few words, be they on a busy machine.
constexpr double kPatience = 0.125, kLeastPatience_ms = 0.05, kMostPatience_ms = 20;

}  // namespace

Result<std::vector<uint32_t>> StepScheduler::decode(Session& session, uint32_t count, const SampleOptions& options) {
  if (session.plan() == nullptr) {  // decodes one operator a dispatch: nothing to share
    {
      const std::lock_guard guard(mutex_);
      ++counts_.steps;
      ++counts_.sessions;
    }
    const std::lock_guard turn(turn_);
    return session.decode(count, options);
  }
  Request request{{&session, options}, count};
  std::unique_lock guard(mutex_);
  waiting_.push_back(&request);
  expected_.erase(&session);
  changed_.notify_all();
  while (!request.done) {
    if (!leading_)
      lead(guard);
    else
      changed_.wait(guard);
  }
  return std::move(request.ids);
}

void StepScheduler::leaves(const Session& session) {
  const std::lock_guard guard(mutex_);
  if (expected_.erase(&session) > 0)
    changed_.notify_all();
}

StepScheduler::Counts StepScheduler::counts() const {
  const std::lock_guard guard(mutex_);
  return counts_;
}

// One step, for whoever is waiting by then.
void StepScheduler::lead(std::unique_lock<std::mutex>& guard) {
  leading_ = true;
  const double patience_ms = std::clamp(last_step_ms_ * kPatience, kLeastPatience_ms, kMostPatience_ms);
  changed_.wait_for(guard, std::chrono::duration<double, std::milli>(patience_ms),
                    [&] { return expected_.empty() || waiting_.size() >= most_rows_; });
  expected_.clear();  // who is late is not waited for until it comes by itself
  guard.unlock();
  turn_.lock();
  guard.lock();
  const auto taken = static_cast<std::ptrdiff_t>(std::min<size_t>(waiting_.size(), most_rows_));
  const std::vector<Request*> requests(waiting_.begin(), waiting_.begin() + taken);
  waiting_.erase(waiting_.begin(), waiting_.begin() + taken);
  guard.unlock();
  const auto start = Clock::now();
  run(requests);
  turn_.unlock();
  guard.lock();
  last_step_ms_ = ms_since(start);
  ++counts_.steps;
  counts_.sessions += requests.size();
  for (Request* const request : requests) {
    request->done = true;
    expected_.insert(request->row.session);
  }
  leading_ = false;
  changed_.notify_all();
}

void StepScheduler::run(const std::vector<Request*>& requests) {
  if (requests.size() > 1 && batch_ == nullptr && !batch_failed_) {
    auto made = BatchDecode::create(engine_, most_rows_);
    batch_failed_ = !made.ok();  // no memory for it: they take turns
    if (made.ok())
      batch_ = made.take();
  }
  uint32_t count = requests.front()->count;
  std::vector<BatchRow> rows;
  for (const Request* const request : requests) {
    count = std::min(count, request->count);
    rows.push_back(request->row);
  }
  std::vector<uint32_t> ids;
  Status status = fail(Code::Unsupported, "");
  if (requests.size() > 1 && batch_ != nullptr)
    status = batch_->decode(rows, count, ids);
  for (size_t i = 0; i < requests.size(); ++i) {
    if (status.ok())
      requests[i]->ids = std::vector<uint32_t>(ids.begin() + static_cast<std::ptrdiff_t>(i * count),
                                               ids.begin() + static_cast<std::ptrdiff_t>((i + 1) * count));
    else if (status.code() == Code::DeviceLost)
      requests[i]->ids = status;
    else  // one of them cannot: each by itself finds out who
      requests[i]->ids = rows[i].session->decode(requests[i]->count, rows[i].options);
  }
}

}  // namespace vl2::api
