// A conversation on the disk: what was said and shown, and the cache of the device, so that it goes on, to the bit, as if it had
// never ended. Messages and pictures are the truth here, too: the cache only saves reading them again.
//
// Sections, in this order (model/section_file.h has the frame):
//   KEY    u64 model, u64 words, u32 activation type, u32 vocabulary, u32 layers, u32 cache tensors, u64 cache bytes a token,
//          u32 tokens held, u32 pictures
//   MSGS   u64 count; of each: u32 role, u32 flags (1 generated, 2 open), text, ids, u32 pictures
//   TOKN   the ids that the device holds; u64 count of places; of each: u32 first, count, tiles wide, tiles high, picture
//   ANSW   u32 1 and the last answer: u32 stop, ids, logprobs, u32 prompt, cached, picture tokens, pictures, its picture; or u32 0
//   PICT   a picture each: u32 width, height, then [height, width, 3] as a list
//   NEXT   the logits of the token to come, f32 [vocabulary]; empty when they are not known
//   CACH   a plane of the cache each (KvCache::planes): [tokens held, width] in the activation type; of 8 bits codes, then scales
//
// The second byte of KEY's activation type is the type of the cache, 0 for f16: files of before there was another say so.
#include <algorithm>

#include "model/conversation.h"
#include "model/model_identity.h"
#include "model/section_file.h"
#include "model/tiling.h"
#include "runtime/device.h"

namespace vl2 {

namespace {

constexpr SectionFormat kFormat{"vl2-talk", 1, "saved session"};

constexpr uint32_t tag(const char (&name)[5]) {
  return static_cast<uint32_t>(name[0]) | static_cast<uint32_t>(name[1]) << 8 | static_cast<uint32_t>(name[2]) << 16 |
         static_cast<uint32_t>(name[3]) << 24;
}
constexpr uint32_t kKey = tag("KEY "), kMessages = tag("MSGS"), kTokens = tag("TOKN"), kAnswer = tag("ANSW"),
                   kPicture = tag("PICT"), kNext = tag("NEXT"), kCache = tag("CACH");
constexpr uint32_t kGenerated = 1, kOpen = 2;
constexpr uint32_t kCacheTypeShift = 8;

// What a file has to agree with.
struct Key {
  uint64_t model = 0, words = 0;
  uint32_t act = 0, cache_type = 0, vocabulary = 0, layers = 0, cache_tensors = 0;
  uint64_t cache_token_bytes = 0;
};

Key key_of(const Engine& engine, const Tokenizer& tokenizer, const Session& session) {
  const LanguageConfig& config = engine.config().language;
  Key key{engine.identity(), identity_of_words(tokenizer)};
  key.act = static_cast<uint32_t>(engine.device().act());
  key.cache_type = static_cast<uint32_t>(session.cache_type());
  key.vocabulary = config.vocab_size;
  key.layers = config.num_hidden_layers;
  key.cache_tensors = session.cache_tensor_count();
  key.cache_token_bytes = kv_cache_bytes_per_token(config, engine.device().act(), session.cache_type());
  return key;
}

void write_key(ByteWriter& out, const Key& key) {
  out.u64(key.model);
  out.u64(key.words);
  for (const uint32_t number : {key.act | key.cache_type << kCacheTypeShift, key.vocabulary, key.layers, key.cache_tensors})
    out.u32(number);
  out.u64(key.cache_token_bytes);
}

Key read_key(ByteReader& in) {
  Key key;
  key.model = in.u64();
  key.words = in.u64();
  for (uint32_t* number : {&key.act, &key.vocabulary, &key.layers, &key.cache_tensors})
    *number = in.u32();
  key.cache_type = key.act >> kCacheTypeShift;
  key.act &= (1u << kCacheTypeShift) - 1;
  key.cache_token_bytes = in.u64();
  return key;
}

Status check_key(const std::string& path, const Key& got, const Key& wanted) {
  if (got.vocabulary != wanted.vocabulary || got.layers != wanted.layers)
    return fail(Code::BadFile, path, ": saved with another model, of ", got.layers, " layers and ", got.vocabulary,
                " tokens; this one has ", wanted.layers, " and ", wanted.vocabulary);
  if (got.model != wanted.model || got.words != wanted.words)
    return fail(Code::BadFile, path, ": saved with another model, or with this one in another format");
  if (got.cache_type != wanted.cache_type) {
    if (got.cache_type > static_cast<uint32_t>(CacheType::Q8_0))
      return fail(Code::BadFile, path, ": saved with a cache of type ", got.cache_type, ", which this program does not know");
    return fail(Code::BadFile, path, ": saved with a cache of type ", cache_type_name(static_cast<CacheType>(got.cache_type)),
                "; this model was loaded for ", cache_type_name(static_cast<CacheType>(wanted.cache_type)));
  }
  if (got.act != wanted.act || got.cache_tensors != wanted.cache_tensors || got.cache_token_bytes != wanted.cache_token_bytes)
    return fail(Code::BadFile, path, ": saved on a device that computes in another number format than ",
                dtype_name(static_cast<DType>(wanted.act)), ", which this one computes in");
  return {};
}

bool all_below(std::span<const uint32_t> ids, uint32_t limit) {
  return std::all_of(ids.begin(), ids.end(), [&](uint32_t id) { return id < limit; });
}

}  // namespace

// ---- Writing -----------------------------------------------------------------------------------------------------------------

Status Conversation::save(const std::string& path) {
  if (session_->length() != cached_.ids.size())
    return fail(Code::BadArgument, path, ": the device holds ", session_->length(), " tokens, the conversation ",
                cached_.ids.size());
  // Those of messages in their order, then those that only the cache knows: of messages that were taken back.
  std::vector<SharedPicture> pictures;
  for (const Message& message : messages_)
    pictures.insert(pictures.end(), message.pictures.begin(), message.pictures.end());
  const auto index_of = [&](const SharedPicture& picture) {
    if (picture == nullptr)
      return UINT32_MAX;
    const auto found = std::find(pictures.begin(), pictures.end(), picture);
    const auto index = static_cast<uint32_t>(found - pictures.begin());
    if (found == pictures.end())
      pictures.push_back(picture);
    return index;
  };
  ByteWriter key, messages, tokens, answer;
  write_messages(messages);
  tokens.list(std::span<const TokenId>(cached_.ids));
  tokens.u64(cached_.places.size());
  for (const Place& place : cached_.places)
    for (const uint32_t number : {place.run.first, place.run.count, place.grid.width, place.grid.height, index_of(place.picture)})
      tokens.u32(number);
  answer.u32(answer_.has_value());
  if (answer_) {
    const Reply& reply = answer_->reply;
    answer.u32(static_cast<uint32_t>(*reply.stop));
    answer.list(std::span<const TokenId>(reply.ids));
    answer.list(std::span<const float>(reply.logprobs));
    for (const uint32_t number :
         {reply.prompt_tokens, reply.cached_tokens, reply.picture_tokens, reply.picture_count, index_of(reply.picture)})
      answer.u32(number);
  }
  write_key(key, key_of(engine_, tokenizer_, *session_));
  key.u32(session_->length());
  key.u32(static_cast<uint32_t>(pictures.size()));

  VL2_ASSIGN(SectionWriter file, SectionWriter::create(kFormat, path));
  VL2_TRY(file.add(kKey, key.bytes()));
  VL2_TRY(file.add(kMessages, messages.bytes()));
  VL2_TRY(file.add(kTokens, tokens.bytes()));
  VL2_TRY(file.add(kAnswer, answer.bytes()));
  for (const auto& picture : pictures) {
    ByteWriter one;
    one.u32(picture->width);
    one.u32(picture->height);
    one.list(std::span<const uint8_t>(picture->rgb));
    VL2_TRY(file.add(kPicture, one.bytes()));
  }
  std::vector<float> logits;
  if (session_->ready())
    VL2_TRY(session_->next_logits(logits));
  VL2_TRY(file.add(kNext, std::as_bytes(std::span(logits))));
  std::vector<std::byte> rows;
  for (uint32_t i = 0; i < session_->cache_tensor_count(); ++i) {
    VL2_TRY(session_->read_cache(i, rows));
    VL2_TRY(file.add(kCache, rows));
  }
  return file.finish();
}

void Conversation::write_messages(ByteWriter& out) const {
  out.u64(messages_.size());
  for (const Message& message : messages_) {
    out.u32(static_cast<uint32_t>(message.turn.role));
    out.u32((message.generated ? kGenerated : 0) | (message.open ? kOpen : 0));
    out.list(std::span<const char>(message.turn.text));
    out.list(std::span<const TokenId>(message.ids));
    out.u32(static_cast<uint32_t>(message.pictures.size()));
  }
}

// ---- Reading -----------------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Conversation>> Conversation::load(Engine& engine, const Tokenizer& tokenizer, const std::string& path,
                                                         uint32_t context) {
  VL2_ASSIGN(SectionReader file, SectionReader::open(kFormat, path));
  VL2_ASSIGN(const std::vector<std::byte> key_bytes, file.next(kKey));
  VL2_ASSIGN(const std::vector<std::byte> messages, file.next(kMessages));
  VL2_ASSIGN(const std::vector<std::byte> tokens, file.next(kTokens));
  VL2_ASSIGN(const std::vector<std::byte> answer, file.next(kAnswer));
  ByteReader key_in(key_bytes);
  const Key key = read_key(key_in);
  const uint32_t length = key_in.u32(), picture_count = key_in.u32();
  if (!key_in.ended())
    return file.bad("section KEY has ", key_bytes.size(), " bytes");

  VL2_ASSIGN(auto conversation, create(engine, tokenizer, context));
  Session& session = *conversation->session_;
  VL2_TRY(check_key(path, key, key_of(engine, tokenizer, session)));
  if (length > session.capacity())
    return fail(Code::ContextFull, path, ": holds ", length, " tokens, the context ", session.capacity());
  std::vector<SharedPicture> pictures;
  for (uint32_t i = 0; i < picture_count; ++i) {
    VL2_ASSIGN(const std::vector<std::byte> bytes, file.next(kPicture));
    OwnedPicture picture;
    ByteReader in(bytes);
    picture.width = in.u32();
    picture.height = in.u32();
    picture.rgb = in.list<uint8_t>();
    const bool fits = picture.rgb.size() == uint64_t{picture.width} * picture.height * 3;
    if (!in.ended() || !fits || !check_picture_size(picture.width, picture.height).ok())
      return file.bad("picture ", i, " of ", picture.width, " x ", picture.height, " pixels in ", bytes.size(), " bytes");
    pictures.push_back(conversation->share(std::move(picture)));
  }
  const auto in_file = [&](const Status& status) {  // what is wrong with its contents is the file's fault
    return status.ok() ? status : file.bad(status.message());
  };
  VL2_TRY(in_file(conversation->read_messages(ByteReader(messages), pictures)));
  VL2_TRY(in_file(conversation->read_tokens(ByteReader(tokens), pictures, length)));
  VL2_TRY(in_file(conversation->read_answer(ByteReader(answer), pictures)));

  VL2_ASSIGN(const std::vector<std::byte> logit_bytes, file.next(kNext));
  std::vector<float> logits(logit_bytes.size() / sizeof(float));
  if (logit_bytes.size() % sizeof(float) != 0 || (!logits.empty() && (logits.size() != key.vocabulary || length == 0)))
    return file.bad("section NEXT has ", logit_bytes.size(), " bytes");
  if (!logits.empty())
    std::memcpy(logits.data(), logit_bytes.data(), logit_bytes.size());
  for (uint32_t i = 0; i < session.cache_tensor_count(); ++i) {
    VL2_ASSIGN(const std::vector<std::byte> rows, file.next(kCache));
    if (rows.size() != length * session.cache_row_bytes(i))
      return file.bad("cache tensor ", i, " has ", rows.size(), " bytes, wanted ", length * session.cache_row_bytes(i));
    VL2_TRY(session.write_cache(i, rows));
  }
  VL2_TRY(file.end());
  VL2_TRY(session.resume(conversation->cached_.ids, logits));
  return conversation;
}

Status Conversation::read_messages(ByteReader in, std::span<const SharedPicture> pictures) {
  const uint64_t count = in.u64();
  for (uint64_t i = 0; i < count && in.whole(); ++i) {
    Message message;
    const uint32_t role = in.u32(), flags = in.u32();
    std::string text = in.text();
    message.ids = in.list<TokenId>();
    const uint32_t shown = in.u32();
    if (!in.whole() || role > static_cast<uint32_t>(Role::Assistant) || flags > (kGenerated | kOpen) || shown > pictures.size() ||
        !all_below(message.ids, engine_.config().language.vocab_size))
      return fail(Code::BadFile, "message ", i);
    message.generated = (flags & kGenerated) != 0;
    message.open = (flags & kOpen) != 0;
    if (!message.generated) {
      VL2_TRY(add_shared(static_cast<Role>(role), std::move(text),
                         std::vector<SharedPicture>(pictures.begin(), pictures.begin() + shown)));
      pictures = pictures.subspan(shown);
      continue;
    }
    if (role != static_cast<uint32_t>(Role::Assistant) || shown != 0)
      return fail(Code::BadFile, "message ", i, " was generated and is no answer");
    message.turn = {Role::Assistant, std::move(text), {}};
    messages_.push_back(std::move(message));
  }
  return in.ended() ? Status() : fail(Code::BadFile, "section MSGS");
}

Status Conversation::read_tokens(ByteReader in, std::span<const SharedPicture> pictures, uint32_t length) {
  cached_.ids = in.list<TokenId>();
  if (cached_.ids.size() != length || !all_below(cached_.ids, engine_.config().language.vocab_size))
    return fail(Code::BadFile, "the ids of ", length, " tokens");
  const uint64_t count = in.u64();
  uint64_t free_from = 0;
  for (uint64_t i = 0; i < count && in.whole(); ++i) {
    Place place;
    for (uint32_t* number : {&place.run.first, &place.run.count, &place.grid.width, &place.grid.height})
      *number = in.u32();
    const uint32_t picture = in.u32();
    const uint64_t end = uint64_t{place.run.first} + place.run.count;
    if (!in.whole() || place.run.first < free_from || end > length || picture >= pictures.size())
      return fail(Code::BadFile, "the place of picture ", i);
    free_from = end;
    place.picture = pictures[picture];
    cached_.places.push_back(std::move(place));
  }
  return in.ended() ? Status() : fail(Code::BadFile, "section TOKN");
}

Status Conversation::read_answer(ByteReader in, std::span<const SharedPicture> pictures) {
  if (in.u32() == 0)
    return in.ended() ? Status() : fail(Code::BadFile, "section ANSW");
  Answer answer{.options = {}, .stream = StreamDecoder(tokenizer_, false)};
  Reply& reply = answer.reply;
  const uint32_t stop = in.u32();
  reply.ids = in.list<TokenId>();
  reply.logprobs = in.list<float>();
  for (uint32_t* number : {&reply.prompt_tokens, &reply.cached_tokens, &reply.picture_tokens, &reply.picture_count})
    *number = in.u32();
  const uint32_t picture = in.u32();
  const bool has_picture = picture != UINT32_MAX;
  if (!in.ended() || stop > static_cast<uint32_t>(StopReason::Loop) || (has_picture && picture >= pictures.size()) ||
      has_picture != (reply.picture_count > 0) || !all_below(reply.ids, engine_.config().language.vocab_size) ||
      (!reply.logprobs.empty() && reply.logprobs.size() != reply.ids.size()))
    return fail(Code::BadFile, "section ANSW");
  reply.stop = static_cast<StopReason>(stop);
  if (has_picture)
    reply.picture = pictures[picture];
  answer_.emplace(std::move(answer));
  return {};
}

}  // namespace vl2
