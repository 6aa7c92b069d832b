#include "app/server/slot_queue.h"

#include <algorithm>
#include <string_view>

namespace vl2::server {
namespace {

constexpr auto kAskAfter = std::chrono::milliseconds(20);

uint64_t mix(uint64_t a, uint64_t b) {
  a ^= b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2);
  return a;
}

}  // namespace

std::vector<uint64_t> conversation_signature(const std::vector<ChatMessage>& messages) {
  std::vector<uint64_t> signature;
  for (const ChatMessage& message : messages) {
    const std::hash<std::string_view> hash;
    uint64_t sum = mix(static_cast<uint64_t>(message.role), hash(message.text));
    for (const PictureFile& picture : message.pictures)
      sum = mix(sum, hash(*picture));
    signature.push_back(sum);
  }
  return signature;
}

SlotQueue::SlotQueue(std::vector<std::unique_ptr<ChatSlot>> slots, uint32_t most_waiting) : most_waiting_(most_waiting) {
  for (auto& slot : slots)
    slots_.push_back({std::move(slot), {}, false});
}

std::optional<size_t> SlotQueue::best_free_slot(const std::vector<uint64_t>& signature) const {
  std::optional<size_t> best;
  size_t best_common = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].busy)
      continue;
    const auto& other = slots_[i].signature;
    const size_t length = std::min(other.size(), signature.size());
    const auto differs = std::mismatch(other.begin(), other.begin() + static_cast<ptrdiff_t>(length), signature.begin()).first;
    const size_t common = static_cast<size_t>(differs - other.begin());
    // Among equals the one that holds the least, so that other conversations stay where they are.
    if (!best || common > best_common || (common == best_common && other.size() < slots_[*best].signature.size())) {
      best = i;
      best_common = common;
    }
  }
  return best;
}

void SlotQueue::take(size_t index, const std::vector<uint64_t>& signature) {
  slots_[index].busy = true;
  slots_[index].signature = signature;
}

SlotQueue::Turn SlotQueue::acquire(const std::vector<uint64_t>& signature, const std::function<bool()>& gone) {
  const auto start = std::chrono::steady_clock::now();
  const auto waited = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::unique_lock lock(mutex_);
  if (closed_)
    return {};
  if (waiting_.empty())
    if (const std::optional<size_t> index = best_free_slot(signature)) {
      take(*index, signature);
      return {Outcome::Granted, std::make_unique<Lease>(*this, *index), waited()};
    }
  if (waiting_.size() >= most_waiting_)
    return {Outcome::Full, nullptr, 0};

  Waiter self{&signature, {}, {}};
  waiting_.push_back(&self);
  while (!self.granted && !closed_) {
    if (self.wake.wait_for(lock, kAskAfter) == std::cv_status::no_timeout)
      continue;
    lock.unlock();
    const bool left = gone();
    lock.lock();
    if (left && !self.granted) {
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &self));
      return {Outcome::Gone, nullptr, waited()};
    }
  }
  if (self.granted)
    return {Outcome::Granted, std::make_unique<Lease>(*this, *self.granted), waited()};
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &self));
  return {Outcome::Closed, nullptr, waited()};
}

void SlotQueue::release(size_t index) {
  const std::lock_guard lock(mutex_);
  slots_[index].busy = false;
  if (waiting_.empty())
    return;
  Waiter* first = waiting_.front();
  waiting_.pop_front();
  first->granted = best_free_slot(*first->signature);
  take(*first->granted, *first->signature);
  first->wake.notify_one();
}

void SlotQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Waiter* waiter : waiting_)
    waiter->wake.notify_one();
}

uint32_t SlotQueue::busy_count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.busy; }));
}

uint32_t SlotQueue::waiting_count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(waiting_.size());
}

}  // namespace vl2::server
