#include "model/pre_tokenizer.h"

#include <doctest/doctest.h>

#include "model/unicode_tables.h"
#include "tests/support/random_text.h"
#include "tests/support/regex_oracle.h"
#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

PreTokenizer load(const std::string& json) {
  const auto value = parse_json_document(json, "test");
  REQUIRE(value.ok());
  auto result = PreTokenizer::from_json(*value, "pre_tokenizer");
  REQUIRE_MESSAGE(result.ok(), result.message());
  return result.take();
}

std::vector<std::string> pieces(const PreTokenizer& pre_tokenizer, const std::string& text) {
  std::vector<std::string> result;
  uint32_t begin = 0;
  for (const uint32_t end : pre_tokenizer.split(text)) {
    result.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return result;
}

using Pieces = std::vector<std::string>;

std::string refusal(const std::string& json) {
  const auto value = parse_json_document(json, "test");
  REQUIRE_MESSAGE(value.ok(), value.message());
  const auto result = PreTokenizer::from_json(*value, "pre_tokenizer");
  CHECK(!result.ok());
  return result.message();
}

// The characters whose classes our table and the oracle's Unicode version agree on, in the oracle's eyes assigned.
const std::vector<uint32_t>& agreed_characters() {
  static const std::vector<uint32_t> agreed = [] {
    const char* patterns[] = {R"(\p{L})", R"(\p{M})", R"(\p{N})", R"(\p{P})", R"(\p{S})"};
    std::vector<std::vector<bool>> members;
    for (const char* pattern : patterns)
      members.push_back(RegexOracle::members(pattern));
    const std::vector<bool> unassigned = RegexOracle::members(R"(\p{Cn})");
    std::vector<uint32_t> result;
    for (uint32_t code_point = 0; code_point < kCodePointCount; ++code_point) {
      if (unassigned[code_point] || (code_point >= 0xD800 && code_point < 0xE000))
        continue;
      uint8_t flags = 0;
      for (size_t i = 0; i < members.size(); ++i)
        flags = static_cast<uint8_t>(flags | (members[i][code_point] ? 1u << i : 0u));
      if (flags == (char_class_table()[code_point] & 31))
        result.push_back(code_point);
    }
    return result;
  }();
  return agreed;
}

void compare_with_oracle(const std::string& json, const std::vector<std::string>& patterns, uint32_t seed,
                         uint32_t string_count) {
  const PreTokenizer pre_tokenizer = load(json);
  const RegexOracle oracle(patterns);
  RandomText random(seed, agreed_characters());
  uint64_t piece_count = 0;
  for (uint32_t i = 0; i < string_count; ++i) {
    const std::string text = random.next(i % 10 == 0 ? 20 : 6);
    const auto ours = pre_tokenizer.split(text), theirs = oracle.split(text);
    piece_count += theirs.size();
    if (ours != theirs) {
      CAPTURE(i);
      CAPTURE(json_quote(text));
      REQUIRE(ours == theirs);
    }
  }
  CHECK(piece_count > 4 * string_count);  // the strings are not trivial
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("unicode tables: classes agree with PCRE2's for every character that it knows") {
    uint32_t assigned = 0;
    for (const bool unassigned : RegexOracle::members(R"(\p{Cn})"))
      assigned += unassigned ? 0 : 1;
    assigned -= 0x800;  // surrogates
    // Seen with PCRE2 10.42, of Unicode 14: 282,230 characters, private use included, and no disagreement.
    CHECK(assigned >= 282'230);
    if (RegexOracle::unicode_version() <= 16)
      CHECK(agreed_characters().size() == assigned);
    else
      CHECK(agreed_characters().size() >= 282'230);  // it knows characters that are newer than the tables
  }

  TEST_CASE("unicode tables: white space is Unicode's, and nothing else") {
    std::vector<uint32_t> spaces;
    for (uint32_t code_point = 0; code_point < kCodePointCount; ++code_point)
      if ((char_class_table()[code_point] & kSpace) != 0)
        spaces.push_back(code_point);
    CHECK(spaces == std::vector<uint32_t>{9,      10,     11,     12,     13,     0x20,   0x85,   0xA0,   0x1680,
                                          0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                          0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000});
  }

  TEST_CASE("pre_tokenizer: the V3 family, by hand") {
    const PreTokenizer v3 = load(v3_pre_tokenizer());
    CHECK(pieces(v3, "") == Pieces{});
    CHECK(pieces(v3, "Hello world") == Pieces{"Hello", " world"});
    CHECK(pieces(v3, "12345 6") == Pieces{"123", "45", " ", "6"});
    CHECK(pieces(v3, "a  b   ") == Pieces{"a", " ", " b", "   "});
    CHECK(pieces(v3, "end.\n\nNext") == Pieces{"end", ".\n\n", "Next"});
    CHECK(pieces(v3, "x = f(y)") == Pieces{"x", " =", " f", "(y", ")"});
    CHECK(pieces(v3, "  \n  \n  z") == Pieces{"  \n  \n", " ", " z"});
    CHECK(pieces(v3, "是の1テ") == Pieces{"是の", "1", "テ"});
    CHECK(pieces(v3, "don't") == Pieces{"don", "'t"});
    CHECK(pieces(v3, "\x01\x02") == Pieces{"\x01\x02"});  // matched by nothing: one gap
    CHECK(pieces(v3, "\x01\x02z") == Pieces{"\x01", "\x02z"});
    CHECK(pieces(v3, "e\u0301\u0301!") == Pieces{"e\u0301\u0301", "!"});
  }

  TEST_CASE("pre_tokenizer: the 100k family, by hand") {
    const PreTokenizer family = load(family_100k_pre_tokenizer());
    CHECK(pieces(family, "Hello world\n\n") == Pieces{"Hello", " world", "\n", "\n"});
    CHECK(pieces(family, "a 12!? b") == Pieces{"a", " ", "1", "2", "!?", " b"});
    CHECK(pieces(family, "x   \ny  ") == Pieces{"x", "   ", "\n", "y", "  "});
    CHECK(pieces(family, "能帮 ab") == Pieces{"能帮", " ab"});
  }

  TEST_CASE("pre_tokenizer: the V3 family splits as the regular expressions do") {
    compare_with_oracle(v3_pre_tokenizer(), v3_patterns(), 1, 100'000);
  }

  TEST_CASE("pre_tokenizer: the 100k family splits as the regular expressions do") {
    std::vector<std::string> patterns = family_100k_patterns();
    patterns.push_back(R"(\p{N})");  // what Digits with individual_digits means
    compare_with_oracle(family_100k_pre_tokenizer(), patterns, 2, 100'000);
  }

  TEST_CASE("pre_tokenizer: newlines in a pattern may be written as escapes") {
    std::string json = v3_pre_tokenizer();
    for (const std::string escape : {"\\r", "\\n"})  // JSON's escape of the character becomes JSON's escape of the regex's escape
      for (size_t at = json.find(escape); at != std::string::npos; at = json.find(escape, at + 3))
        json.insert(at, 1, '\\');
    CHECK(json != v3_pre_tokenizer());
    CHECK(pieces(load(json), "end.\n\nNext") == Pieces{"end", ".\n\n", "Next"});
  }

  TEST_CASE("pre_tokenizer: an unknown pattern is refused, and shown") {
    const std::string head = R"({"type":"Sequence","pretokenizers":[)",
                      level = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
    const auto one = [&](const std::string& pattern) {
      return refusal(head + R"({"type":"Split","pattern":{"Regex":)" + json_quote(pattern) +
                     R"(},"behavior":"Isolated","invert":false},)" + level + "]}");
    };
    CHECK(one(R"(\p{N}{1,2})") == R"(pre_tokenizer[0]: unknown pattern "\\p{N}{1,2}")");
    for (const char* pattern : {"[^a]", "[a-", "[z-a]", "[a&&b]", "[[a]]", "[-a]", "[a-]", R"([\d])", R"(\s+$)", "a", "", "[]",
                                "[]+", "+", R"(\s?+)"}) {
      CAPTURE(pattern);
      CHECK(one(pattern).find("unknown pattern") != std::string::npos);
    }
    CHECK(refusal(head + R"({"type":"Whitespace"},)" + level + "]}") ==
          R"(pre_tokenizer[0]: unknown step of type "Whitespace", wanted Split, Digits or a final ByteLevel)");
    CHECK(refusal(head + R"({"type":"Digits","individual_digits":true}]})") == "pre_tokenizer: the last step must be ByteLevel");
    CHECK(refusal(head + R"({"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]})").find("add_prefix_space") !=
          std::string::npos);
    CHECK(refusal(head + R"({"type":"Split","pattern":{"String":"a"},"behavior":"Isolated"},)" + level + "]}").find("Regex") !=
          std::string::npos);
    CHECK(refusal(head + R"({"type":"Split","pattern":{"Regex":"[a]"},"behavior":"Removed"},)" + level + "]}").find("Isolated") !=
          std::string::npos);
    CHECK(refusal(R"({"type":"ByteLevel"})").find("Sequence") != std::string::npos);
    CHECK(refusal("3").find("Sequence") != std::string::npos);
  }

  TEST_CASE("pre_tokenizer: a long run of anything takes linear time") {
    // A quadratic way would take minutes here.
    for (const std::string& json : {v3_pre_tokenizer(), family_100k_pre_tokenizer()}) {
      const PreTokenizer pre_tokenizer = load(json);
      for (const char c : {' ', '\n', 'a', '!', '1', '\x01'}) {
        const std::string text = std::string(1'000'000, c) + "z";
        CHECK(pre_tokenizer.split(text).back() == text.size());
      }
    }
  }
}

}  // namespace vl2
