// Turns, pictures and streaming over the bundled demo model.
#include "model/conversation.h"

#include <cmath>

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

// A user's message, and the beginning of an answer to it; the message is taken back where that fails.
Status ask(Conversation& talk, const std::string& text, std::vector<OwnedPicture> pictures, const ReplyOptions& options = {}) {
  const size_t before = talk.message_count();
  VL2_TRY(talk.add(Role::User, text, std::move(pictures)));
  const Status status = talk.start(options);
  if (!status.ok())
    talk.truncate(before);
  return status;
}

// The rest of the answer, its pieces put together behind `streamed`.
Reply answer(Conversation& talk, std::string* streamed = nullptr) {
  for (;;) {
    auto piece = talk.next();
    REQUIRE_MESSAGE(piece.ok(), piece.message());
    if (!*piece)
      return talk.reply();
    if (streamed != nullptr)
      *streamed += (**piece).text;
  }
}

}  // namespace

TEST_CASE_FIXTURE(PicoTest, "conversation: a second turn continues the cache as if all had been said at once") {
  const auto turns = conversation();
  // Cut off: the end token has to be put in before the next turn.
  REQUIRE(ask(*turns, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 5}).ok());
  const Reply first = answer(*turns);
  REQUIRE(ask(*turns, "And now?", {}).ok());

  // The same ids by hand, prefilled in one go.
  const auto control = ControlIds::find(*tokenizer);
  REQUIRE(control.ok());
  const std::vector<Turn> question = {{Role::User, "What does it say?", {421}}};
  auto prompt = build_prompt(*tokenizer, *control, question, {});
  REQUIRE(prompt.ok());
  std::vector<TokenId> ids = prompt->ids;
  ids.insert(ids.end(), first.ids.begin(), first.ids.end());
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
  REQUIRE(ask(*grown, "One?", {noise("a", 400, 300)}, {.max_tokens = 3}).ok());
  const uint32_t tiled = grown->token_count();
  CHECK(tiled > 617);
  answer(*grown);
  REQUIRE(ask(*grown, "Three?", {noise("b", 50, 50), noise("c", 60, 50)}).ok());
  CHECK(grown->token_count() > 3 * 421);
  CHECK(grown->token_count() < 3 * 421 + 60);  // not 617 for the first any more
}

TEST_CASE_FIXTURE(PicoTest, "conversation: what does not fit is refused with the numbers, and the conversation goes on") {
  const auto talk = conversation();
  REQUIRE(ask(*talk, "One?", {noise("a", 90, 40)}).ok());
  talk->end();
  const uint32_t before = talk->token_count();
  const Status status = ask(*talk, std::string(9000, '7'), {});
  CHECK(status.code() == Code::ContextFull);
  CHECK(status.message().find("4096") != std::string::npos);
  CHECK(talk->token_count() == before);
  CHECK(ask(*talk, "Two?", {}).ok());
  talk->end();
  CHECK(ask(*talk, "<image> and <image>", {noise("b", 50, 50)}).code() == Code::BadArgument);
  CHECK(ask(*talk, "A side of nothing", {{0, 5, {}}}).code() == Code::BadArgument);
}

TEST_CASE_FIXTURE(PicoTest,
                  "conversation: an answer that repeats itself is ended where it was noticed, and the next turn is as ever") {
  // Asked about nothing, the demo model repeats one token for ever.
  const auto free = conversation(), guarded = conversation(), ahead = conversation();
  const auto question = [&](Conversation& talk, bool guard, uint32_t at_a_time) {
    REQUIRE(ask(talk, "Hello", {}, {.max_tokens = 600, .loop_guard = guard, .at_a_time = at_a_time}).ok());
    return answer(talk);
  };
  const Reply whole = question(*free, false, 8);
  REQUIRE(whole.ids.size() == 600);
  CHECK(whole.stop == StopReason::MaxTokens);
  LoopGuard guard;
  size_t expected = 0;
  while (expected < 600 && !guard.push(whole.ids[expected], tokenizer->token_bytes(whole.ids[expected])))
    ++expected;
  REQUIRE(++expected < 500);
  for (const auto& [talk, at_a_time] : {std::pair{guarded.get(), 1u}, {ahead.get(), 7u}}) {
    const Reply reply = question(*talk, true, at_a_time);
    CHECK(reply.stop == StopReason::Loop);
    CHECK(std::string(stop_reason_name(*reply.stop)) == "loop");
    REQUIRE(reply.ids.size() == expected);
    CHECK(std::equal(reply.ids.begin(), reply.ids.end(), whole.ids.begin()));
    CHECK(talk->token_count() == reply.prompt_tokens + expected);  // what was chosen ahead is gone
    CHECK(talk->message(1).open);
  }
  REQUIRE(ask(*guarded, "And now?", {}, {.max_tokens = 9}).ok());
  REQUIRE(ask(*ahead, "And now?", {}, {.max_tokens = 9}).ok());
  CHECK(answer(*guarded).ids == answer(*ahead).ids);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: pieces put together are the answer, and end() ends it at once") {
  const auto talk = conversation();
  REQUIRE(ask(*talk, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 12}).ok());
  std::string streamed;
  const Reply reply = answer(*talk, &streamed);
  CHECK(streamed == reply.text);
  CHECK(!reply.ids.empty());

  const auto stopped = conversation();
  REQUIRE(ask(*stopped, "What does it say?", {noise("a", 90, 40)}).ok());
  const uint32_t before = stopped->token_count();
  REQUIRE(stopped->next().ok());
  stopped->end();
  CHECK(!stopped->answering());
  CHECK(stopped->reply().stop == StopReason::Stopped);
  CHECK(stopped->reply().ids.size() == 1);
  CHECK(stopped->token_count() == before + 1);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: a question asked again reads its last token only, and answers the same") {
  const auto talk = conversation();
  REQUIRE(ask(*talk, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 8}).ok());
  const Reply first = answer(*talk);
  CHECK(first.cached_tokens == 0);
  talk->truncate(1);
  REQUIRE(talk->start({.max_tokens = 8}).ok());
  const Reply again = answer(*talk);
  CHECK(again.cached_tokens == first.prompt_tokens - 1);
  CHECK(again.prompt_tokens == first.prompt_tokens);
  CHECK(again.ids == first.ids);

  // The same words and pixels written anew, as a server does, and one more question.
  talk->truncate(0);
  REQUIRE(talk->add(Role::User, "What does it say?", {noise("a", 90, 40)}).ok());
  REQUIRE(talk->add(Role::Assistant, first.tagged_text).ok());
  REQUIRE(ask(*talk, "And now?", {}, {.max_tokens = 4}).ok());
  const Reply next = answer(*talk);
  CHECK(next.cached_tokens >= first.prompt_tokens);

  // Another picture of the same size: everything from it on is read.
  talk->truncate(0);
  REQUIRE(ask(*talk, "What does it say?", {noise("b", 90, 40)}, {.max_tokens = 4}).ok());
  CHECK(talk->reply().cached_tokens < 10);
  CHECK(talk->reply().cached_tokens > 0);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: the repetition penalty knows the tokens that are left, and no others") {
  const ReplyOptions penalised{.sampling = {.repetition_penalty = 1.8f}, .max_tokens = 10};
  const auto fresh = conversation();
  REQUIRE(ask(*fresh, "Count the things: one two three four.", {}, penalised).ok());
  const Reply wanted = answer(*fresh);

  const auto talk = conversation();
  REQUIRE(ask(*talk, "Count the things: one two three four.", {}, {.sampling = {.temperature = 2, .seed = 5}, .max_tokens = 40})
              .ok());
  answer(*talk);
  talk->truncate(1);
  REQUIRE(talk->start(penalised).ok());
  CHECK(answer(*talk).ids == wanted.ids);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: tokens chosen ahead are not in what follows, wherever the answer ended") {
  const ReplyOptions drawn{.sampling = {.temperature = 2, .repetition_penalty = 1.3f, .seed = 11}, .max_tokens = 13};
  const std::string first = "Count the things: one two three four.", second = "And what else?";
  const auto stop_after = [&](size_t tokens, uint32_t at_a_time) {
    const auto talk = conversation();
    ReplyOptions options = drawn;
    options.at_a_time = at_a_time;
    REQUIRE(ask(*talk, first, {}, options).ok());
    for (size_t i = 0; i < tokens; ++i)
      REQUIRE(talk->next().ok());
    talk->end();
    CHECK(talk->reply().ids.size() == tokens);
    REQUIRE(ask(*talk, second, {}, options).ok());
    const Reply reply = answer(*talk);
    CHECK(reply.ids.size() <= 13);
    return reply;
  };
  // At the end of a step, within one, after its first token.
  for (const size_t tokens : {8, 5, 9}) {
    const Reply wanted = stop_after(tokens, 1), ahead = stop_after(tokens, 8);
    CHECK(ahead.prompt_tokens == wanted.prompt_tokens);
    CHECK(ahead.cached_tokens == wanted.cached_tokens);
    CHECK(ahead.ids == wanted.ids);
  }
}

TEST_CASE_FIXTURE(PicoTest, "conversation: an answer that goes on is the answer given in one go") {
  const auto whole = conversation();
  REQUIRE(ask(*whole, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 9}).ok());
  const Reply wanted = answer(*whole);
  REQUIRE(wanted.ids.size() >= 3);

  const auto parts = conversation();
  REQUIRE(ask(*parts, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 2}).ok());
  Reply reply = answer(*parts);
  std::vector<TokenId> ids = reply.ids;
  REQUIRE(reply.stop == StopReason::MaxTokens);
  REQUIRE(parts->start({.max_tokens = 7, .go_on = true}).ok());
  reply = answer(*parts);
  ids.insert(ids.end(), reply.ids.begin(), reply.ids.end());
  CHECK(ids == wanted.ids);
  CHECK(parts->message_count() == 2);
}

TEST_CASE_FIXTURE(PicoTest, "conversation: a token's probability is the softmax of the logits before it") {
  const auto talk = conversation();
  REQUIRE(
      ask(*talk, "What does it say?", {noise("a", 90, 40)}, {.max_tokens = 3, .probabilities = true, .alternatives = 5}).ok());
  std::vector<float> logits;
  for (uint32_t i = 0; i < 3; ++i) {
    REQUIRE(talk->session().next_logits(logits).ok());
    const auto piece = talk->next();
    REQUIRE(piece.ok());
    if (!*piece)
      break;
    const Piece& given = **piece;
    double sum = 0;
    for (const float logit : logits)
      sum += std::exp(static_cast<double>(logit));
    // Seen: 5.7e-8. Planted fault, the logits of the token before: 0.4 at least.
    CHECK(std::exp(static_cast<double>(given.logprob)) ==
          doctest::Approx(std::exp(static_cast<double>(logits[given.id])) / sum).epsilon(1e-5));
    REQUIRE(given.alternatives.size() == 5);
    CHECK(given.alternatives[0].id == given.id);  // greedy
    CHECK(given.alternatives[0].logprob == given.logprob);
    for (size_t k = 1; k < 5; ++k)
      CHECK(given.alternatives[k].logprob <= given.alternatives[k - 1].logprob);
  }
  CHECK(talk->reply().logprobs.size() == talk->reply().ids.size());
}

TEST_CASE_FIXTURE(PicoTest,
                  "conversation: request_stop() ends an answer before its next token, and reading before its next part") {
  const auto talk = conversation();
  REQUIRE(ask(*talk, "What does it say?", {noise("a", 90, 40)}).ok());
  const auto first = talk->next();
  REQUIRE(first.ok());
  talk->request_stop();
  CHECK(answer(*talk).ids.size() == 1);
  CHECK(talk->reply().stop == StopReason::Stopped);

  const auto reading = conversation();
  REQUIRE(reading->add(Role::User, "What?", {noise("a", 90, 40)}).ok());
  const auto stop_at_once = [&](ReadPhase, uint32_t, uint32_t) {
    reading->request_stop();
    return Status();
  };
  CHECK(reading->start({}, stop_at_once).code() == Code::Cancelled);
  CHECK(reading->token_count() == 0);
  CHECK(reading->message_count() == 1);
  reading->forget_stop();
  CHECK(reading->start({.max_tokens = 1}).ok());
}
