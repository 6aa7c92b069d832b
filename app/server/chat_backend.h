// What the server needs of a model, so that HTTP, queue and JSON are built and tested without one.
//
// One implementation stands over app/vl2.h (vl2_backend.h); the tests have another that needs no model.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/reply_numbers.h"

namespace vl2::server {

enum class ChatRole { System, User, Assistant };

using PictureFile = std::shared_ptr<const std::string>;  ///< bytes of a PNG, JPEG, WebP or BMP file

struct ChatMessage {
  ChatRole role = ChatRole::User;
  std::string text;                   ///< UTF-8; "<image>" marks places of pictures, missing marks stand in front
  std::vector<PictureFile> pictures;  ///< of a user's message
};

struct ChatOptions {
  vl2_reply_options reply{.struct_size = sizeof(vl2_reply_options)};  ///< its numbers (app/reply_numbers.h), nothing else of it
  bool logprobs = false;
  uint32_t top_logprobs = 0;  ///< alternatives of each token, up to 20
  std::string schema;         ///< JSON Schema that the answer is of; empty: any text
  bool loop_guard = true;     ///< an answer that repeats itself is ended
  bool fresh = false;         ///< use nothing that the slot still holds of earlier conversations: same bits as a new one
};

struct Logprob {
  uint32_t token_id = 0;
  float logprob = 0;
};

/// A token of an answer and the text that is complete with it.
struct ChatPiece {
  std::string text;  ///< whole characters, with grounding tags
  bool has_token = false;
  Logprob token;
  std::vector<Logprob> alternatives;
};

struct ChatBox {
  std::string label;
  std::array<uint32_t, 4> box{};     ///< left, top, right, bottom; 0..999 of the picture's sides
  std::array<uint32_t, 4> pixels{};  ///< the same in pixels of the picture
  uint32_t picture = 0;              ///< index among the pictures of the request
  float probability = -1;            ///< 0..1; -1: not asked for
};

enum class StopReason { End, MaxTokens, ContextFull, Stopped, Loop };

struct ChatSummary {
  StopReason stop = StopReason::End;
  std::string tagged_text;
  uint32_t prompt_tokens = 0, cached_tokens = 0, picture_tokens = 0, answer_tokens = 0;
  double resize_ms = 0, encode_ms = 0, prefill_ms = 0, decode_ms = 0;
};

struct BackendError {
  enum class Kind { Request, NotFound, ContextFull, Cancelled, OutOfMemory, DeviceLost, Device };
  Kind kind = Kind::Device;
  std::string message;
};

/// One conversation at a time. One thread at a time.
class ChatSlot {
 public:
  virtual ~ChatSlot() = default;
  /// Encodes the pictures and reads the prompt.
  ///
  /// keep_going  asked between the parts of that work; false ends it: Cancelled
  virtual std::optional<BackendError> start(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                                            const std::function<bool()>& keep_going) = 0;
  /// The next piece; `end` is set instead when there is none.
  virtual std::optional<BackendError> next(ChatPiece& piece, bool& end) = 0;
  /// Ends the answer, if one is being given. The slot is free for the next start().
  virtual void end() = 0;
  /// Of the answer so far.
  virtual ChatSummary summary() = 0;
  /// Boxes of the answer so far, those that are complete.
  virtual std::vector<ChatBox> boxes() = 0;
};

struct PicturePlan {
  uint32_t tiles_wide = 1, tiles_high = 1;
  uint32_t tokens = 0;
};

struct ModelFacts {
  std::string name;  ///< what requests call it
  std::string device;
  uint32_t context_tokens = 0;
  bool has_eyes = true;
};

/// Pictures that the model keeps for the next question about them.
struct PictureCacheFigures {
  uint32_t pictures = 0;
  uint64_t bytes = 0, limit_bytes = 0;
  uint64_t hits = 0, misses = 0, evictions = 0;  ///< since the model was loaded
  uint32_t beginnings = 0;                       ///< conversations up to their first pictures, kept as they were read
  uint64_t beginning_hits = 0;
};

enum class BackendHealth { Ok, Degraded, Lost };

/// A loaded model. Any number of threads at a time.
class ChatBackend {
 public:
  virtual ~ChatBackend() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual std::optional<BackendError> create_slot(std::unique_ptr<ChatSlot>& slot) = 0;
  /// How a picture of width x height is cut when `pictures` are in the conversation.
  virtual std::optional<BackendError> plan_picture(uint32_t width, uint32_t height, uint32_t pictures,
                                                   PicturePlan& plan) const = 0;
  /// Whether ChatOptions.schema can be this. Needs no device.
  virtual std::optional<BackendError> check_schema(const std::string& schema) const = 0;
  /// special  control tokens in the text are those tokens, not letters
  virtual std::optional<BackendError> tokenize(std::string_view text, bool special, std::vector<uint32_t>& ids) const = 0;
  /// May be a part of a character.
  virtual std::string token_bytes(uint32_t id) const = 0;
  virtual PictureCacheFigures picture_cache() const = 0;
  /// Asks the device.
  virtual BackendHealth check() = 0;

  /// Steps in which answers got their next tokens, and answers in them added up. Any thread.
  struct StepCounts {
    uint64_t steps = 0, answers = 0;
  };
  virtual StepCounts steps() const { return {}; }
};

}  // namespace vl2::server
