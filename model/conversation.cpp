#include "model/conversation.h"

#include <algorithm>

#include "model/tiling.h"
#include "runtime/device.h"

namespace vl2 {

namespace {

constexpr uint32_t kTiledPictures = 2;  // with more, every picture is one tile (tile_grid())

// Tokens recorded before they are read back: on a GPU a round trip costs as much as a small token; on a CPU nothing is won by
// waiting.
uint32_t tokens_per_step(const Device& device) {
  return device.caps().type == DeviceType::Cpu ? 1 : 8;
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::EndOfSequence: return "eos";
    case StopReason::MaxTokens: return "max_tokens";
    case StopReason::ContextFull: return "context_full";
    case StopReason::Stopped: return "stopped";
  }
  return "";
}

Result<std::unique_ptr<Conversation>> Conversation::create(Engine& engine, const Tokenizer& tokenizer) {
  std::unique_ptr<Conversation> conversation(new Conversation(engine, tokenizer));
  VL2_ASSIGN(conversation->control_, ControlIds::find(tokenizer));
  VL2_ASSIGN(conversation->session_, Session::create(engine));
  return conversation;
}

uint32_t Conversation::picture_count() const {
  size_t count = 0;
  for (const Message& message : messages_)
    count += message.pictures.size();
  return static_cast<uint32_t>(count);
}

Status Conversation::count_image_tokens(Message& message, uint32_t pictures_in_conversation) const {
  const Config& config = engine_.config();
  message.turn.image_tokens.clear();
  for (const OwnedPicture& picture : message.pictures) {
    VL2_TRY(check_picture_size(picture.width, picture.height));
    VL2_ASSIGN(const TileGrid grid, tile_grid(picture.width, picture.height, config.candidate_resolutions,
                                              config.vision.image_size, pictures_in_conversation));
    message.turn.image_tokens.push_back(static_cast<uint32_t>(image_token_count(grid, config.tokens_per_side())));
  }
  return {};
}

Status Conversation::prefill(std::span<Message> messages, bool from_start, uint32_t pictures_in_conversation,
                             const std::function<void(std::string_view)>& progress) {
  std::vector<Turn> turns;
  for (Message& message : messages) {
    VL2_TRY(count_image_tokens(message, pictures_in_conversation));
    turns.push_back(message.turn);
  }
  VL2_ASSIGN(Prompt prompt, build_prompt(tokenizer_, control_, turns, {.bos = from_start}));
  const bool close_answer = !from_start && answer_is_open_;
  if (close_answer) {
    prompt.ids.insert(prompt.ids.begin(), control_.eos);
    for (ImageRun& run : prompt.images)
      ++run.first;
  }
  const uint32_t in_cache = from_start ? 0 : session_->length();
  if (prompt.ids.size() > session_->capacity() - in_cache)
    return fail(Code::ContextFull, "context: the prompt has ", prompt.ids.size(), " tokens, the context holds ",
                session_->capacity(), " and ", in_cache, " are in it");

  std::vector<EncodedPicture> encoded;
  for (const Message& message : messages)
    for (const OwnedPicture& picture : message.pictures) {
      if (progress)
        progress("encoding picture " + std::to_string(encoded.size() + 1) + " of " + std::to_string(prompt.images.size()));
      VL2_ASSIGN(EncodedPicture one, session_->encode({picture.width, picture.height, picture.rgb}, pictures_in_conversation));
      encoded.push_back(std::move(one));
    }
  if (progress)
    progress("reading " + std::to_string(prompt.ids.size()) + " tokens");
  if (from_start)
    VL2_TRY(session_->clear());
  std::vector<PictureRun> runs;
  for (size_t i = 0; i < encoded.size(); ++i)
    runs.push_back({prompt.images[i].first, &encoded[i]});
  VL2_TRY(session_->prefill(prompt.ids, runs));
  answer_is_open_ = false;
  return {};
}

Status Conversation::ask(const std::string& text, std::vector<OwnedPicture> pictures,
                         const std::function<void(std::string_view)>& progress) {
  const uint32_t before = picture_count(), now = before + static_cast<uint32_t>(pictures.size());
  const bool tiling_changes = before > 0 && before <= kTiledPictures && now > kTiledPictures;
  const bool from_start = messages_.empty() || tiling_changes;
  messages_.push_back({{Role::User, text, {}}, std::move(pictures)});
  const std::span<Message> all(messages_);
  const Status status = prefill(from_start ? all : all.last(1), from_start, now, progress);
  if (!status.ok())
    messages_.pop_back();
  return status;
}

Result<Reply> Conversation::reply(const ReplyOptions& options) {
  Reply reply;
  StreamDecoder stream(tokenizer_, options.keep_special);
  const TokenId eos = control_.eos;
  const uint32_t room = session_->capacity() - session_->length();
  const uint32_t limit = std::min(options.max_tokens, room);
  reply.stop = options.max_tokens <= room ? StopReason::MaxTokens : StopReason::ContextFull;
  answer_is_open_ = true;
  bool going = true;
  while (going && reply.ids.size() < limit) {
    const uint32_t count = std::min(tokens_per_step(engine_.device()), limit - static_cast<uint32_t>(reply.ids.size()));
    VL2_ASSIGN(const std::vector<uint32_t> ids, session_->decode(count, options.sampling));
    for (uint32_t i = 0; i < count && going; ++i) {
      std::string piece;
      if (static_cast<TokenId>(ids[i]) == eos) {
        reply.stop = StopReason::EndOfSequence;
        answer_is_open_ = going = false;
      } else {
        reply.ids.push_back(static_cast<TokenId>(ids[i]));
        piece = stream.push(static_cast<TokenId>(ids[i]));
      }
      if (!piece.empty() && options.on_text && !options.on_text(piece)) {
        reply.stop = StopReason::Stopped;
        going = false;
      }
      if (!going)
        session_->rewind(session_->length() - (count - 1 - i));  // what was chosen after it
    }
  }
  if (const std::string rest = stream.flush(); !rest.empty() && options.on_text)
    options.on_text(rest);
  reply.text = tokenizer_.decode(reply.ids, false);
  reply.tagged_text = tokenizer_.decode(reply.ids, true);
  messages_.push_back({{Role::Assistant, reply.tagged_text, {}}, {}});
  return reply;
}

}  // namespace vl2
