#include "model/tokenizer.h"

#include <algorithm>
#include <climits>
#include <doctest/doctest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "tests/support/random_text.h"
#include "tests/support/regex_oracle.h"
#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

using Ids = std::vector<TokenId>;

Ids encode(const Tokenizer& tokenizer, std::string_view text, ControlTokens control = ControlTokens::Ignore,
           std::span<const TokenId> recognised = {}) {
  auto result = tokenizer.encode(text, control, recognised);
  REQUIRE_MESSAGE(result.ok(), result.message());
  return result.take();
}

Tokenizer parse(const std::string& json) {
  auto result = Tokenizer::parse(json, "tokenizer.json");
  REQUIRE_MESSAGE(result.ok(), result.message());
  return result.take();
}

// Byte-pair encoding as its definition says, on strings: the lowest rank anywhere, the leftmost of equals, until none is left.
class PlainBpe {
 public:
  explicit PlainBpe(const std::string& tokenizer_json) {
    const auto root = nlohmann::json::parse(tokenizer_json);
    for (const auto& [content, id] : root["model"]["vocab"].items())
      ids_[content] = id.get<TokenId>();
    for (const auto& merge : root["model"]["merges"]) {
      const int rank = static_cast<int>(ranks_.size());
      ranks_[merge.get<std::string>()] = rank;
    }
    // The alphabet, from its definition: GPT-2's bytes_to_unicode.
    uint32_t shift = 0;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174);
      append_utf8(letters_[byte], plain ? byte : 256 + shift++);
    }
  }

  void encode(std::string_view piece, Ids& out) const {
    std::vector<std::string> symbols;
    for (const char c : piece)
      symbols.push_back(letters_[static_cast<uint8_t>(c)]);
    for (;;) {
      int best_rank = INT_MAX;
      size_t best = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find(symbols[i] + " " + symbols[i + 1]);
        if (found != ranks_.end() && found->second < best_rank) {
          best_rank = found->second;
          best = i;
        }
      }
      if (best_rank == INT_MAX)
        break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    for (const std::string& symbol : symbols)
      out.push_back(ids_.at(symbol));
  }

 private:
  std::map<std::string, TokenId> ids_;
  std::unordered_map<std::string, int> ranks_;
  std::string letters_[256];
};

const char* const kBpeMerges[] = {"a a", "aa aa", "a b", "aa b", "b a", "ab ab", "aaaa aa", "Ġ a", "Ġa b", "b b", "bb a"};

Tokenizer small_tokenizer(const std::vector<std::string>& added = {}) {
  return parse(small_tokenizer_json(v3_pre_tokenizer(), {std::begin(kBpeMerges), std::end(kBpeMerges)}, added));
}

}  // namespace

TEST_SUITE("cpu") {
  // Computed with another implementation over the public vocabularies, not with this one.
  TEST_CASE("tokenizer: published prompts give the known ids of the V3 family") {
    const std::pair<const char*, Ids> cases[] = {
        {"<|User|>: ", {128821, 28, 223}},
        {"\n<|ref|>The giraffe at the back.<|/ref|>.\n\n<|Assistant|>:",
         {201, 128816, 671, 94656, 51394, 509, 270, 1559, 16, 128817, 339, 128822, 28}},
        {"<|ref|>The giraffe at the back.<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>",
         {128816, 671, 94656, 51394, 509, 270,  1559, 16,  128817, 128818, 22663, 23243,
          14,     223, 13587, 14,    223, 8834, 14,   223, 9931,   11621,  128819}},
        {"<|User|>: This is image_1: ", {128821, 28, 1162, 344, 4609, 65, 19, 28, 223}},
        {"\nThis is image_2: ", {201, 2337, 344, 4609, 65, 20, 28, 223}},
        {"\n Can you tell me what are in the images?\n\n<|Assistant|>:",
         {201, 3721, 440, 4575, 678, 1205, 477, 295, 270, 7178, 1240, 128822, 28}},
        {"<|User|>: Hello!\n\n<|Assistant|>:", {128821, 28, 45948, 2596, 128822, 28}},
        {"Hi! This is Tony.", {23166, 3, 1162, 344, 25202, 16}},
        {"\nAnswer the question using a single word or phrase.\n\n<|Assistant|>:",
         {201, 7805, 270, 3417, 1812, 260, 4031, 2004, 469, 17132, 339, 128822, 28}},
        {"能帮我用这几个食材做一道菜吗?", {659, 40249, 642, 58718, 37958, 1460, 17539, 4828, 3467, 33}},
    };
    for (const auto& [text, ids] : cases) {
      CAPTURE(text);
      CHECK(encode(v3_tokenizer(), text, ControlTokens::Recognise) == ids);
      CHECK(v3_tokenizer().decode(ids, true) == text);
    }
  }

  TEST_CASE("tokenizer: ids are those of the definition, over the V3 vocabulary and random text") {
    const PlainBpe plain(v3_tokenizer_json());
    const RegexOracle splitter(v3_patterns());
    RandomText random(11, {});
    for (int i = 0; i < 20'000; ++i) {
      const std::string text = random.next(8);
      Ids expected;
      uint32_t begin = 0;
      for (const uint32_t end : splitter.split(text)) {
        plain.encode(std::string_view(text).substr(begin, end - begin), expected);
        begin = end;
      }
      const Ids ids = encode(v3_tokenizer(), text);
      CAPTURE(json_quote(text));
      REQUIRE(ids == expected);
      REQUIRE(v3_tokenizer().decode(ids, true) == text);
    }
  }

  TEST_CASE("tokenizer: long pieces merge as short ones do") {
    // 48 bytes is where the way of merging changes.
    const std::string json = small_tokenizer_json(v3_pre_tokenizer(), {std::begin(kBpeMerges), std::end(kBpeMerges)}, {});
    const Tokenizer tokenizer = parse(json);
    const PlainBpe plain(json);
    RandomText random(5, {});
    for (int i = 0; i < 2'000; ++i) {
      std::string text;
      for (uint32_t length = 1 + random.below(120); length > 0; --length)
        text.push_back(random.below(5) < 3 ? 'a' : 'b');
      Ids expected;
      plain.encode(text, expected);
      CAPTURE(text);
      REQUIRE(encode(tokenizer, text) == expected);
    }
  }

  TEST_CASE("tokenizer: the 100k family, with a small vocabulary of its own") {
    const std::string json =
        small_tokenizer_json(family_100k_pre_tokenizer(), {"Ġ a", "a b", "1 2", "\u010a \u010a", "! !"}, {"<|User|>"});
    const Tokenizer tokenizer = parse(json);
    // Digits and newlines stay alone although merges exist; a space joins the word behind it. Ids: bytes, then merges from 256
    // on.
    CHECK(encode(tokenizer, "12\n\n ab!!") == Ids{'1', '2', '\n', '\n', 256, 'b', 260});
    CHECK(encode(tokenizer, "<|User|>", ControlTokens::Recognise) == Ids{261});
  }

  TEST_CASE("tokenizer: control tokens in a text are letters unless asked for") {
    const Tokenizer& v3 = v3_tokenizer();
    for (const AddedToken& token : v3.added_tokens()) {
      CAPTURE(token.content);
      CHECK(encode(v3, token.content, ControlTokens::Recognise) == Ids{token.id});
      const Ids plain = encode(v3, "a" + token.content + "b");
      for (const TokenId id : plain)
        CHECK((id < 128000 && id > 2));
      CHECK(v3.decode(plain, false) == "a" + token.content + "b");
    }
    const TokenId ref = *v3.find_added_token("<|ref|>");
    const Ids mixed = encode(v3, "<|ref|><|User|>", ControlTokens::Ignore, std::vector{ref});
    CHECK(mixed.front() == ref);
    CHECK(std::count(mixed.begin(), mixed.end(), 128821u) == 0);
    CHECK(!v3.find_added_token("<|nobody|>"));
  }

  TEST_CASE("tokenizer: of added tokens the leftmost is taken, then the longest") {
    const Tokenizer tokenizer = small_tokenizer({"<a>", "<a><b>", "<b>", "<a", "x<"});
    const auto id = [&](const char* content) { return *tokenizer.find_added_token(content); };
    CHECK(encode(tokenizer, "<a><b>", ControlTokens::Recognise) == Ids{id("<a><b>")});
    CHECK(encode(tokenizer, "<a><c", ControlTokens::Recognise) == Ids{id("<a>"), '<', 'c'});
    CHECK(encode(tokenizer, "<ab", ControlTokens::Recognise) == Ids{id("<a"), 'b'});
    CHECK(encode(tokenizer, "x<a>", ControlTokens::Recognise) == Ids{id("x<"), 'a', '>'});
  }

  TEST_CASE("tokenizer: text that is not UTF-8 is refused with the byte's offset") {
    const auto result = v3_tokenizer().encode("ab\xC3(", ControlTokens::Ignore);
    CHECK(result.code() == Code::BadArgument);
    CHECK(result.message() == "tokenizer: byte 2 of the text is not UTF-8");
  }

  TEST_CASE("tokenizer: decoding leaves out special tokens when asked, and ids without a token always") {
    const Tokenizer& v3 = v3_tokenizer();
    CHECK(v3.decode(Ids{0, 23166, 3, 1}, false) == "Hi!");
    CHECK(v3.decode(Ids{0, 23166, 3, 1}, true) == "<｜begin▁of▁sentence｜>Hi!<｜end▁of▁sentence｜>");
    CHECK(v3.decode(Ids{128803, 23166}, false) == "<｜User｜>Hi");  // the file flags it as not special
    CHECK(v3.decode(Ids{128823, 4'000'000'000u, 23166}, true) == "Hi");
    CHECK(v3.id_count() == 128823);
  }

  TEST_CASE("stream_decoder: never part of a character, and together what decode gives") {
    const Tokenizer& v3 = v3_tokenizer();
    const Ids emoji = encode(v3, "👩‍👩‍👧 是 ü");
    StreamDecoder stream(v3, true);
    std::string all;
    for (const TokenId id : emoji) {
      const std::string part = stream.push(id);
      CHECK(find_invalid_utf8(part) == std::string::npos);
      CHECK(part.find("\uFFFD") == std::string::npos);
      all += part;
    }
    CHECK(all + stream.flush() == "👩‍👩‍👧 是 ü");

    RandomText random(3, {});
    for (int i = 0; i < 20'000; ++i) {  // any ids in any order: many broken characters
      Ids ids;
      for (uint32_t count = random.below(12); count > 0; --count)
        ids.push_back(random.below(3) == 0 ? random.below(128900) : random.below(400));
      const bool keep_special = random.below(2) == 0;
      StreamDecoder decoder(v3, keep_special);
      std::string streamed;
      for (const TokenId id : ids)
        streamed += decoder.push(id);
      streamed += decoder.flush();
      REQUIRE(streamed == v3.decode(ids, keep_special));
      REQUIRE(decoder.flush().empty());
    }
  }

  TEST_CASE("tokenizer: a megabyte of one character takes no quadratic time") {
    // 10^12 steps would take minutes; this takes half a second a text.
    for (const char c : {'a', ' ', '<', '\n', '0'}) {
      const std::string text(1'000'000, c);
      CHECK(v3_tokenizer().decode(encode(v3_tokenizer(), text, ControlTokens::Recognise), true) == text);
    }
  }
}

}  // namespace vl2
