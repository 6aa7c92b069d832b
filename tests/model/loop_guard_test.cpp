// What is a loop, and what on a page only looks like one.
#include "model/loop_guard.h"

#include <algorithm>
#include <doctest/doctest.h>
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

// How many tokens are taken before the guard says that the answer loops.
std::optional<size_t> stopped_after(const Ids& ids) {
  LoopGuard guard;
  for (size_t i = 0; i < ids.size(); ++i)
    if (guard.push(ids[i]))
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
        CHECK_MESSAGE(!stopped_after(*ids).has_value(), page.what);
        CHECK(near < 1);
        // The same without an end is one.
        auto forever = tokenizer->encode(times(2500 / ids->size() + 20, page.text), ControlTokens::Ignore);
        REQUIRE(forever.ok());
        if (ids->size() <= kLongestLoopBlock)
          CHECK_MESSAGE(stopped_after(*forever).has_value(), page.what);
      }
    }
  }
}
