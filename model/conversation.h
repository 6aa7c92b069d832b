// A conversation about pictures: turns in, answers out, over one session.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/engine.h"
#include "model/prompt.h"
#include "model/session.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

/// A picture that a conversation keeps, since a third one changes how the first two are tiled.
struct OwnedPicture {
  uint32_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  ///< [height, width, 3]
};

struct ReplyOptions {
  SampleOptions sampling;     ///< step and update_seen are set by the session
  uint32_t max_tokens = 512;  ///< fewer when the context is full before
  bool keep_special = false;  ///< hand grounding tags to on_text
  /// Gets each piece of the answer, whole characters only; false stops the answer.
  std::function<bool(std::string_view)> on_text;
};

enum class StopReason { EndOfSequence, MaxTokens, ContextFull, Stopped };

const char* stop_reason_name(StopReason reason);

struct Reply {
  std::string text;          ///< without special tokens
  std::string tagged_text;   ///< with grounding tags
  std::vector<TokenId> ids;  ///< the end token left out
  StopReason stop = StopReason::EndOfSequence;
};

/// Messages, pictures and the cache of one conversation. One thread at a time; engine and tokenizer outlive it.
class Conversation {
 public:
  /// Errors  NotFound: the tokenizer lacks a control token; OutOfMemory
  static Result<std::unique_ptr<Conversation>> create(Engine& engine, const Tokenizer& tokenizer);

  /// Adds a user's turn and prefills it. With a third picture the whole conversation is encoded again, every picture as one tile.
  ///
  /// text      UTF-8; `<image>` marks places of pictures, missing marks stand in front
  /// pictures  of this turn
  /// progress  told "encoding picture" and "reading" steps; may be empty
  /// Errors    ContextFull with the numbers, BadArgument (marks, sizes), those of the device. The conversation is as before.
  Status ask(const std::string& text, std::vector<OwnedPicture> pictures,
             const std::function<void(std::string_view)>& progress = {});

  /// Generates the answer to the last turn.
  Result<Reply> reply(const ReplyOptions& options);

  uint32_t token_count() const { return session_->length(); }
  Session& session() { return *session_; }

 private:
  struct Message {
    Turn turn;
    std::vector<OwnedPicture> pictures;
  };
  Conversation(Engine& engine, const Tokenizer& tokenizer) : engine_(engine), tokenizer_(tokenizer) {}
  uint32_t picture_count() const;
  Status count_image_tokens(Message& message, uint32_t pictures_in_conversation) const;
  Status prefill(std::span<Message> messages, bool from_start, uint32_t pictures_in_conversation,
                 const std::function<void(std::string_view)>& progress);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  ControlIds control_;
  std::unique_ptr<Session> session_;
  std::vector<Message> messages_;
  bool answer_is_open_ = false;  // the last answer ended without its end token
};

}  // namespace vl2
