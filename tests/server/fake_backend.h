// A model that needs none: its answers are worked out from the question, as the tests and their clients expect.
//
// The last message says what to do:
//   say TEXT       answers TEXT, a token a word (the space before it belongs to it)
//   count N [MS]   answers " 1 2 3 ... N", MS milliseconds a token
//   boxes          an answer with two boxes, a tag or a piece of a list a token
//   echo           what all messages were: "user:TEXT+pictures;..."
//   hold           reads its prompt until release() is called
//   fail KIND      start() fails: request, full, memory, lost, device
//   break N        next() fails after N tokens: the device was lost
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "app/server/chat_backend.h"

namespace vl2::server {

class FakeBackend : public ChatBackend {
 public:
  const ModelFacts& facts() const override { return facts_; }
  std::optional<BackendError> create_slot(std::unique_ptr<ChatSlot>& slot) override;
  std::optional<BackendError> plan_picture(uint32_t width, uint32_t height, uint32_t pictures, PicturePlan& plan) const override;
  std::optional<BackendError> check_schema(const std::string& schema) const override;
  std::optional<BackendError> tokenize(std::string_view text, bool special, std::vector<uint32_t>& ids) const override;
  std::string token_bytes(uint32_t id) const override;
  PictureCacheFigures picture_cache() const override { return kept; }
  BackendHealth check() override { return health_state; }

  void release() { released = true; }

  // What has happened, for the tests.
  std::atomic<int> most_slots{1000};
  std::atomic<int> active{0}, most_active{0};  // answers between start() and end()
  std::atomic<int> started{0}, tokens{0};
  std::atomic<bool> released{false};
  PictureCacheFigures kept;
  std::atomic<BackendHealth> health_state{BackendHealth::Ok};
  uint32_t id_of(const std::string& token) const;

 private:
  ModelFacts facts_{"fake", "none", 4096, true};
  std::atomic<int> slots_{0};
  mutable std::mutex mutex_;
  mutable std::vector<std::string> words_;
};

}  // namespace vl2::server
