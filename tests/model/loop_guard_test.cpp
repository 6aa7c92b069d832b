// What is a loop, and what on a page only looks like one.
#include "model/loop_guard.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "model/tokenizer.h"
#include "tests/support/paths.h"
#include "tests/support/v3_tokenizer.h"

using namespace vl2;

namespace {

using Ids = std::vector<uint32_t>;

// How many tokens are taken before the guard says that the answer loops. Without a tokenizer no token is a number.
std::optional<size_t> stopped_after(const Ids& ids, const Tokenizer* tokenizer = nullptr) {
  LoopGuard guard;
  for (size_t i = 0; i < ids.size(); ++i)
    if (guard.push(ids[i], tokenizer == nullptr ? "a word" : tokenizer->token_bytes(ids[i])))
      return i + 1;
  return {};
}

// The same of words and numbers.
std::optional<size_t> stopped_after(const std::vector<std::string>& words) {
  LoopGuard guard;
  std::map<std::string, uint32_t> ids;
  for (size_t i = 0; i < words.size(); ++i)
    if (guard.push(ids.emplace(words[i], static_cast<uint32_t>(ids.size())).first->second, words[i]))
      return i + 1;
  return {};
}

Ids random_ids(size_t count, uint32_t below, uint32_t seed) {
  std::mt19937 random(seed);
  Ids ids(count);
  for (uint32_t& id : ids)
    id = static_cast<uint32_t>(random() % below);
  return ids;
}

void append(Ids& ids, const Ids& more, size_t times = 1) {
  for (size_t i = 0; i < times; ++i)
    ids.insert(ids.end(), more.begin(), more.end());
}

std::string times(size_t count, const std::string& text) {
  std::string all;
  for (size_t i = 0; i < count; ++i)
    all += text;
  return all;
}

// How near to a loop a text comes: over all stretches of a block again and again, the share of the tokens or of the blocks that are
// wanted, whichever is less. Looks at each stretch by itself, from its beginning.
double nearness(const Ids& ids) {
  double most = 0;
  for (size_t block = 1; block <= kLongestLoopBlock; ++block)
    for (size_t first = 0; first + block < ids.size();) {
      size_t end = first + block;
      while (end < ids.size() && ids[end] == ids[end - block])
        ++end;
      const auto tokens = static_cast<double>(end - first);
      if (end > first + block)
        most = std::max(most, std::min(tokens / kLoopTokens, tokens / static_cast<double>(kLoopBlocks * block)));
      first = end == first + block ? first + 1 : end - block + 1;
    }
  return most;
}

struct Page {
  const char* what;
  std::string text;
};

// What a page may hold and a careless rule would cut off.
std::vector<Page> honest_pages() {
  std::string numbered, calendar, contents;
  for (int i = 1; i <= 60; ++i)
    numbered += std::to_string(i) + "   $4.99\n";
  for (int i = 1; i <= 31; ++i)
    calendar += "| " + std::to_string(i) + " | closed | closed |\n";
  for (int i = 1; i <= 30; ++i)
    contents += "Chapter " + std::to_string(i) + " " + times(60, ".") + " " + std::to_string(7 * i) + "\n";
  return {{"a rule of a table with 40 columns", "|" + times(40, "---|") + "\n| a | b |\n"},
          {"a line of 120 dashes", times(120, "-") + "\nTotal\n"},
          {"a line of 120 signs =", times(120, "=")},
          {"a form's line of 100 underscores", "Name " + times(100, "_")},
          {"60 equal prices with their numbers", numbered},
          {"40 equal prices and nothing else", times(40, "$4.99\n")},
          {"a month of closed days", calendar},
          {"a table of contents with leaders", contents},
          {"14 empty rows of 8 columns", times(14, "|  |  |  |  |  |  |  |  |\n")},
          {"9 rows of 12 zeros", times(9, "| 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n")},
          {"10 labels for the same address", times(10, "ACME Inc.\n12 Long Street\nSpringfield\n\n")}};
}

// Lines, each made of its number.
std::string lines(int count, const std::function<std::string(int)>& line) {
  std::string all;
  for (int i = 1; i <= count; ++i)
    all += line(i);
  return all;
}

std::string word(int i) {  // another for each number
  std::string letters;
  for (int rest = i * 7919; rest > 0; rest /= 26)
    letters += static_cast<char>('a' + rest % 26);
  return letters;
}

// What a page may hold that counts, or looks as if it did.
std::vector<Page> honest_counts() {
  using std::to_string;
  return {
      {"200 numbered lines, each another", lines(200, [](int i) { return to_string(i) + ". the " + word(i) + " of it\n"; })},
      {"0 to 2000, one after the other", lines(2000, [](int i) { return to_string(i - 1) + ", "; })},
      {"0 to 1000, a row each", lines(1001, [](int i) { return "| " + to_string(i - 1) + " |\n"; })},
      {"0 to 2999, ten a row", lines(3000, [](int i) { return "| " + to_string(i - 1) + (i % 10 == 0 ? " |\n" : " "); })},
      {"200 prices of numbered things", lines(200,
                                              [](int i) {
                                                return "item " + to_string(i) + " $" + to_string(i * i % 89) + "." +
                                                       to_string(10 + i * 31 % 83) + "\n";
                                              })},
      {"52 weeks that are open", lines(52, [](int i) { return "| Week " + to_string(i) + " | open | open |\n"; })},
      {"60 chapters of 7 pages", lines(60, [](int i) { return "Chapter " + to_string(i) + " .... " + to_string(7 * i) + "\n"; })},
      {"minutes of eight hours",
       lines(480, [](int i) { return to_string(9 + i / 60) + ":" + to_string(i % 60) + " on air\n"; })}};
}

// What no page holds.
struct Loop {
  const char* what;
  std::function<std::string(int)> line;
};

std::vector<Loop> counted_loops() {
  using std::to_string;
  return {{"a numbered list of one item", [](int i) { return to_string(i) + ". item\n"; }},
          {"the same in one line", [](int i) { return to_string(i) + ". item "; }},
          {"rows that count", [](int i) { return "| " + to_string(i) + " | closed | closed |\n"; }},
          {"two numbers that count, one of them down by threes",
           [](int i) { return "Chapter " + to_string(i) + ", page " + to_string(5000 - 3 * i) + "\n"; }},
          {"a number that counts beside one that does not", [](int i) { return "room 12, seat " + to_string(i) + "\n"; }},
          {"past 999, where a number becomes two tokens", [](int i) { return "Nr. " + to_string(960 + i) + "\n"; }}};
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("loop_guard: any block again and again ends with the token that makes enough of it, whatever stood before") {
    for (const uint32_t block : {1u, 2u, 3u, 7u, 38u, 39u, 64u, 127u, 199u, 200u}) {
      CAPTURE(block);
      Ids period = random_ids(block, 1000000, block);
      for (const size_t before : {0u, 1u, 63u, 500u}) {
        Ids ids = random_ids(before, 1000000, 77);
        append(ids, period, 3000 / block + 1);
        CHECK(stopped_after(ids) == before + std::max<size_t>(384, size_t{10} * block));
      }
    }
  }

  TEST_CASE("loop_guard: no loop are longer blocks, blocks that differ in one token, and noise of few ids") {
    Ids ids;
    append(ids, random_ids(201, 1000000, 1), 20);
    CHECK_FALSE(stopped_after(ids).has_value());
    ids.clear();
    for (uint32_t i = 0; i < 200; ++i) {  // "1. the same 2. the same 3. the same"
      ids.push_back(1000 + i);
      append(ids, {1, 2, 3, 4, 5, 6, 7});
    }
    CHECK_FALSE(stopped_after(ids).has_value());
    ids.assign(383, 5);
    CHECK_FALSE(stopped_after(ids).has_value());
    ids.push_back(5);
    CHECK(stopped_after(ids) == 384);
    ids[200] = 6;  // neither half of it is enough
    CHECK_FALSE(stopped_after(ids).has_value());
    CHECK_FALSE(stopped_after(random_ids(20000, 2, 3)).has_value());
  }

  TEST_CASE("loop_guard: pages that repeat things honestly are left alone, in the tokens of pico and of DeepSeek-V3") {
    auto pico = Tokenizer::load(source_dir() + "/app/demo/pico/tokenizer.json");
    REQUIRE(pico.ok());
    for (const Tokenizer* tokenizer : std::initializer_list<const Tokenizer*>{&*pico, &v3_tokenizer()}) {
      for (const Page& page : honest_pages()) {
        auto ids = tokenizer->encode(page.text, ControlTokens::Ignore);
        REQUIRE(ids.ok());
        const double near = nearness(*ids);
        MESSAGE(std::string(page.what), ": ", ids->size(), " tokens, ", near, " of a loop");
        CHECK_MESSAGE(!stopped_after(*ids, tokenizer).has_value(), page.what);
        CHECK(near < 1);
        // The same without an end is one.
        auto forever = tokenizer->encode(times(2500 / ids->size() + 20, page.text), ControlTokens::Ignore);
        REQUIRE(forever.ok());
        if (ids->size() <= kLongestLoopBlock)
          CHECK_MESSAGE(stopped_after(*forever, tokenizer).has_value(), page.what);
      }
    }
  }

  TEST_CASE("loop_guard: blocks that count end with the word that makes enough of them, however many tokens a number has") {
    for (const uint32_t block : {2u, 3u, 8u, 15u, 16u, 17u, 63u, 64u}) {
      CAPTURE(block);
      // A block: the number, then words; two more numbers in those that have room, one of them always the same.
      const auto write = [&](uint32_t blocks, uint32_t number_tokens) {
        std::vector<std::string> words;
        for (uint32_t i = 0; i < blocks; ++i) {
          for (uint32_t digit = 1; digit < number_tokens; ++digit)
            words.emplace_back("0");
          words.push_back(std::to_string(i));
          for (uint32_t w = 1; w < block; ++w)
            words.push_back(w == 3 && block > 8   ? std::to_string(70000 - 12 * i)
                            : w == 5 && block > 8 ? "4"
                                                  : "w" + std::to_string(w));
        }
        return words;
      };
      const uint32_t wanted = std::max(1024u, 64u * block), blocks = wanted / block + 3;
      for (const uint32_t number_tokens : {1u, 2u}) {
        const auto stopped = stopped_after(write(blocks, number_tokens));
        REQUIRE(stopped.has_value());
        // A number is looked at with the word behind it, and its tokens count as one.
        const uint32_t extra = number_tokens == 1 ? 0 : (wanted + block - 1) / block;
        CHECK(*stopped >= wanted + extra);
        CHECK(*stopped <= wanted + extra + 1);
      }
      const auto short_of = write(wanted / block - 1, 1);
      CHECK_FALSE(stopped_after(short_of).has_value());
    }
  }

  TEST_CASE("loop_guard: a step that changes, a block without a letter and one that is too long are no counting loops") {
    const auto count = [](uint32_t blocks, uint32_t extra_words, const char* word,
                          const std::function<uint32_t(uint32_t)>& value) {
      std::vector<std::string> words;
      for (uint32_t i = 0; i < blocks; ++i) {
        words.push_back(std::to_string(value(i)));
        words.emplace_back(word);
        for (uint32_t w = 0; w < extra_words; ++w)
          words.push_back(".");
      }
      return words;
    };
    const auto one_by_one = [](uint32_t i) { return i; };
    CHECK(stopped_after(count(600, 0, " a", one_by_one)) == 1024);
    CHECK_FALSE(stopped_after(count(3000, 0, ", ", one_by_one)).has_value());
    CHECK_FALSE(stopped_after(count(3000, 1, "\n| \xe2\x80\x94", one_by_one)).has_value());  // a dash is no letter
    CHECK_FALSE(stopped_after(count(3000, 0, " a", [](uint32_t i) { return i * i; })).has_value());
    CHECK_FALSE(stopped_after(count(200, 63, " a", one_by_one)).has_value());
    CHECK(stopped_after(count(200, 62, " a", one_by_one)) == 4096);
    // A leap in the middle: neither half is enough, then the second one is. Its last symbol is a number, seen with the word behind it.
    const auto leap = [](uint32_t i) { return i < 500 ? i : i + 7; };
    CHECK_FALSE(stopped_after(count(1010, 0, " a", leap)).has_value());
    CHECK(stopped_after(count(1100, 0, " a", leap)).value_or(0) == 2 * 500 - 1 + 1024 + 1);
  }

  TEST_CASE("loop_guard: honest counting is left alone and loops that count are not, in the tokens of pico and of DeepSeek-V3") {
    auto pico = Tokenizer::load(source_dir() + "/app/demo/pico/tokenizer.json");
    REQUIRE(pico.ok());
    for (const Tokenizer* tokenizer : std::initializer_list<const Tokenizer*>{&*pico, &v3_tokenizer()}) {
      for (const Page& page : honest_counts()) {
        auto ids = tokenizer->encode(page.text, ControlTokens::Ignore);
        REQUIRE(ids.ok());
        CHECK_MESSAGE(!stopped_after(*ids, tokenizer).has_value(), page.what);
      }
      for (const Loop& loop : counted_loops()) {
        auto ids = tokenizer->encode(lines(1000, loop.line), ControlTokens::Ignore);
        REQUIRE(ids.ok());
        const auto stopped = stopped_after(*ids, tokenizer);
        REQUIRE_MESSAGE(stopped.has_value(), loop.what);
        const std::string given = tokenizer->decode({ids->begin(), ids->begin() + static_cast<ptrdiff_t>(*stopped)}, true);
        int whole = 0;
        while (given.rfind(lines(whole + 1, loop.line), 0) == 0)
          ++whole;
        MESSAGE(std::string(loop.what), ": ", whole, " lines, ", *stopped, " tokens");
        CHECK(whole + 1 >= static_cast<int>(kCountedBlocks));
      }
    }
    auto japanese =
        v3_tokenizer().encode(lines(300, [](int i) { return "第" + std::to_string(i) + "項、なし。\n"; }), ControlTokens::Ignore);
    REQUIRE(japanese.ok());
    CHECK(stopped_after(*japanese, &v3_tokenizer()).has_value());  // pico spells it, a byte a token
  }
}
