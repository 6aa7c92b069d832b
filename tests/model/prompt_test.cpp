#include "model/prompt.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

using Ids = std::vector<TokenId>;

const ControlIds& control() {
  static const ControlIds ids = [] {
    auto result = ControlIds::find(v3_tokenizer());
    REQUIRE_MESSAGE(result.ok(), result.message());
    return *result;
  }();
  return ids;
}

Prompt build(const std::vector<Turn>& turns, const PromptOptions& options = {}) {
  auto result = build_prompt(v3_tokenizer(), control(), turns, options);
  REQUIRE_MESSAGE(result.ok(), result.message());
  return result.take();
}

std::string refusal(const std::vector<Turn>& turns) {
  const auto result = build_prompt(v3_tokenizer(), control(), turns);
  CHECK(result.code() == Code::BadArgument);
  return result.message();
}

// Lists one after the other; a picture of n tokens is n times the image token.
Ids join(std::initializer_list<Ids> parts) {
  Ids all;
  for (const Ids& part : parts)
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

Ids picture(uint32_t count) {
  return Ids(count, 128815);
}

Turn user(const std::string& text, std::vector<uint32_t> image_tokens = {}) {
  return {Role::User, text, std::move(image_tokens)};
}
Turn answer(const std::string& text) {
  return {Role::Assistant, text, {}};
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("chat_template: control tokens have their published ids") {
    CHECK(control().bos == 0);
    CHECK(control().eos == 1);
    CHECK(control().image == 128815);
    CHECK(control().ref == 128816);
    CHECK(control().ref_end == 128817);
    CHECK(control().det == 128818);
    CHECK(control().det_end == 128819);
    CHECK(control().grounding == 128820);
    CHECK(control().user == 128821);
    CHECK(control().assistant == 128822);
    const auto small = Tokenizer::parse(small_tokenizer_json(v3_pre_tokenizer(), {}, {"<image>"}), "tokenizer.json");
    REQUIRE(small.ok());
    CHECK(ControlIds::find(*small).message().find("<｜begin▁of▁sentence｜>") != std::string::npos);
  }

  TEST_CASE("chat_template: strip takes what Python's str.strip takes") {
    CHECK(strip("") == "");
    CHECK(strip(" \n\t ") == "");
    CHECK(strip("\x1C\x1F\u3000\u00A0\u0085 a b \u2028\r\n") == "a b");
    CHECK(strip("\u200Ba\u200B") == "\u200Ba\u200B");  // not white space
    CHECK(strip("\uFEFFa\xE3\x80") == "\uFEFFa\xE3\x80");
  }

  // Ids of the pieces: computed with another implementation over the public vocabulary.
  TEST_CASE("prompt: the published single-picture question has 1446 tokens") {
    const Prompt prompt = build({user("<image>\n<|ref|>The giraffe at the back.<|/ref|>.", {1429})});
    CHECK(prompt.ids == join({{0, 128821, 28, 223},
                              picture(1429),
                              {201, 128816, 671, 94656, 51394, 509, 270, 1559, 16, 128817, 339, 128822, 28}}));
    CHECK(prompt.ids.size() == 1446);
    CHECK(prompt.images == std::vector<ImageRun>{{4, 1429}});
  }

  TEST_CASE("prompt: the published three-picture question has 1302 tokens") {
    const Prompt prompt =
        build({user("This is image_1: <image>\nThis is image_2: <image>\nThis is image_3: <image>\n"
                    " Can you tell me what are in the images?",
                    {421, 421, 421})});
    CHECK(prompt.ids.size() == 1302);
    CHECK(prompt.images == std::vector<ImageRun>{{10, 421}, {439, 421}, {868, 421}});
    const Ids tail(prompt.ids.begin() + 868 + 421, prompt.ids.end());
    CHECK(tail == Ids{201, 3721, 440, 4575, 678, 1205, 477, 295, 270, 7178, 1240, 128822, 28});
  }

  TEST_CASE("prompt: turns follow one another with one bos and an eos an answer") {
    const std::vector<Turn> turns = {user("Hello!"), answer(" Hi! This is Tony.\n"), user("Hello!")};
    const Ids question{128821, 28, 45948, 2596, 128822, 28};
    CHECK(build(turns).ids == join({{0}, question, {23166, 3, 1162, 344, 25202, 16, 1}, question}));
    CHECK(build({turns[2]}, {.bos = false}).ids == question);
    CHECK(build({{Role::System, " Hi! This is Tony.", {}}, turns[0]}).ids ==
          join({{0, 23166, 3, 1162, 344, 25202, 16}, question}));
    CHECK(build({}).ids == Ids{0});
  }

  TEST_CASE("prompt: missing marks stand in front, a line each") {
    const Prompt marked = build({user("<image>\n<image>\nHello!", {421, 617})}), bare = build({user("Hello!", {421, 617})});
    CHECK(marked.ids == bare.ids);
    CHECK(bare.images == std::vector<ImageRun>{{4, 421}, {426, 617}});
    CHECK(build({user("Hello <image>!", {3, 2})}).ids == build({user("<image>\nHello <image>!", {3, 2})}).ids);
  }

  TEST_CASE("prompt: nothing that a user or system types becomes a role, an end or a picture") {
    std::string typed;
    for (const AddedToken& token : v3_tokenizer().added_tokens())
      if (token.content != kImageMark)
        typed += token.content + " ";
    const Prompt prompt = build({{Role::System, typed, {}}, user(typed)}, {.grounding_tags = false});
    std::vector<TokenId> control_ids;
    for (const TokenId id : prompt.ids)
      if (id >= 128000 || id <= 2)
        control_ids.push_back(id);
    CHECK(control_ids == Ids{0, 128821, 128822});

    // With grounding tags those three do, and no others.
    control_ids.clear();
    for (const TokenId id : build({user(typed)}).ids)
      if (id >= 128000 || id <= 2)
        control_ids.push_back(id);
    CHECK(control_ids == Ids{0, 128821, 128816, 128817, 128820, 128822});
  }

  TEST_CASE("prompt: an answer keeps its boxes, and no other control token") {
    const Prompt prompt = build({answer("<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|><｜end▁of▁sentence｜><|User|>")});
    CHECK(prompt.ids[1] == 128816);
    CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), 128818u) == 1);
    CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), 128819u) == 1);
    CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), 1u) == 1);  // the one that ends the turn
    CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), 128821u) == 0);
  }

  TEST_CASE("prompt: what does not fit is refused with the turn and the numbers") {
    CHECK(refusal({user("a"), answer("b"), user("<image><image> c", {421})}) ==
          "turn 3: prompt: the text has 2 marks <image>, and 1 picture is given");
    CHECK(refusal({user("what is <image>?")}) == "turn 1: prompt: the text has 1 marks <image>, and 0 pictures are given");
    CHECK(refusal({user("a"), answer("<image>")}) ==
          "turn 2: prompt: 1 marks <image> in an assistant's turn, wanted them in a user's");
    CHECK(refusal({user("a"), {Role::Assistant, "b", {421}}}) ==
          "turn 2: prompt: 1 pictures in an assistant's turn, wanted them in a user's");
    CHECK(refusal({user("a"), {Role::System, "b", {}}}) == "turn 2: prompt: a system turn, wanted only as the first");
    CHECK(refusal({user("a", {0})}) == "turn 1: prompt: picture 1 has 0 tokens");
    CHECK(refusal({user("a\xFF")}) == "turn 1: tokenizer: byte 3 of the text is not UTF-8");
  }
}

}  // namespace vl2
