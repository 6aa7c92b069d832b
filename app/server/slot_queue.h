// N slots, and the queue of requests in front of them.
//
// First come, first served: a slot that becomes free goes to the request that waited longest. Of several free slots it gets the
// one whose last conversation begins most like its own, since the beginning need not be read again there; of those that are no use
// to it, the one that holds least, then the one that was used longest ago.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "app/server/chat_backend.h"

namespace vl2::server {

/// What conversations have in common at their beginning, as numbers: equal beginnings have equal ones, and about as many as they
/// take time to read: one for 64 bytes of text, some for a picture, in the order of the prompt.
std::vector<uint64_t> conversation_signature(const std::vector<ChatMessage>& messages);

/// Any thread. Leases must be gone before it.
class SlotQueue {
  struct Slot {
    std::unique_ptr<ChatSlot> slot;
    std::vector<uint64_t> signature;
    uint64_t taken = 0;  // the turn at which it was last
    bool busy = false;
  };

 public:
  /// A slot, until the lease goes.
  class Lease {
   public:
    Lease(SlotQueue& queue, size_t index) : queue_(queue), index_(index) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { queue_.release(index_); }
    ChatSlot& slot() { return *queue_.slots_[index_].slot; }

   private:
    SlotQueue& queue_;
    size_t index_;
  };

  enum class Outcome { Granted, Full, Gone, Closed };
  struct Turn {
    Outcome outcome = Outcome::Closed;
    std::unique_ptr<Lease> lease;
    double waited_seconds = 0;
  };

  /// most_waiting  requests that may wait while all slots are busy
  SlotQueue(std::vector<std::unique_ptr<ChatSlot>> slots, uint32_t most_waiting);

  /// Waits for a slot. `gone` is asked about every 20 ms whether there is still somebody to wait for.
  Turn acquire(const std::vector<uint64_t>& signature, const std::function<bool()>& gone);

  /// From now on nobody waits or is let in: Closed. Leases stay.
  void close();

  uint32_t slot_count() const { return static_cast<uint32_t>(slots_.size()); }
  uint32_t busy_count() const;
  uint32_t waiting_count() const;

 private:
  struct Waiter {
    const std::vector<uint64_t>* signature;
    std::condition_variable wake;
    std::optional<size_t> granted;  // index of a slot
  };

  void release(size_t index);
  std::optional<size_t> best_free_slot(const std::vector<uint64_t>& signature) const;
  void take(size_t index, const std::vector<uint64_t>& signature);

  std::vector<Slot> slots_;
  uint64_t turns_ = 0;
  const uint32_t most_waiting_;
  mutable std::mutex mutex_;
  std::deque<Waiter*> waiting_;  // longest first; none is granted
  bool closed_ = false;
};

}  // namespace vl2::server
