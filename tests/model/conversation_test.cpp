// Turns, pictures and streaming over the bundled demo model.
#include "model/conversation.h"

#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

const std::string kPico = source_dir() + "/app/demo/pico";

// The demo model, loaded once a test.
class PicoTest : public GpuTest {
 public:
  PicoTest() {
    auto options = device_options_from_environment();
    REQUIRE(options.ok());
    EngineOptions engine_options;
    engine_options.device = options.take();
    auto loaded = Engine::load(kPico, engine_options);
    REQUIRE_MESSAGE(loaded.ok(), loaded.message());
    engine = loaded.take();
    auto words = Tokenizer::load(kPico + "/tokenizer.json");
    REQUIRE_MESSAGE(words.ok(), words.message());
    tokenizer.emplace(words.take());
  }

  std::unique_ptr<Conversation> conversation() {
    auto made = Conversation::create(*engine, *tokenizer);
    REQUIRE_MESSAGE(made.ok(), made.message());
    return made.take();
  }

  std::unique_ptr<Engine> engine;
  std::optional<Tokenizer> tokenizer;
};

OwnedPicture noise(const std::string& name, uint32_t width, uint32_t height) {
  return {width, height, toy_picture(name, width, height)};
}

}  // namespace

TEST_CASE_FIXTURE(PicoTest, "conversation: a second turn continues the cache as if all had been said at once") {
  const auto turns = conversation();
  REQUIRE(turns->ask("What does it say?", {noise("a", 90, 40)}).ok());
  ReplyOptions short_reply;
  short_reply.max_tokens = 5;  // cut off: the end token has to be put in before the next turn
  auto first = turns->reply(short_reply);
  REQUIRE(first.ok());
  REQUIRE(turns->ask("And now?", {}).ok());

  // The same ids by hand, prefilled in one go.
  const auto control = ControlIds::find(*tokenizer);
  REQUIRE(control.ok());
  const std::vector<Turn> question = {{Role::User, "What does it say?", {421}}};
  auto prompt = build_prompt(*tokenizer, *control, question, {});
  REQUIRE(prompt.ok());
  std::vector<TokenId> ids = prompt->ids;
  ids.insert(ids.end(), first->ids.begin(), first->ids.end());
  ids.push_back(control->eos);
  const std::vector<Turn> next = {{Role::User, "And now?", {}}};
  auto more = build_prompt(*tokenizer, *control, next, {.bos = false});
  REQUIRE(more.ok());
  ids.insert(ids.end(), more->ids.begin(), more->ids.end());
  CHECK(turns->token_count() == ids.size());

  auto session = Session::create(*engine);
  REQUIRE(session.ok());
  const OwnedPicture picture = noise("a", 90, 40);
  auto encoded = (*session)->encode({picture.width, picture.height, picture.rgb}, 1);
  REQUIRE(encoded.ok());
  const PictureRun run{prompt->images[0].first, &*encoded};
  REQUIRE((*session)->prefill(ids, std::span(&run, 1)).ok());
  const auto expected = (*session)->decode(4, {});
  REQUIRE(expected.ok());
  const auto actual = turns->session().decode(4, {});
  REQUIRE(actual.ok());
  CHECK(*actual == *expected);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: a third picture unties all, as if they had been given together") {
  // 400 x 300 is tiled 2 x 1 while there are at most two pictures, and is one tile with three.
  const auto grown = conversation();
  REQUIRE(grown->ask("One?", {noise("a", 400, 300)}).ok());
  const uint32_t tiled = grown->token_count();
  CHECK(tiled > 617);
  const auto answer = grown->reply({.max_tokens = 3});
  REQUIRE(answer.ok());
  REQUIRE(grown->ask("Three?", {noise("b", 50, 50), noise("c", 60, 50)}).ok());
  CHECK(grown->token_count() > 3 * 421);
  CHECK(grown->token_count() < 3 * 421 + 60);  // not 617 for the first any more
}

TEST_CASE_FIXTURE(PicoTest, "conversation: what does not fit is refused with the numbers, and the conversation goes on") {
  const auto talk = conversation();
  REQUIRE(talk->ask("One?", {noise("a", 90, 40)}).ok());
  const uint32_t before = talk->token_count();
  const Status status = talk->ask(std::string(9000, '7'), {});
  CHECK(status.code() == Code::ContextFull);
  CHECK(status.message().find("4096") != std::string::npos);
  CHECK(talk->token_count() == before);
  CHECK(talk->ask("Two?", {}).ok());
  CHECK(talk->ask("<image> and <image>", {noise("b", 50, 50)}).code() == Code::BadArgument);
  CHECK(talk->ask("A side of nothing", {{0, 5, {}}}).code() == Code::BadArgument);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: pieces put together are the answer, and false stops it at once") {
  const auto talk = conversation();
  REQUIRE(talk->ask("What does it say?", {noise("a", 90, 40)}).ok());
  std::string streamed;
  ReplyOptions options;
  options.max_tokens = 12;
  options.on_text = [&](std::string_view piece) {
    streamed += piece;
    return true;
  };
  const auto reply = talk->reply(options);
  REQUIRE(reply.ok());
  CHECK(streamed == reply->text);
  CHECK(!reply->ids.empty());

  const auto stopped = conversation();
  REQUIRE(stopped->ask("What does it say?", {noise("a", 90, 40)}).ok());
  const uint32_t before = stopped->token_count();
  options.on_text = [](std::string_view) { return false; };
  const auto none = stopped->reply(options);
  REQUIRE(none.ok());
  CHECK(none->stop == StopReason::Stopped);
  CHECK(stopped->token_count() == before + none->ids.size());
}
