#include <cstdio>
#include <doctest/doctest.h>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "model/tokenizer.h"
#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

using nlohmann::json;

json good_file() {
  return json::parse(small_tokenizer_json(v3_pre_tokenizer(), {"a b", "ab c"}, {"<image>", "<|User|>"}));
}

// The message about a good file after `damage`.
std::string refusal(const std::function<void(json&)>& damage) {
  json root = good_file();
  damage(root);
  const auto result = Tokenizer::parse(root.dump(), "tokenizer.json");
  CHECK(!result.ok());
  CHECK(result.message().find('\n') == std::string::npos);
  return result.message();
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("tokenizer file: merges as pairs of strings mean the same") {
    json root = good_file();
    REQUIRE(Tokenizer::parse(root.dump(), "tokenizer.json").ok());
    root["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
    const auto pairs = Tokenizer::parse(root.dump(), "tokenizer.json");
    REQUIRE_MESSAGE(pairs.ok(), pairs.message());
    CHECK(pairs->encode("abcab", ControlTokens::Ignore).value() == std::vector<TokenId>{257, 256});
  }

  TEST_CASE("tokenizer file: hostile contents are refused with one line that names the place") {
    CHECK(refusal([](json& root) { root = 3; }) == "tokenizer.json: got integer, wanted object");
    CHECK(refusal([](json& root) { root.erase("model"); }) == "tokenizer.json: model: missing, wanted object");
    CHECK(refusal([](json& root) { root["model"] = "BPE"; }) == "tokenizer.json: model: missing, wanted object");
    CHECK(refusal([](json& root) { root["model"]["type"] = "Unigram"; }) ==
          "tokenizer.json: model.type: this program knows only \"BPE\"");
    CHECK(refusal([](json& root) { root["model"].erase("vocab"); }) == "tokenizer.json: model.vocab: missing, wanted object");
    CHECK(refusal([](json& root) { root["model"]["vocab"] = json::array(); }) ==
          "tokenizer.json: model.vocab: missing, wanted object");
    CHECK(refusal([](json& root) { root["model"]["vocab"]["a"] = "97"; }) ==
          "tokenizer.json: model.vocab: token \"a\" has a string as id, wanted integer");
    CHECK(refusal([](json& root) { root["model"]["vocab"]["a"] = -1; }) ==
          "tokenizer.json: model.vocab: token \"a\" has the id -1, wanted 0 to 4194303");
    CHECK(refusal([](json& root) { root["model"]["vocab"]["a"] = 1'000'000'000'000; }) ==
          "tokenizer.json: model.vocab: token \"a\" has the id 1000000000000, wanted 0 to 4194303");
    CHECK(refusal([](json& root) { root["model"]["vocab"]["a"] = 98; }) ==
          "tokenizer.json: model.vocab: the id 98 belongs to both \"a\" and \"b\"");
    CHECK(refusal([](json& root) { root["model"]["vocab"].erase("a"); }).find("no token \"a\"") != std::string::npos);
    CHECK(refusal([](json& root) {
            root["model"]["merges"] = json::array();
            root["model"]["vocab"].erase("!");
          }) == "tokenizer.json: model.vocab: no token \"!\", which stands for the byte 33");
    CHECK(refusal([](json& root) { root["model"].erase("merges"); }) == "tokenizer.json: model.merges: missing, wanted array");
    for (const json& merge : {json("ab"), json("a b c"), json(" b"), json("a "), json(3), json::array({"a"}),
                              json::array({"a", 1}), json::array({"", "b"})})
      CHECK(refusal([&](json& root) { root["model"]["merges"].push_back(merge); }) ==
            "tokenizer.json: model.merges[2]: wanted two tokens, as \"a b\" or [\"a\", \"b\"]");
    CHECK(refusal([](json& root) { root["model"]["merges"].push_back("nobody b"); }) ==
          "tokenizer.json: model.merges[2]: no token \"nobody\" in model.vocab");
    CHECK(refusal([](json& root) { root["model"]["merges"].push_back("b a"); }) ==
          "tokenizer.json: model.merges[2]: no token \"ba\" in model.vocab");
    CHECK(refusal([](json& root) { root["model"]["merges"].push_back("a b"); }) ==
          "tokenizer.json: model.merges: the pair \"a\" and \"b\" is there twice");
  }

  TEST_CASE("tokenizer file: hostile added tokens are refused") {
    CHECK(refusal([](json& root) { root["added_tokens"] = 1; }) == "tokenizer.json: added_tokens: got integer, wanted array");
    CHECK(refusal([](json& root) { root["added_tokens"][0] = 1; }) ==
          "tokenizer.json: added_tokens[0]: wanted an object with content and id");
    CHECK(refusal([](json& root) { root["added_tokens"][0]["content"] = ""; }) ==
          "tokenizer.json: added_tokens[0]: wanted an object with content and id");
    CHECK(refusal([](json& root) {
            root["added_tokens"][1]["content"] = "<image>";
            root["added_tokens"][1]["id"] = 900;
          }) == "tokenizer.json: added_tokens[1]: \"<image>\" is there twice");
    CHECK(refusal([](json& root) { root["added_tokens"][1]["id"] = 258; }) ==
          "tokenizer.json: model.vocab: the id 258 belongs to both \"<image>\" and \"<|User|>\"");
    CHECK(refusal([](json& root) { root["added_tokens"][0]["content"] = "a"; }) ==
          "tokenizer.json: added_tokens[0]: \"a\" has the id 258, in model.vocab it has 97");
    CHECK(refusal([](json& root) { root["added_tokens"][0]["lstrip"] = true; }) ==
          "tokenizer.json: added_tokens[0].lstrip: this program knows only false");
    CHECK(refusal([](json& root) { root["added_tokens"][0]["special"] = 1; }) ==
          "tokenizer.json: added_tokens[0].special: got integer, wanted boolean");
    CHECK(refusal([](json& root) { root["added_tokens"][0]["content"] = std::string(2000, 'x'); }) ==
          "tokenizer.json: added_tokens[0]: content of 2000 bytes, wanted at most 1024");
  }

  TEST_CASE("tokenizer file: what would change the ids and is not implemented is refused by its name") {
    CHECK(refusal([](json& root) {
            root["normalizer"] = {{"type", "NFC"}};
          }) == "tokenizer.json: normalizer: this program knows none");
    CHECK(refusal([](json& root) {
            root["truncation"] = {{"max_length", 5}};
          }) == "tokenizer.json: truncation: this program knows only null");
    CHECK(refusal([](json& root) { root["padding"] = json::object(); }) ==
          "tokenizer.json: padding: this program knows only null");
    CHECK(refusal([](json& root) { root.erase("decoder"); }) == "tokenizer.json: decoder: this program knows only ByteLevel");
    CHECK(refusal([](json& root) { root["pre_tokenizer"] = nullptr; }).find("pre_tokenizer: missing") != std::string::npos);
    CHECK(refusal([](json& root) { root["model"]["dropout"] = 0.1; }) ==
          "tokenizer.json: model.dropout: this program knows only null");
    CHECK(refusal([](json& root) { root["model"]["unk_token"] = "a"; }) ==
          "tokenizer.json: model.unk_token: this program knows only null");
    CHECK(refusal([](json& root) { root["model"]["end_of_word_suffix"] = "a"; }) ==
          "tokenizer.json: model.end_of_word_suffix: this program knows only null");
    CHECK(refusal([](json& root) { root["model"]["byte_fallback"] = true; }) ==
          "tokenizer.json: model.byte_fallback: this program knows only false");
    CHECK(refusal([](json& root) { root["model"]["ignore_merges"] = true; }) ==
          "tokenizer.json: model.ignore_merges: this program knows only false");
    CHECK(refusal([](json& root) { root["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x*"; }) ==
          "tokenizer.json: pre_tokenizer[0]: unknown pattern \"x*\"");
  }

  TEST_CASE("tokenizer file: cut anywhere, it is refused and nothing else happens") {
    const std::string whole = good_file().dump();
    for (size_t bytes = 0; bytes < whole.size(); bytes += 1 + bytes / 50)
      CHECK(Tokenizer::parse(std::string_view(whole).substr(0, bytes), "tokenizer.json").code() == Code::BadFile);
  }

  TEST_CASE("tokenizer file: a missing file is named") {
    const auto result = Tokenizer::load("/nonexistent/tokenizer.json");
    CHECK(result.code() == Code::NotFound);
    CHECK(result.message().find("/nonexistent/tokenizer.json") != std::string::npos);
  }
}

}  // namespace vl2
