#include "model/conversation.h"

#include <algorithm>

#include "model/tiling.h"
#include "runtime/clock.h"
#include "runtime/device.h"

namespace vl2 {

namespace {

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
    case StopReason::Loop: return "loop";
  }
  return "";
}

bool Conversation::Place::operator==(const Place& other) const {
  return run == other.run && grid == other.grid && (picture == other.picture || *picture == *other.picture);
}

Result<std::unique_ptr<Conversation>> Conversation::create(Engine& engine, const Tokenizer& tokenizer, uint32_t context) {
  std::unique_ptr<Conversation> conversation(new Conversation(engine, tokenizer));
  VL2_ASSIGN(conversation->control_, ControlIds::find(tokenizer));
  auto session = Session::create(engine, PlanChoice::Auto, context);
  if (session.code() == Code::OutOfMemory && engine.picture_cache().drop_all() > 0)
    session = Session::create(engine, PlanChoice::Auto, context);
  VL2_ASSIGN(conversation->session_, std::move(session));
  return conversation;
}

// ---- Messages ----------------------------------------------------------------------------------------------------------------

Status Conversation::add(Role role, std::string text, std::vector<OwnedPicture> pictures) {
  std::vector<SharedPicture> shared;
  for (OwnedPicture& picture : pictures)
    shared.push_back(share(std::move(picture)));
  return add_shared(role, std::move(text), std::move(shared));
}

Conversation::SharedPicture Conversation::share(OwnedPicture picture) const {
  if (engine_.picture_cache().enabled())
    picture.digest = digest_picture(picture.width, picture.height, picture.rgb);
  return std::make_shared<const OwnedPicture>(std::move(picture));
}

Status Conversation::add_shared(Role role, std::string text, std::vector<SharedPicture> pictures) {
  Message message;
  message.turn.role = role;
  message.turn.text = std::move(text);
  message.pictures = std::move(pictures);
  if (!message.pictures.empty())
    VL2_TRY(check_sees(engine_.config()));
  VL2_TRY(count_image_tokens(message, picture_count() + static_cast<uint32_t>(message.pictures.size())).status());
  const auto first_turn = static_cast<uint32_t>(messages_.size());
  VL2_TRY(build_prompt(tokenizer_, control_, std::span(&message.turn, 1), {.bos = false, .first_turn = first_turn}).status());
  messages_.push_back(std::move(message));
  return {};
}

void Conversation::truncate(size_t count) {
  messages_.resize(std::min(count, messages_.size()));
  answer_.reset();
}

Status Conversation::clear() {
  truncate(0);
  return keep(0);
}

uint32_t Conversation::picture_count() const {
  size_t count = 0;
  for (const Message& message : messages_)
    count += message.pictures.size();
  return static_cast<uint32_t>(count);
}

MessageView Conversation::message(size_t index) const {
  uint32_t first_picture = 0;
  for (size_t i = 0; i < index; ++i)
    first_picture += static_cast<uint32_t>(messages_[i].pictures.size());
  const Message& message = messages_[index];
  return {message.turn.role, message.turn.text, first_picture, static_cast<uint32_t>(message.pictures.size()), message.open};
}

const OwnedPicture& Conversation::picture(uint32_t index) const {
  size_t message = 0;
  while (index >= messages_[message].pictures.size())
    index -= static_cast<uint32_t>(messages_[message++].pictures.size());
  return *messages_[message].pictures[index];
}

Result<std::vector<TileGrid>> Conversation::count_image_tokens(Message& message, uint32_t pictures_in_conversation) const {
  const Config& config = engine_.config();
  std::vector<TileGrid> grids;
  message.turn.image_tokens.clear();
  for (const auto& picture : message.pictures) {
    VL2_TRY(check_picture_size(picture->width, picture->height));
    VL2_ASSIGN(const TileGrid grid, tile_grid(picture->width, picture->height, config.candidate_resolutions,
                                              config.vision.image_size, pictures_in_conversation));
    message.turn.image_tokens.push_back(static_cast<uint32_t>(image_token_count(grid, config.tokens_per_side())));
    grids.push_back(grid);
  }
  return grids;
}

// ---- The prompt --------------------------------------------------------------------------------------------------------------

Result<Conversation::Tokens> Conversation::prompt(bool go_on) const {
  Tokens tokens;
  for (size_t i = 0; i < messages_.size(); ++i) {
    Message message = messages_[i];
    const bool last = i + 1 == messages_.size();
    tokens.last_message_first = static_cast<uint32_t>(tokens.ids.size());
    if (message.generated) {
      tokens.ids.insert(tokens.ids.end(), message.ids.begin(), message.ids.end());
      if (!last || (!message.open && !go_on))
        tokens.ids.push_back(control_.eos);
      continue;
    }
    VL2_ASSIGN(const std::vector<TileGrid> grids, count_image_tokens(message, picture_count()));
    VL2_ASSIGN(Prompt part, build_prompt(tokenizer_, control_, std::span(&message.turn, 1),
                                         {.bos = i == 0, .first_turn = static_cast<uint32_t>(i)}));
    if (last && go_on && message.turn.role == Role::Assistant)
      part.ids.pop_back();  // its end token
    for (size_t k = 0; k < part.images.size(); ++k)
      tokens.places.push_back(
          {{part.images[k].first + tokens.last_message_first, part.images[k].count}, grids[k], message.pictures[k]});
    if (tokens.opening == 0 && !tokens.places.empty())
      tokens.opening = tokens.places.back().run.first + tokens.places.back().run.count;
    tokens.ids.insert(tokens.ids.end(), part.ids.begin(), part.ids.end());
  }
  return tokens;
}

Result<uint32_t> Conversation::prompt_tokens() const {
  VL2_ASSIGN(const Tokens tokens, prompt(false));
  return static_cast<uint32_t>(tokens.ids.size());
}

// How many tokens of `wanted` the device holds: a picture whole or not at all.
uint32_t Conversation::held(const Tokens& wanted) const {
  const auto [end, unused] = std::mismatch(wanted.ids.begin(), wanted.ids.end(), cached_.ids.begin(), cached_.ids.end());
  auto count = static_cast<uint32_t>(end - wanted.ids.begin());
  const bool knows_next = session_->ready() && cached_.ids.size() == count;
  if (count == wanted.ids.size() && count > 0 && !knows_next)
    --count;  // the logits of the last token are wanted
  for (size_t i = 0; i < wanted.places.size(); ++i) {
    const Place& place = wanted.places[i];
    const bool same = i < cached_.places.size() && cached_.places[i] == place;
    if (place.run.first < count && (!same || place.run.first + place.run.count > count))
      return place.run.first;
  }
  return count;
}

// Makes the device hold the first `count` of cached_ and nothing else.
Status Conversation::keep(uint32_t count) {
  if (count < cached_.ids.size() || session_->length() != count) {
    session_->rewind(count);
    seen_differs_ = true;
  }
  cached_.ids.resize(count);
  std::erase_if(cached_.places, [&](const Place& place) { return place.run.first >= count; });
  if (!seen_differs_)
    return {};
  VL2_TRY(session_->set_seen(cached_.ids));
  seen_differs_ = false;
  return {};
}

// A picture's rows of the prompt: those that some conversation of the model has left, else encoded now.
Result<SharedPictureRows> Conversation::rows_of(const Place& place, uint32_t pictures, Reply& reply,
                                                const BetweenParts& between) {
  const OwnedPicture& picture = *place.picture;
  const PictureKey key{picture.digest, picture.width, picture.height, place.grid};
  PictureCache& cache = engine_.picture_cache();
  if (SharedPictureRows kept = cache.find(key)) {
    ++reply.kept_pictures;
    return kept;
  }
  VL2_ASSIGN(EncodedPicture one,
             session_->encode({picture.width, picture.height, picture.rgb}, pictures, &reply.times.pictures, between));
  const uint32_t tiles = one.grid.width * one.grid.height;
  reply.encoded_views += tiles == 1 ? 1 : 1 + tiles;
  one.features = one.tokens = {};  // they are gone with the next picture
  auto rows = std::make_shared<const EncodedPicture>(std::move(one));
  cache.keep(key, rows);
  return SharedPictureRows(std::move(rows));
}

// The first `count` tokens and the pictures among them, as the model's cache knows them.
PromptKey Conversation::prompt_key(const Tokens& tokens, size_t count) {
  PromptKey key;
  key.ids.assign(tokens.ids.begin(), tokens.ids.begin() + static_cast<ptrdiff_t>(count));
  for (const Place& place : tokens.places)
    if (place.run.first < count)
      key.places.push_back(
          {place.run.first, place.run.count, {place.picture->digest, place.picture->width, place.picture->height, place.grid}});
  return key;
}

// Makes the device hold a beginning that another conversation read, if that is worth its copies; `first` gets its length then.
Status Conversation::take_beginning(const Tokens& wanted, uint32_t& first) {
  constexpr uint32_t kWorthwhile = 64;  // tokens
  if (!engine_.picture_cache().enabled() || wanted.opening < first + kWorthwhile || wanted.opening >= wanted.ids.size())
    return {};
  const KeptBeginning kept = engine_.picture_cache().find_beginning(prompt_key(wanted, wanted.ids.size()));
  if (kept.tokens < first + kWorthwhile)
    return {};
  cached_ = {};
  seen_differs_ = true;
  VL2_TRY(session_->copy_rows_in(*kept.rows, kept.tokens));
  cached_.ids.assign(wanted.ids.begin(), wanted.ids.begin() + kept.tokens);
  for (const Place& place : wanted.places)
    if (place.run.first < kept.tokens)
      cached_.places.push_back(place);
  first = kept.tokens;
  return {};
}

// Leaves what was read up to the first pictures for others. Where memory does not suffice, it is not left.
Status Conversation::leave_beginning() {
  PictureCache& cache = engine_.picture_cache();
  if (!cache.enabled() || cached_.opening == 0)
    return {};
  PromptKey key = prompt_key(cached_, cached_.opening);
  if (cache.has_beginning(key))
    return {};
  auto rows = session_->copy_rows_out(cached_.opening);
  if (!rows.ok())
    return rows.code() == Code::OutOfMemory ? Status{} : rows.status();
  cache.keep_beginning(std::move(key), rows.take());
  return {};
}

Status Conversation::read(Tokens wanted, bool share, const ReadProgress& progress, Reply& reply) {
  const auto total = static_cast<uint32_t>(wanted.ids.size());
  uint32_t first = held(wanted);
  if (share && total <= session_->capacity())
    VL2_TRY(take_beginning(wanted, first));
  const uint32_t count = total - first;
  reply.prompt_tokens = total;
  reply.cached_tokens = first;
  reply.picture_tokens = 0;
  for (const Place& place : wanted.places)
    reply.picture_tokens += place.run.count;
  if (total > session_->capacity())
    return fail(Code::ContextFull, "context: the prompt has ", count, " tokens, the context holds ", session_->capacity(),
                " and ", first, " are in it");
  const auto go_on = [&](ReadPhase phase, uint32_t done, uint32_t of) -> Status {
    if (stop_.load(std::memory_order_relaxed))
      return fail(Code::Cancelled, "start: stopped, ", done, " of ", of,
                  phase == ReadPhase::Pictures ? " pictures were encoded" : " tokens were read");
    return progress ? progress(phase, done, of) : Status{};
  };

  std::vector<SharedPictureRows> encoded;
  std::vector<uint32_t> firsts;
  const auto pictures = static_cast<uint32_t>(
      std::count_if(wanted.places.begin(), wanted.places.end(), [&](const Place& place) { return place.run.first >= first; }));
  for (const Place& place : wanted.places) {
    if (place.run.first < first)
      continue;
    const auto done = static_cast<uint32_t>(encoded.size());
    VL2_TRY(go_on(ReadPhase::Pictures, done, pictures));
    VL2_ASSIGN(SharedPictureRows rows, rows_of(place, static_cast<uint32_t>(wanted.places.size()), reply,
                                               [&](uint32_t, uint32_t) { return go_on(ReadPhase::Pictures, done, pictures); }));
    encoded.push_back(std::move(rows));
    firsts.push_back(place.run.first - first);
  }
  if (count == 0)
    return {};

  std::vector<PictureRun> runs;
  for (size_t i = 0; i < encoded.size(); ++i)
    runs.push_back({firsts[i], encoded[i].get()});
  VL2_TRY(go_on(ReadPhase::Tokens, 0, count));
  VL2_TRY(keep(first));
  const auto start = Clock::now();
  const Status status = session_->prefill(std::span(wanted.ids).subspan(first), runs, {}, 0, [&](uint32_t done, uint32_t of) {
    return done == 0 ? Status{} : go_on(ReadPhase::Tokens, done, of);
  });
  reply.times.prefill_ms = ms_since(start);
  if (!status.ok()) {
    session_->rewind(first);
    seen_differs_ = true;
    return status;
  }
  cached_ = std::move(wanted);
  if (share)
    VL2_TRY(leave_beginning());
  return progress ? progress(ReadPhase::Tokens, count, count) : Status{};
}

// ---- Answers -----------------------------------------------------------------------------------------------------------------

Status Conversation::start(const ReplyOptions& options, const ReadProgress& progress) {
  Answer answer{.options = options, .stream = StreamDecoder(tokenizer_, options.keep_special)};
  if (options.schema != nullptr && options.go_on)
    return fail(Code::BadArgument, "start: a schema is of a whole answer, not of the rest of one");
  answer.reply.of_schema = options.schema != nullptr;
  if (options.schema != nullptr)
    answer.mask = std::make_unique<TokenMask>(options.schema, control_.eos);
  VL2_ASSIGN(Tokens wanted, prompt(options.go_on));
  if (options.go_on)
    answer.begun.assign(wanted.ids.begin() + wanted.last_message_first, wanted.ids.end());
  Status status = read(wanted, options.share_beginning, progress, answer.reply);
  if (status.code() == Code::OutOfMemory && engine_.picture_cache().drop_all() > 0)
    status = read(std::move(wanted), options.share_beginning, progress,
                  answer.reply);  // what is kept must not be in the way of what is asked
  VL2_TRY(status);
  for (const Message& message : messages_)
    if (!message.pictures.empty())
      answer.reply.picture = message.pictures.back();
  answer.reply.picture_count = picture_count();
  answer.limit = std::min(options.max_tokens, session_->capacity() - session_->length());
  answer_.emplace(std::move(answer));
  return {};
}

Status Conversation::decode_step() {
  Answer& answer = *answer_;
  const auto start = Clock::now();
  const ReplyOptions& options = answer.options;
  uint32_t count = options.at_a_time != 0 ? options.at_a_time : tokens_per_step(engine_.device());
  if (options.probabilities || answer.mask != nullptr)
    count = 1;  // the logits of each are wanted, or what may come next depends on it
  const uint32_t left = answer.limit - static_cast<uint32_t>(answer.reply.ids.size());
  if (options.probabilities)
    VL2_TRY(session_->next_logits(answer.logits));
  const std::span<const uint32_t> allowed = answer.mask != nullptr ? answer.mask->allowed() : std::span<const uint32_t>();
  count = std::min(count, left);
  VL2_ASSIGN(answer.decoded, decodes_elsewhere() ? decode_tokens_(*session_, count, options.sampling)
                                                 : session_->decode(count, options.sampling, allowed));
  answer.given = 0;
  cached_.ids.insert(cached_.ids.end(), answer.decoded.begin(), answer.decoded.end());
  answer.reply.times.decode_ms += ms_since(start);
  if (answer.mask != nullptr && !answer.mask->advance(answer.decoded[0])) {
    const TokenId id = answer.decoded[0];
    return fail(Code::VulkanError, "decode: the device chose token ", id,
                ", which the schema does not allow here: its logits are NaN?");
  }
  return {};
}

Result<std::optional<Piece>> Conversation::next() {
  Answer& answer = *answer_;
  Reply& reply = answer.reply;
  if (answering()) {
    if (stop_.load(std::memory_order_relaxed))
      finish(StopReason::Stopped);
    else if (answer.mask != nullptr && answer.mask->finished())
      finish(StopReason::EndOfSequence);
    else if (answer.loops)
      finish(StopReason::Loop);
    else if (reply.ids.size() == answer.limit)
      finish(answer.limit == answer.options.max_tokens ? StopReason::MaxTokens : StopReason::ContextFull);
  }
  if (answering() && answer.given == answer.decoded.size())
    if (const Status status = decode_step(); !status.ok()) {
      finish(StopReason::Stopped);
      return status;
    }
  if (answering() && answer.decoded[answer.given] == control_.eos) {
    ++answer.given;
    finish(StopReason::EndOfSequence);
  }
  if (!answering()) {
    if (answer.tail.empty())
      return std::optional<Piece>();
    Piece last;
    last.text.swap(answer.tail);
    return std::optional<Piece>(std::move(last));
  }
  Piece piece;
  piece.has_token = true;
  piece.id = answer.decoded[answer.given++];
  piece.index = static_cast<uint32_t>(reply.ids.size());
  piece.text = answer.stream.push(piece.id);
  if (answer.options.probabilities) {
    const double log_sum = log_sum_exp(answer.logits);
    piece.logprob = log_probability(answer.logits, piece.id, log_sum);
    if (answer.options.alternatives > 0)
      piece.alternatives = likeliest_tokens(answer.logits, answer.options.alternatives, log_sum);
    reply.logprobs.push_back(piece.logprob);
  }
  reply.ids.push_back(piece.id);
  answer.loops = answer.options.loop_guard && answer.loop_guard.push(piece.id, tokenizer_.token_bytes(piece.id));
  return std::optional<Piece>(std::move(piece));
}

void Conversation::finish(StopReason reason) {
  Answer& answer = *answer_;
  const size_t ahead = answer.decoded.size() - answer.given;  // chosen after the last token of the answer
  cached_.ids.resize(cached_.ids.size() - ahead);
  if (session_->length() != cached_.ids.size()) {
    session_->rewind(static_cast<uint32_t>(cached_.ids.size()));
    seen_differs_ = true;
  }
  answer.reply.stop = reason;
  answer.tail = answer.stream.flush();
  if (!answer.options.go_on)
    messages_.emplace_back();
  Message& message = messages_.back();
  message.generated = true;
  message.open = reason != StopReason::EndOfSequence;
  message.ids = answer.begun;
  message.ids.insert(message.ids.end(), answer.reply.ids.begin(), answer.reply.ids.end());
  message.turn = {Role::Assistant, tokenizer_.decode(message.ids, true), {}};
}

void Conversation::end() {
  if (answering())
    finish(StopReason::Stopped);
}

Reply Conversation::reply() const {
  Reply reply = answer_->reply;
  reply.text = tokenizer_.decode(reply.ids, false);
  reply.tagged_text = tokenizer_.decode(reply.ids, true);
  return reply;
}

}  // namespace vl2
