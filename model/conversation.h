// A conversation about pictures: messages in, answers out token by token, over one session.
//
// The messages are the truth; what the device holds of them is a cache. Before an answer the whole prompt is made again on the
// host, compared with the tokens and pictures on the device, and read from the first difference on. So messages can be added,
// taken back or written anew, and only what changed is read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/engine.h"
#include "model/loop_guard.h"
#include "model/prompt.h"
#include "model/session.h"
#include "model/token_mask.h"
#include "model/token_probability.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

class ByteReader;
class ByteWriter;

/// A picture that a conversation keeps, since a third one changes how the first two are tiled.
struct OwnedPicture {
  uint32_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  ///< [height, width, 3]
  PictureDigest digest{};    ///< set by the conversation, of a model that keeps pictures
  bool operator==(const OwnedPicture&) const = default;
};

/// A message as it stands in a conversation, which owns the text.
struct MessageView {
  Role role;
  const std::string& text;  ///< of an answer that was generated, with grounding tags
  uint32_t first_picture;   ///< its index among all pictures
  uint32_t picture_count;
  bool open;  ///< an answer without its end token
};

/// What is being read, for progress: pictures or tokens are counted.
enum class ReadPhase { Pictures, Tokens };

/// What gives a session its next tokens in Session::decode()'s place: at least one, at most `count`.
using DecodeTokens = std::function<Result<std::vector<uint32_t>>(Session&, uint32_t count, const SampleOptions&)>;

/// Told before each picture, about every 50 ms of it, before each part of the prompt, and at the end; an error ends the reading.
using ReadProgress = std::function<Status(ReadPhase phase, uint32_t done, uint32_t total)>;

struct ReplyOptions {
  SampleOptions sampling;        ///< step and update_seen are set by the session
  uint32_t max_tokens = 512;     ///< fewer when the context is full before
  bool keep_special = false;     ///< pieces hold grounding tags
  bool go_on = false;            ///< the last message is the beginning of the answer
  bool loop_guard = false;       ///< an answer that repeats itself is ended: StopReason::Loop
  bool probabilities = false;    ///< of each token; the logits of each are copied to the host, and no token is chosen ahead
  uint32_t at_a_time = 0;        ///< tokens chosen before they are read back; 0: as suits the device
  bool share_beginning = false;  ///< go on from what another conversation read, and leave what this one reads for others
  uint32_t alternatives = 0;     ///< likeliest tokens of each piece; needs probabilities
  std::shared_ptr<const AnswerSchema> schema;  ///< what the answer has to be; each token is chosen by itself then
};

/// Files of conversations hold its numbers: new ones come last.
enum class StopReason { EndOfSequence, MaxTokens, ContextFull, Stopped, Loop };

const char* stop_reason_name(StopReason reason);

/// A token of an answer and the text that is complete with it; or, as the last of an answer, only text: what is left of a broken
/// character.
struct Piece {
  std::string text;  ///< whole characters, often none
  bool has_token = false;
  TokenId id = 0;
  uint32_t index = 0;  ///< of the token in the answer
  float logprob = 1;   ///< 0 or less; 1 where it was not asked for
  std::vector<TokenProbability> alternatives;
};

struct ReplyTimes {
  EncodeTimes pictures;
  double prefill_ms = 0;
  double decode_ms = 0;
};

/// An answer as far as it was given.
struct Reply {
  std::string text;             ///< without special tokens
  std::string tagged_text;      ///< with grounding tags
  std::vector<TokenId> ids;     ///< the end token left out
  std::vector<float> logprobs;  ///< of the ids; empty unless asked for
  std::optional<StopReason> stop;
  bool of_schema = false;                       ///< the text is JSON, or the beginning of it
  uint32_t prompt_tokens = 0;                   ///< in the context before the answer
  uint32_t cached_tokens = 0;                   ///< of those, the ones that the device held already
  uint32_t picture_tokens = 0;                  ///< of those, the ones of pictures
  uint32_t encoded_views = 0;                   ///< of pictures: what the encoder read for this answer
  uint32_t kept_pictures = 0;                   ///< pictures that it need not read, as the model had kept them
  std::shared_ptr<const OwnedPicture> picture;  ///< the last of the conversation, which boxes are of
  uint32_t picture_count = 0;
  ReplyTimes times;
};

/// Messages, pictures and the cache of one conversation. One thread at a time, but for request_stop(); engine and tokenizer
/// outlive it.
class Conversation {
 public:
  /// context  tokens that it holds; 0: the engine's
  /// Errors   NotFound: the tokenizer lacks a control token; OutOfMemory; BadArgument: context
  static Result<std::unique_ptr<Conversation>> create(Engine& engine, const Tokenizer& tokenizer, uint32_t context = 0);

  /// Writes everything that it takes to go on, to the bit, in another process: messages, pictures, the last answer, the cache of
  /// the device. Not while an answer is being given. The file appears under its name when it is whole.
  ///
  /// Errors  IoError, beginning with the path; those of the device
  /// Cost    about kv_cache_bytes_per_token() a token and 3 bytes a pixel on the disk
  Status save(const std::string& path);
  /// What save() wrote, on a model of the same weights, formats and words, and a device of the same activation type.
  ///
  /// Errors  those of create(); NotFound, IoError; BadFile: torn, damaged, of another model, with a word on which; Unsupported: of
  ///         another version; ContextFull, with the numbers
  static Result<std::unique_ptr<Conversation>> load(Engine& engine, const Tokenizer& tokenizer, const std::string& path,
                                                    uint32_t context = 0);

  /// Adds a message; nothing runs. Not while an answer is being given.
  ///
  /// text      UTF-8; in a user's, `<image>` marks places of pictures, missing marks stand in front
  /// pictures  a user's
  /// Errors    BadArgument (marks, sizes, UTF-8, a system message that is not first): the conversation is as before
  Status add(Role role, std::string text, std::vector<OwnedPicture> pictures = {});

  /// Forgets all messages but the first `count`, and the last answer. Not while an answer is being given.
  void truncate(size_t count);
  /// Forgets everything, on the device too.
  Status clear();

  /// From now on the tokens of an answer come from `decode`, but for those whose probabilities are wanted or that a mask narrows.
  void decode_with(DecodeTokens decode) { decode_tokens_ = std::move(decode); }
  /// Whether the answer's tokens do: whoever calls next() need not see to it that nobody else makes the device work.
  bool decodes_elsewhere() const {
    return decode_tokens_ && answer_ && !answer_->options.probabilities && answer_->mask == nullptr;
  }

  size_t message_count() const { return messages_.size(); }
  uint32_t picture_count() const;
  /// index < message_count()
  MessageView message(size_t index) const;
  /// Of all messages' pictures; index < picture_count()
  const OwnedPicture& picture(uint32_t index) const;
  Role last_role() const { return messages_.back().turn.role; }

  /// Tokens of the prompt that start() makes of all messages. Runs nothing. There is a message.
  Result<uint32_t> prompt_tokens() const;

  /// Begins an answer: encodes and reads what the device does not hold. There is a message, and no answer is being given.
  ///
  /// Errors  ContextFull with the numbers, before anything runs; Cancelled; those of the device. The messages are as before.
  Status start(const ReplyOptions& options, const ReadProgress& progress = {});

  /// The next piece; none when the answer is complete. start() went well before.
  ///
  /// Errors  those of the device: the answer ended with the piece before
  Result<std::optional<Piece>> next();

  /// Whether next() will make the device work, rather than hand out what was chosen before.
  bool next_needs_device() const { return answering() && answer_->given == answer_->decoded.size(); }

  /// Ends the answer that is being given, if one is, with what was given of it.
  void end();

  /// From any thread: ends the reading or the answer under way, or, where there is none, the next one at its start unless
  /// forget_stop() comes before that.
  void request_stop() { stop_.store(true, std::memory_order_relaxed); }
  void forget_stop() { stop_.store(false, std::memory_order_relaxed); }

  bool answering() const { return answer_.has_value() && !answer_->reply.stop; }
  bool has_reply() const { return answer_.has_value(); }
  /// The answer as far as it was given, its texts included. has_reply() holds.
  Reply reply() const;

  uint32_t token_count() const { return session_->length(); }
  Session& session() { return *session_; }

 private:
  struct Message {
    Turn turn;
    std::vector<std::shared_ptr<const OwnedPicture>> pictures;
    std::vector<TokenId> ids;  // of an answer that was generated: as chosen, which its text might not give again
    bool generated = false;
    bool open = false;  // ended without its end token
  };
  // A picture's place among ids.
  struct Place {
    ImageRun run;
    TileGrid grid;
    std::shared_ptr<const OwnedPicture> picture;
    bool operator==(const Place& other) const;
  };
  struct Tokens {
    std::vector<TokenId> ids;
    std::vector<Place> places;
    uint32_t last_message_first = 0;  // where the last message begins
    uint32_t opening = 0;             // tokens up to the last picture of the first message with pictures, with it
  };
  struct Answer {
    ReplyOptions options;
    StreamDecoder stream;
    Reply reply;
    uint32_t limit = 0;
    LoopGuard loop_guard;
    bool loops = false;             // so it says of the tokens given
    std::vector<TokenId> begun;     // of a message that goes on: its ids so far
    std::vector<uint32_t> decoded;  // chosen in the last step
    size_t given = 0;               // of those
    std::vector<float> logits;
    std::unique_ptr<TokenMask> mask;  // of the schema, if there is one
    std::string tail;                 // the last piece
  };

  using SharedPicture = std::shared_ptr<const OwnedPicture>;

  Conversation(Engine& engine, const Tokenizer& tokenizer) : engine_(engine), tokenizer_(tokenizer) {}
  Status add_shared(Role role, std::string text, std::vector<SharedPicture> pictures);
  // Of conversation_file.cpp; the messages of errors say what of the file is wrong.
  void write_messages(ByteWriter& out) const;
  Status read_messages(ByteReader in, std::span<const SharedPicture> pictures);
  Status read_tokens(ByteReader in, std::span<const SharedPicture> pictures, uint32_t length);
  Status read_answer(ByteReader in, std::span<const SharedPicture> pictures);
  Result<std::vector<TileGrid>> count_image_tokens(Message& message, uint32_t pictures_in_conversation) const;
  Result<Tokens> prompt(bool go_on) const;
  uint32_t held(const Tokens& wanted) const;
  SharedPicture share(OwnedPicture picture) const;
  Result<SharedPictureRows> rows_of(const Place& place, uint32_t pictures, Reply& reply, const BetweenParts& between);
  static PromptKey prompt_key(const Tokens& tokens, size_t count);
  Status take_beginning(const Tokens& wanted, uint32_t& first);
  Status leave_beginning();
  Status read(Tokens wanted, bool share, const ReadProgress& progress, Reply& reply);
  Status keep(uint32_t count);
  Status decode_step();
  void finish(StopReason reason);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  ControlIds control_;
  std::unique_ptr<Session> session_;
  std::vector<Message> messages_;
  Tokens cached_;              // what the device holds
  bool seen_differs_ = false;  // the device has marked ids that are not in cached_
  std::optional<Answer> answer_;
  DecodeTokens decode_tokens_;
  std::atomic<bool> stop_{false};
};

}  // namespace vl2
