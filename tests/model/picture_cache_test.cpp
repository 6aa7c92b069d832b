// Pictures that are kept: what is told apart, what goes when, and that answers do not change by a bit.
#include "model/picture_cache.h"

#include <cmath>

#include "model/conversation.h"
#include "tests/support/engine_options.h"
#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

const std::string kPico = source_dir() + "/app/demo/pico";
constexpr uint64_t kOneTileBytes = 421 * 256 * 4;  // pico's rows of 256 f32

OwnedPicture noise(const std::string& name, uint32_t width, uint32_t height) {
  return {width, height, toy_picture(name, width, height)};
}

std::unique_ptr<Engine> load(uint64_t picture_cache, uint64_t memory = 0) {
  EngineOptions options = test_engine_options(2048);
  options.pictures = std::vector<PictureSize>{{400, 300}};
  options.picture_cache = picture_cache;
  options.device.heap_limit_bytes = memory;
  auto engine = Engine::load(kPico, options);
  REQUIRE_MESSAGE(engine.ok(), engine.message());
  return engine.take();
}

struct Told {
  Reply reply;
  std::vector<float> logits;      // before the first token
  uint64_t start_dispatches = 0;  // recorded until then
};

class PictureCacheTest : public GpuTest {
 public:
  PictureCacheTest() {
    auto words = Tokenizer::load(kPico + "/tokenizer.json");
    REQUIRE_MESSAGE(words.ok(), words.message());
    tokenizer.emplace(words.take());
  }

  // A question in a conversation of its own.
  Told ask(Engine& engine, const std::string& text, std::vector<OwnedPicture> pictures) {
    auto talk = Conversation::create(engine, *tokenizer);
    REQUIRE_MESSAGE(talk.ok(), talk.message());
    return ask(**talk, text, std::move(pictures));
  }

  // The same, sharing beginnings, and with the penalty that counts the tokens before.
  Told ask_sharing(Engine& engine, const std::string& text, std::vector<OwnedPicture> pictures, bool share = true) {
    auto talk = Conversation::create(engine, *tokenizer);
    REQUIRE_MESSAGE(talk.ok(), talk.message());
    return ask(**talk, text, std::move(pictures),
               {.sampling = {.repetition_penalty = 1.5f}, .max_tokens = 3, .share_beginning = share});
  }

  static Told ask(Conversation& talk, const std::string& text, std::vector<OwnedPicture> pictures,
                  const ReplyOptions& options = {.max_tokens = 3}) {
    REQUIRE(talk.add(Role::User, text, std::move(pictures)).ok());
    Told told;
    const uint64_t before = talk.session().recorder().dispatch_count();
    const Status started = talk.start(options);
    REQUIRE_MESSAGE(started.ok(), started.message());
    told.start_dispatches = talk.session().recorder().dispatch_count() - before;
    REQUIRE(talk.session().next_logits(told.logits).ok());
    for (;;) {
      auto piece = talk.next();
      REQUIRE_MESSAGE(piece.ok(), piece.message());
      if (!*piece)
        break;
    }
    told.reply = talk.reply();
    return told;
  }

  std::optional<Tokenizer> tokenizer;
};

}  // namespace

TEST_CASE_FIXTURE(PictureCacheTest,
                  "picture_cache: the same picture in another conversation is not encoded again, and no bit differs") {
  const auto keeps = load(16 << 20), forgets = load(0);
  CHECK_FALSE(forgets->picture_cache().enabled());
  // One that is not cut; then with one that is cut 2 x 1.
  for (const std::vector<OwnedPicture>& pictures :
       {std::vector{noise("a", 90, 40)}, {noise("a", 90, 40), noise("b", 400, 300)}}) {
    CAPTURE(pictures.size());
    const Told wanted = ask(*forgets, "What does it say?", pictures);
    ask(*keeps, "Anything else.", pictures);
    const Told told = ask(*keeps, "What does it say?", pictures);
    CHECK(told.reply.kept_pictures == pictures.size());
    CHECK(told.reply.encoded_views == 0);
    CHECK(told.reply.times.pictures.encode_ms == 0);
    CHECK(told.reply.ids == wanted.reply.ids);
    CHECK(told.logits == wanted.logits);
    CHECK(wanted.reply.kept_pictures == 0);
    CHECK(wanted.reply.encoded_views > 0);
    // What the encoder alone takes: some dispatches for each of its layers and each picture.
    CHECK(told.start_dispatches + 5 * forgets->config().vision.layers * pictures.size() < wanted.start_dispatches);
  }
  // a and b were new once each.
  const PictureCacheCounts counts = keeps->picture_cache().counts();
  CHECK(counts.misses == 2);
  CHECK(counts.hits == 4);
  CHECK(counts.pictures == 2);
  CHECK(counts.bytes == kOneTileBytes + 617 * 256 * 4);
  CHECK(forgets->picture_cache().counts().misses == 0);
}

TEST_CASE_FIXTURE(PictureCacheTest, "picture_cache: another picture, and the same one cut in another way, are encoded") {
  const auto engine = load(16 << 20);
  OwnedPicture picture = noise("a", 400, 300);
  ask(*engine, "What is it?", {picture});
  const Told again = ask(*engine, "What is it?", {picture});
  CHECK(again.reply.kept_pictures == 1);
  // As many tokens, one bit of the last pixel different.
  OwnedPicture other = picture;
  other.rgb.back() ^= 1;
  const Told changed = ask(*engine, "What is it?", {other});
  CHECK(changed.reply.kept_pictures == 0);
  CHECK(changed.reply.encoded_views == 3);
  CHECK(changed.reply.prompt_tokens == again.reply.prompt_tokens);
  // The same bytes as a picture of other sides, cut as the first.
  const Told wider = ask(*engine, "What is it?", {{500, 240, picture.rgb}});
  CHECK(wider.reply.encoded_views == 3);
  CHECK(wider.reply.prompt_tokens == again.reply.prompt_tokens);
  // With two more nothing is cut: one view each, and the rows of three are not those of the first.
  const Told three = ask(*engine, "What is it?", {picture, other, noise("c", 60, 50)});
  CHECK(three.reply.kept_pictures == 0);
  CHECK(three.reply.encoded_views == 3);
  CHECK(three.reply.picture_tokens == 3 * 421);
  const Told answer = ask(*load(0), "What is it?", {picture, other, noise("c", 60, 50)});
  CHECK(three.logits == answer.logits);
  CHECK(ask(*engine, "What else?", {picture, other, noise("c", 60, 50)}).reply.kept_pictures == 3);
}

TEST_CASE_FIXTURE(PictureCacheTest,
                  "picture_cache: in a conversation the third picture unties the first two, which are kept when they come back") {
  const auto engine = load(16 << 20);
  auto talk = Conversation::create(*engine, *tokenizer);
  REQUIRE(talk.ok());
  CHECK(ask(**talk, "One?", {noise("a", 400, 300)}).reply.encoded_views == 3);
  CHECK(ask(**talk, "More?", {}).reply.encoded_views == 0);
  CHECK(ask(**talk, "Three?", {noise("b", 50, 50), noise("c", 60, 50)}).reply.encoded_views == 3);
  // Taken back, the first is tiled again: its rows in the context are gone, its kept ones are not.
  (*talk)->truncate(0);
  const Told back = ask(**talk, "And this?", {noise("a", 400, 300)});
  CHECK(back.reply.encoded_views == 0);
  CHECK(back.reply.kept_pictures == 1);
}

TEST_CASE_FIXTURE(PictureCacheTest,
                  "picture_cache: a conversation that may goes on from where another had read the same, and no other does") {
  const auto engine = load(16 << 20), forgets = load(0);
  const OwnedPicture picture = noise("a", 90, 40), other = noise("b", 90, 40);
  const Told first = ask_sharing(*engine, "What does it say?", {picture});
  CHECK(first.reply.cached_tokens == 0);
  CHECK(engine->picture_cache().counts().beginnings == 1);
  const Told second = ask_sharing(*engine, "Who is that?", {picture});
  CHECK(second.reply.cached_tokens > 421);
  CHECK(second.reply.cached_tokens < second.reply.prompt_tokens);
  CHECK(second.reply.encoded_views == 0);
  CHECK(second.reply.kept_pictures == 0);  // its rows were not even asked for
  CHECK(second.reply.picture_tokens == 421);
  CHECK(engine->picture_cache().counts().beginning_hits == 1);
  // Nothing of it is wrong but for the roundings of a prompt that is read in two parts: 4e-6 seen in tier 0, 0.0053 in tier 1; 3.4
  // where it is the beginning of another picture.
  const Told wanted = ask_sharing(*forgets, "Who is that?", {picture});
  CHECK(wanted.reply.cached_tokens == 0);
  CHECK(second.reply.ids == wanted.reply.ids);
  const auto distance = [&](const Told& told) {
    double most = 0;
    for (size_t i = 0; i < wanted.logits.size(); ++i)
      most = std::max(most, static_cast<double>(std::abs(told.logits[i] - wanted.logits[i])));
    return most;
  };
  CHECK(distance(second) < 0.05);

  // Who does not ask for it, another picture of as many tokens, words in front of it, and pictures that are not cut any more.
  CHECK(ask_sharing(*engine, "Who is that?", {picture}, false).logits == wanted.logits);
  CHECK(ask_sharing(*engine, "Who is that?", {other}).reply.cached_tokens == 0);
  CHECK(ask_sharing(*engine, "Look: <image> Who is that?", {picture}).reply.cached_tokens == 0);
  const OwnedPicture cut = noise("c", 400, 300);
  ask_sharing(*engine, "What is it?", {cut});
  CHECK(ask_sharing(*engine, "Who is that?", {cut}).reply.cached_tokens > 617);
  CHECK(ask_sharing(*engine, "Who is that?", {cut, picture, other}).reply.cached_tokens == 0);
  // Two pictures in one message are one beginning; the first alone is the beginning of both.
  CHECK(ask_sharing(*engine, "Who is that?", {picture, other}).reply.cached_tokens > 421);
  CHECK(ask_sharing(*engine, "And who?", {picture, other}).reply.cached_tokens > 842);

  // A conversation that already holds as much keeps what it has, and goes on sharing after a turn.
  auto talk = Conversation::create(*engine, *tokenizer);
  REQUIRE(talk.ok());
  const ReplyOptions sharing{.max_tokens = 3, .share_beginning = true};
  const Told turn = ask(**talk, "Who is that?", {picture}, sharing);
  CHECK(turn.reply.cached_tokens > 421);
  CHECK(ask(**talk, "And then?", {}, sharing).reply.cached_tokens >= turn.reply.prompt_tokens);
  // Nothing is left where nothing may be kept.
  CHECK(forgets->picture_cache().counts().beginnings == 0);
}

TEST_CASE_FIXTURE(PictureCacheTest,
                  "picture_cache: what was not used for longest goes first, and what is too large is not kept") {
  const auto engine = load(2 * kOneTileBytes);
  const auto views = [&](const std::string& name) { return ask(*engine, "What?", {noise(name, 50, 40)}).reply.encoded_views; };
  CHECK(views("a") == 1);
  CHECK(views("b") == 1);
  CHECK(views("a") == 0);
  CHECK(views("c") == 1);  // b goes
  CHECK(views("a") == 0);
  CHECK(views("b") == 1);  // c goes
  CHECK(views("c") == 1);
  PictureCacheCounts counts = engine->picture_cache().counts();
  CHECK(counts.pictures == 2);
  CHECK(counts.bytes == 2 * kOneTileBytes);
  CHECK(counts.evictions == 3);
  const auto little = load(kOneTileBytes - 1);
  ask(*little, "What?", {noise("a", 50, 40)});
  CHECK(ask(*little, "What?", {noise("a", 50, 40)}).reply.encoded_views == 1);
  CHECK(little->picture_cache().counts().bytes == 0);
  // All at once, which a conversation under way does not notice.
  CHECK(engine->picture_cache().drop_all() == 2 * kOneTileBytes);
  counts = engine->picture_cache().counts();
  CHECK(counts.bytes == 0);
  CHECK(counts.pictures == 0);
  CHECK(views("c") == 1);
}

TEST_CASE_FIXTURE(
    PictureCacheTest,
    "picture_cache: its size is in the plan; without one it takes a part of what is left, and makes room when asked") {
  const auto none = load(0);
  const uint64_t needed = none->plan().needed_bytes();
  const auto asked = load(5'000'000);
  CHECK(asked->plan().needed_bytes() == needed + 5'000'000);
  CHECK(asked->plan().buffer_bytes() == none->plan().buffer_bytes());
  CHECK(asked->picture_cache().counts().limit_bytes == 5'000'000);
  EngineOptions options = test_engine_options(2048);
  options.pictures = std::vector<PictureSize>{{400, 300}};
  options.picture_cache = uint64_t{1} << 50;
  options.expert_cache = false;
  const auto refused = Engine::load(kPico, options);
  REQUIRE(refused.code() == Code::OutOfMemory);
  CHECK_MESSAGE(refused.message().find("what would fit: --picture-cache 0 (") != std::string::npos, refused.message());

  const uint64_t spare = 16 << 20;
  const auto engine = load(kSparePictureCache, needed + spare);
  CHECK(engine->plan().needed_bytes() == needed);
  CHECK(engine->picture_cache().counts().limit_bytes == spare / 4);
  options.pictures.emplace();
  options.picture_cache = kSparePictureCache;
  CHECK_FALSE((*Engine::load(kPico, options))->picture_cache().enabled());  // no picture will be shown

  // Conversations until there is no memory for more: the kept pictures go before one is refused.
  for (int i = 0; i < 6; ++i)
    ask(*engine, "What?", {noise(std::to_string(i), 50, 40)});
  CHECK(engine->picture_cache().counts().bytes == 6 * kOneTileBytes);
  std::vector<std::unique_ptr<Conversation>> talks;
  for (int i = 0; i < 100; ++i) {
    auto talk = Conversation::create(*engine, *tokenizer);
    if (!talk.ok()) {
      CHECK(talk.code() == Code::OutOfMemory);
      break;
    }
    talks.push_back(talk.take());
  }
  REQUIRE(talks.size() > 1);
  CHECK(talks.size() < 100);
  CHECK(engine->picture_cache().counts().bytes == 0);
  CHECK(engine->picture_cache().counts().evictions == 6);
}

TEST_SUITE("cpu") {
  TEST_CASE("picture_digest: SipHash-2-4 of 128 bits gives the published vectors") {
    const std::array<uint64_t, 2> key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    std::vector<uint8_t> bytes;
    const auto hash = [&](size_t count) {
      bytes.clear();
      for (size_t i = 0; i < count; ++i)
        bytes.push_back(static_cast<uint8_t>(i));
      return sip_hash_128(key, bytes);
    };
    // Of the messages "", 00, as vectors_sip128 of the reference code has them, read as two little-endian words.
    CHECK(hash(0) == std::array<uint64_t, 2>{0xe6a825ba047f81a3, 0x930255c71472f66d});
    CHECK(hash(1) == std::array<uint64_t, 2>{0x44af996bd8c187da, 0x45fc229b11597634});
    // Whatever the length, whole words or not, each byte counts.
    for (size_t count = 1; count < 40; ++count) {
      const auto whole = hash(count);
      CHECK(whole != hash(count - 1));
      for (size_t i = 0; i < count; ++i) {
        hash(count);
        bytes[i] ^= 0x80;
        CHECK(sip_hash_128(key, bytes) != whole);
      }
    }
  }

  TEST_CASE("picture_digest: sides and pixels are told apart") {
    const std::vector<uint8_t> rgb(6 * 4 * 3, 7);
    const PictureDigest one = digest_picture(6, 4, rgb);
    CHECK(one == digest_picture(6, 4, std::vector<uint8_t>(rgb)));
    CHECK(!(one == digest_picture(4, 6, rgb)));
    CHECK(!(one == digest_picture(3, 8, rgb)));
    std::vector<uint8_t> other = rgb;
    other[70] = 8;
    CHECK(!(one == digest_picture(6, 4, other)));
    CHECK(!(one == PictureDigest{}));
  }
}
