#include "app/server/slot_queue.h"

#include <algorithm>
#include <string_view>

namespace vl2::server {
namespace {

constexpr std::string_view kMark = "<image>";
constexpr auto kAskAfter = std::chrono::milliseconds(20);

constexpr size_t kTextBlock = 64;      // bytes: some 16 tokens
constexpr size_t kPictureBlocks = 26;  // 421 tokens at least

// The numbers of a message: the first is told from those of another role.
class MessageBlocks {
 public:
  MessageBlocks(ChatRole role, std::vector<uint64_t>& signature) : role_(role), signature_(signature), first_(signature.size()) {}
  ~MessageBlocks() {
    if (signature_.size() == first_)
      signature_.push_back(0);
    signature_[first_] ^= 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(role_) + 1);
  }
  MessageBlocks(const MessageBlocks&) = delete;
  MessageBlocks& operator=(const MessageBlocks&) = delete;

  void add_text(std::string_view text) {
    for (; !text.empty(); text.remove_prefix(std::min(text.size(), kTextBlock)))
      signature_.push_back(std::hash<std::string_view>{}(text.substr(0, kTextBlock)));
  }
  void add_picture(const std::string& file) {
    signature_.insert(signature_.end(), kPictureBlocks, std::hash<std::string_view>{}(file) + 1);
  }

 private:
  const ChatRole role_;
  std::vector<uint64_t>& signature_;
  const size_t first_;
};

}  // namespace

std::vector<uint64_t> conversation_signature(const std::vector<ChatMessage>& messages) {
  std::vector<uint64_t> signature;
  for (const ChatMessage& message : messages) {
    MessageBlocks blocks(message.role, signature);
    // As the prompt has it: a picture at each mark, those without one in front.
    size_t marks = 0;
    for (size_t at = message.text.find(kMark); at != std::string::npos; at = message.text.find(kMark, at + kMark.size()))
      ++marks;
    std::string_view text = message.text;
    for (size_t i = 0; i < message.pictures.size(); ++i) {
      if (i + marks >= message.pictures.size()) {
        const size_t mark = std::min(text.find(kMark), text.size());
        blocks.add_text(text.substr(0, mark));
        text.remove_prefix(std::min(text.size(), mark + kMark.size()));
      }
      blocks.add_picture(*message.pictures[i]);
    }
    blocks.add_text(text);
  }
  return signature;
}

SlotQueue::SlotQueue(std::vector<std::unique_ptr<ChatSlot>> slots, uint32_t most_waiting) : most_waiting_(most_waiting) {
  for (auto& slot : slots)
    slots_.push_back({std::move(slot), {}, 0, false});
}

std::optional<size_t> SlotQueue::best_free_slot(const std::vector<uint64_t>& signature) const {
  std::optional<size_t> best;
  int64_t best_score = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].busy)
      continue;
    const auto& other = slots_[i].signature;
    const size_t length = std::min(other.size(), signature.size());
    const auto differs = std::mismatch(other.begin(), other.begin() + static_cast<ptrdiff_t>(length), signature.begin()).first;
    // What need not be read now counts for more than what may have to be read again some day; and if some rules or a greeting are
    // all that is common, other conversations stay where they are.
    const int64_t common = differs - other.begin(), lost = static_cast<int64_t>(other.size()) - common;
    const int64_t score = 2 * common - lost;
    if (!best || score > best_score || (score == best_score && slots_[i].taken < slots_[*best].taken)) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

void SlotQueue::take(size_t index, const std::vector<uint64_t>& signature) {
  slots_[index].busy = true;
  slots_[index].signature = signature;
  slots_[index].taken = ++turns_;
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
