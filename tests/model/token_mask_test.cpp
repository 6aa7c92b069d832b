// Masks against texts: what random walks through them spell, and what exists at all over small vocabularies.
#include "model/token_mask.h"

#include <algorithm>
#include <chrono>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "tests/support/paths.h"
#include "tests/support/schema_validator.h"
#include "tests/support/v3_tokenizer.h"

using namespace vl2;
using nlohmann::json;

namespace {

using Clock = std::chrono::steady_clock;

double ms_of(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

const Tokenizer& pico_tokenizer() {
  static const Tokenizer tokenizer = [] {
    auto loaded = Tokenizer::load(source_dir() + "/app/demo/pico/tokenizer.json");
    REQUIRE_MESSAGE(loaded.ok(), loaded.message());
    return loaded.take();
  }();
  return tokenizer;
}

std::shared_ptr<const TokenTree> tree_of(const Tokenizer& tokenizer) {
  auto tree = TokenTree::create(tokenizer, tokenizer.id_count());
  REQUIRE_MESSAGE(tree.ok(), tree.message());
  return tree.take();
}

std::shared_ptr<const TokenTree> pico_tree() {
  static const auto tree = tree_of(pico_tokenizer());
  return tree;
}

std::shared_ptr<const AnswerSchema> answer_schema(const std::string& text, const std::shared_ptr<const TokenTree>& tree) {
  auto made = AnswerSchema::create(text, tree);
  REQUIRE_MESSAGE(made.ok(), text << ": " << made.message());
  return made.take();
}

bool has(std::span<const uint32_t> words, TokenId id) {
  return (words[id / 32] >> (id % 32) & 1u) != 0;
}

std::vector<TokenId> ids_of(std::span<const uint32_t> words) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < words.size() * 32; ++id)
    if (has(words, id))
      ids.push_back(id);
  return ids;
}

// ---- Random schemas ----------------------------------------------------------------------------------------------------------

class RandomSchema {
 public:
  explicit RandomSchema(uint32_t seed) : random_(seed) {}
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }

  json next() {
    json schema = value(3);
    if (below(4) == 0)
      schema["$defs"] = {{"one", value(1)}, {"a/b~c", {{"type", "string"}, {"maxLength", 3}}}};
    has_defs_ = schema.contains("$defs");
    if (has_defs_ && schema.contains("properties"))
      for (auto& [name, member] : schema["properties"].items())
        if (below(2) == 0)
          member = {{"$ref", below(2) == 0 ? "#/$defs/one" : "#/$defs/a~1b~0c"}};
    return schema;
  }

 private:
  json value(uint32_t depth) {
    switch (below(depth > 0 ? 12 : 7)) {
      case 0: return {{"type", "boolean"}};
      case 1: return {{"type", "null"}};
      case 2: return integer();
      case 3: return {{"type", "number"}};
      case 4: return {{"enum", {literal(), literal(), literal()}}};
      case 5: return {{"const", literal()}};
      case 6: return string();
      case 7:
      case 8: return object(depth);
      case 9:
      case 10: return array(depth);
      default: break;
    }
    json some = json::array();
    for (uint32_t i = below(3) + 1; i > 0; --i)
      some.push_back(value(depth - 1));
    return {{below(8) == 0 && some.size() == 1 ? "allOf" : "anyOf", some}};
  }

  json literal() {
    static const std::vector<json> kSome = {
        1,    12,     123,    -5,   0,     0.5,     -1e30, "a",           "ab",           "ab\n", "\"q\"",
        "\\", "über", "日本", true, false, nullptr, "",    json::array(), json::object(), {1, 2}, {{"a", {nullptr}}}};
    return kSome[below(static_cast<uint32_t>(kSome.size()))];
  }

  json integer() {
    json schema = {{"type", "integer"}};
    const auto limit = [&] {
      return static_cast<int64_t>(random_() % (below(2) == 0 ? 30u : 3000000u)) - (below(2) == 0 ? 20 : 1500000);
    };
    const int64_t a = limit(), b = limit();
    if (below(3) > 0)
      schema[below(2) == 0 ? "minimum" : "exclusiveMinimum"] = std::min(a, b) - 1;
    if (below(3) > 0)
      schema[below(2) == 0 ? "maximum" : "exclusiveMaximum"] = std::max(a, b) + 1;
    return schema;
  }

  json string() {
    json schema = {{"type", "string"}};
    const uint32_t least = below(8);
    if (below(2) == 0)
      schema["minLength"] = least;
    if (below(2) == 0)
      schema["maxLength"] = least + below(12);
    return schema;
  }

  json array(uint32_t depth) {
    json schema = {{"type", "array"}, {"items", value(depth - 1)}};
    const uint32_t least = below(3);
    if (below(2) == 0)
      schema["minItems"] = least;
    if (below(2) == 0)
      schema["maxItems"] = least + below(4);
    return schema;
  }

  json object(uint32_t depth) {
    json schema = {{"type", "object"}};
    if (below(6) == 0) {
      schema["additionalProperties"] = value(depth - 1);
      return schema;
    }
    json properties = json::object(), required = json::array();
    static const std::vector<std::string> kNames = {"a", "ab", "abc", "b", "total amount", "größe", "q\"\\", "kind", ""};
    for (uint32_t i = below(5); i > 0; --i) {
      const std::string& name = kNames[below(static_cast<uint32_t>(kNames.size()))];
      if (properties.contains(name))
        continue;
      properties[name] = value(depth - 1);
      if (below(2) == 0)
        required.push_back(name);
    }
    schema["properties"] = properties;
    schema["required"] = required;
    if (below(2) == 0)
      schema["additionalProperties"] = false;
    return schema;
  }

  std::mt19937 random_;
  bool has_defs_ = false;
};

// ---- Languages by enumeration ------------------------------------------------------------------------------------------------

// Every JSON text of a small value: no white space or one space wherever the grammar has a place for it.
std::vector<std::string> texts_of(const json& value) {
  const std::vector<std::string> places = {"", " "};
  const auto joined = [](const std::vector<std::string>& left, const std::vector<std::string>& right) {
    std::vector<std::string> out;
    for (const std::string& a : left)
      for (const std::string& b : right)
        out.push_back(a + b);
    return out;
  };
  if (!value.is_structured())
    return {value.dump()};
  if (value.empty())
    return {value.dump()};
  std::vector<std::string> out = {value.is_array() ? "[" : "{"};
  bool first = true;
  for (const auto& [key, member] : value.items()) {
    if (!first)
      out = joined(out, {","});
    first = false;
    out = joined(out, places);
    if (value.is_object())
      out = joined(joined(out, {json(key).dump() + ":"}), places);
    out = joined(out, texts_of(member));
  }
  return joined(joined(out, places), {value.is_array() ? "]" : "}"});
}

// Compares the mask with what exists: after every beginning of a text, exactly the tokens with which it is still one.
void check_every_beginning(const std::string& schema_text, const std::vector<json>& universe,
                           const std::vector<std::string>& tokens) {
  CAPTURE(schema_text);
  const json schema = json::parse(schema_text);
  std::set<std::string> texts, beginnings;
  for (const json& value : universe)
    if (satisfies(value, schema, schema))
      for (const std::string& text : texts_of(value))
        for (const char* start : {"", " "})
          texts.insert(start + text);
  for (const std::string& text : texts)
    for (size_t length = 0; length <= text.size(); ++length)
      beginnings.insert(text.substr(0, length));
  REQUIRE(!texts.empty());

  std::vector<std::string_view> bytes(tokens.begin(), tokens.end());
  const auto end = static_cast<TokenId>(bytes.size());
  bytes.emplace_back();  // the end token
  const auto made = answer_schema(schema_text, TokenTree::of_bytes(bytes));
  size_t wrong = 0, refused = 0;
  std::set<std::string> seen;
  std::vector<std::vector<TokenId>> open = {{}};
  while (!open.empty() && wrong == 0) {
    const std::vector<TokenId> path = std::move(open.back());
    open.pop_back();
    TokenMask mask(made, end);
    std::string text;
    for (const TokenId id : path) {
      REQUIRE(mask.advance(id));
      text += tokens[id];
    }
    if (!seen.insert(text).second)
      continue;
    const std::vector<uint32_t> words(mask.allowed().begin(), mask.allowed().end());
    CHECK(mask.complete() == texts.contains(text));
    wrong += has(words, end) == texts.contains(text) ? 0 : 1;
    for (TokenId id = 0; id < end; ++id) {
      const bool exists = beginnings.contains(text + tokens[id]);
      if (has(words, id) != exists) {
        ++wrong;
        CHECK_MESSAGE(has(words, id) == exists, "after \"" << text << "\": token \"" << tokens[id] << '"');
      }
      if (!exists) {
        ++refused;
        wrong += mask.advance(id) ? 1 : 0;  // which changes nothing where it is refused
        continue;
      }
      open.push_back(path);
      open.back().push_back(id);
    }
  }
  CHECK(wrong == 0);
  CHECK(refused > 0);
  CHECK(seen.size() > 1);
}

const std::vector<std::string> kSmallVocabulary = {"{",  "}",    "[",   "]",    "\"",     ":",  ",",  " ",  "-",    "0",    "1",
                                                   "2",  "9",    "a",   "b",    "e",      "t",  "r",  "u",  "n",    "l",    "f",
                                                   "s",  "{\"",  "\":", "\"}",  "],",     "[[", "1,", "12", "true", "ab\"", "\",",
                                                   "}]", "\": ", ", ",  "null", "\"a\":", "-1", "[]", " [", "99",   "\"b"};

// All values over the letters of the vocabulary that the schemas below can mean.
std::vector<json> small_universe() {
  std::vector<json> scalars = {nullptr, true, false};
  for (int number = -130; number <= 130; ++number)
    if (std::to_string(number).find_first_of("345678") == std::string::npos)
      scalars.push_back(number);
  std::string letters;
  for (const std::string& token : kSmallVocabulary)
    for (const char letter : token)
      if (letter != '"' && letters.find(letter) == std::string::npos)
        letters += letter;
  scalars.push_back("");
  for (const char a : letters) {
    scalars.push_back(std::string{a});
    for (const char b : letters)
      scalars.push_back(std::string{a, b});
  }
  std::vector<json> all = scalars;
  all.push_back(json::array());
  all.push_back(json::object());
  const std::vector<json> few = {nullptr,          true,          false, 0, 1, 2, 12, 9, "", "a", "b", json::array(), {1}, {1, 1},
                                 {{"a", nullptr}}, json::object()};
  for (const json& a : few) {
    all.push_back(json::array({a}));
    for (const char* key : {"a", "b"})
      all.push_back({{key, a}});
    for (const json& b : few) {
      all.push_back(json::array({a, b}));
      all.push_back({{"a", a}, {"b", b}});
      for (const json& c : few)
        all.push_back(json::array({a, b, c}));
    }
  }
  return all;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("token_mask: allowed is, after every beginning, exactly what a text exists for") {
    const std::vector<json> universe = small_universe();
    for (
        const char* schema :
        {R"({"type":"boolean"})",
         R"({"enum":[null,true,1,12,"a","ab"]})",
         R"({"type":"integer","minimum":-1,"maximum":2})",
         R"({"type":"integer","minimum":9,"maximum":121})",
         R"({"type":"integer","minimum":-120,"maximum":-9})",
         R"({"type":"integer","exclusiveMinimum":0.5,"exclusiveMaximum":21})",
         R"({"type":"string","maxLength":2})",
         R"({"type":"string","minLength":1,"maxLength":1})",
         R"({"type":"string","minLength":2,"maxLength":2})",
         R"({"type":["null","boolean","string"],"maxLength":1})",
         R"({"type":"array","items":{"enum":[1,2,12]},"maxItems":2})",
         R"({"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":3})",
         R"({"type":"array","items":{"enum":["a"]},"minItems":1,"maxItems":3})",
         R"({"type":"array","items":false})",
         R"({"type":"array","maxItems":0})",
         R"({"type":"object","properties":{"a":{"type":"null"},"b":{"type":"boolean"}},"additionalProperties":false})",
         R"({"type":"object","properties":{"a":{"enum":[1,12]},"b":{"const":"a"}},"required":["a"],"additionalProperties":false})",
         R"({"type":"object","properties":{"a":{"enum":[1,12]},"b":{"const":"b"}},"required":["b"],"additionalProperties":false})",
         R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2}},"required":["a","b"],"additionalProperties":false})",
         R"({"type":"object","properties":{"a":false,"b":{"const":2}},"additionalProperties":false})",
         R"({"type":"object","additionalProperties":false})",
         R"({"anyOf":[{"type":"array","items":{"const":1},"minItems":2,"maxItems":2},{"type":"array","items":{"const":12},"maxItems":1}]})",
         R"({"anyOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false},{"type":"object","properties":{"a":{"const":12}},"required":["a"],"additionalProperties":false},{"const":[]}]})",
         R"({"oneOf":[{"const":"a"},{"const":"ab"},{"const":[]},{"const":{}}]})"})
      check_every_beginning(schema, universe, kSmallVocabulary);
  }

  TEST_CASE("token_mask: random walks through random schemas end in what satisfies them, and can always end") {
    const TokenId end = pico_tokenizer().id_count() - 1;
    const auto whole = pico_tree();
    RandomSchema random(1);
    uint32_t ended = 0, schemas = 0, structured = 0;
    for (int round = 0; round < 400; ++round) {
      const json schema = random.next();
      auto made = AnswerSchema::create(schema.dump(), whole);
      if (!made.ok()) {
        CHECK_MESSAGE(made.message() == "schema: no value satisfies it", schema.dump());
        continue;
      }
      ++schemas;
      for (int walk = 0; walk < 3; ++walk) {
        TokenMask mask(*made, end);
        std::string text;
        // Random for a while; then the token that comes soonest to an end: brackets, quotes and digits close what is open.
        for (int step = 0; step < 3000; ++step) {
          const auto words = mask.allowed();
          std::vector<TokenId> ids = ids_of(words);
          REQUIRE_MESSAGE(!ids.empty(), schema.dump() << " after " << text);
          if (has(words, end) && (step > 60 || ids.size() == 1 || random.below(3) == 0)) {
            CHECK(mask.complete());
            break;
          }
          std::erase(ids, end);
          std::vector<TokenId> closing;
          for (const TokenId id : ids)
            if (const auto bytes = whole->bytes(id);
                step > 60 && bytes.size() == 1 && std::string_view("]}\"").find(bytes[0]) != std::string_view::npos)
              closing.push_back(id);
          const auto& from = closing.empty() ? ids : closing;
          const TokenId id = from[random.below(static_cast<uint32_t>(from.size()))];
          CHECK(!pico_tokenizer().is_special(id));
          REQUIRE(mask.advance(id));
          text += whole->bytes(id);
        }
        CAPTURE(schema.dump());
        CAPTURE(text);
        if (!mask.complete())
          continue;  // an open end, as a string of any length
        ++ended;
        const json value = json::parse(text, nullptr, false);
        REQUIRE(!value.is_discarded());
        CHECK(satisfies(value, schema, schema));
        structured += value.is_structured() && !value.empty() ? 1 : 0;
      }
    }
    MESSAGE(schemas, " schemas, ", ended, " walks ended, ", structured, " in arrays or objects that are not empty");
    CHECK(schemas > 300);
    CHECK(ended > 2 * schemas);
    CHECK(structured > 200);
  }

  TEST_CASE("token_mask: a token is allowed just where its bytes are, one after the other") {
    const auto tree = pico_tree();
    const TokenId end = pico_tokenizer().id_count() - 1;
    RandomSchema random(7);
    uint32_t taken = 0, refused = 0;
    for (int round = 0; round < 150; ++round) {
      auto made = AnswerSchema::create(random.next().dump(), tree);
      if (!made.ok())
        continue;
      TokenMask mask(*made, end);
      GrammarStates states((*made)->grammar);
      GrammarStates::State state = states.start();
      const auto after = [&](std::string_view bytes) {
        GrammarStates::State at = state;
        for (size_t i = 0; i < bytes.size() && at != GrammarStates::kDead; ++i)
          at = states.step(at, static_cast<uint8_t>(bytes[i]));
        return at;
      };
      for (int step = 0; step < 40; ++step) {
        std::vector<TokenId> ids = ids_of(mask.allowed());
        size_t wrong = 0;
        for (TokenId id = 0; id < end; ++id) {
          const bool fits = !tree->bytes(id).empty() && after(tree->bytes(id)) != GrammarStates::kDead;
          ++(fits ? taken : refused);
          wrong += fits != has(mask.allowed(), id) ? 1 : 0;
        }
        CHECK(wrong == 0);
        std::erase(ids, end);
        if (ids.empty())
          break;
        const TokenId id = ids[random.below(static_cast<uint32_t>(ids.size()))];
        REQUIRE(mask.advance(id));
        state = after(tree->bytes(id));
      }
    }
    CHECK(taken > 100000);
    CHECK(refused > 100000);
  }

  TEST_CASE("token_mask: special tokens and those written like them never come, whatever is open") {
    const Tokenizer& tokenizer = v3_tokenizer();
    const auto tree = tree_of(tokenizer);
    TokenMask mask(answer_schema(R"({"type":"array","items":{"type":"string"}})", tree), 1);
    const auto spell = [&](std::string_view text) {
      const auto ids = tokenizer.encode(text, ControlTokens::Ignore);
      REQUIRE(ids.ok());
      for (const TokenId id : *ids)
        REQUIRE(mask.advance(id));
    };
    uint32_t control = 0;
    for (const char* text : {"", "[", "\"", "some <", "|ref|", "\"", "]"}) {
      spell(text);
      const auto words = mask.allowed();
      for (const AddedToken& token : tokenizer.added_tokens())
        if (token.is_control() && token.id != 1) {
          ++control;
          CHECK(!has(words, token.id));
        }
    }
    CHECK(control > 100);
    CHECK(has(mask.allowed(), 1));
    CHECK(ids_of(mask.allowed()).size() == 1);
    CHECK(mask.finished());
  }

  TEST_CASE("token_mask: a tokenizer that cannot spell JSON is refused") {
    CHECK(TokenTree::create(pico_tokenizer(), 40).message().find("schema: the tokenizer has no token for byte") == 0);
  }

  TEST_CASE("token_mask: white space, digits and nesting of free values are bounded") {
    const auto tree = pico_tree();
    const TokenId end = pico_tokenizer().id_count() - 1;
    const auto takes = [&](const char* schema, const std::string& text) {
      TokenMask mask(answer_schema(schema, tree), end);
      for (const char byte : text) {
        const TokenId id = [&] {
          for (TokenId one = 0; one < end; ++one)
            if (tree->bytes(one) == std::string_view(&byte, 1))
              return one;
          return end;
        }();
        REQUIRE(id != end);
        if (!mask.advance(id))
          return false;
      }
      return true;
    };
    CHECK(takes("true", " [1, 2]"));
    CHECK_FALSE(takes("true", "  "));
    CHECK_FALSE(takes("true", "[1] "));
    CHECK_FALSE(takes("true", "[1 ,"));
    CHECK_FALSE(takes("true", "[  1"));
    CHECK(takes("true", "[\n" + std::string(24, ' ') + "1\n]"));
    CHECK_FALSE(takes("true", "[\n" + std::string(25, ' ')));
    CHECK_FALSE(takes("true", "[\n\n"));
    CHECK(takes("true", std::string(8, '[') + "1"));
    CHECK_FALSE(takes("true", std::string(9, '[')));
    CHECK(takes(R"({"type":"number"})", "-" + std::string(15, '9') + "." + std::string(15, '0') + "e-99"));
    CHECK_FALSE(takes(R"({"type":"number"})", std::string(16, '9')));
    CHECK_FALSE(takes(R"({"type":"number"})", "0." + std::string(16, '1')));
    CHECK_FALSE(takes(R"({"type":"number"})", "1e100"));
    CHECK_FALSE(takes(R"({"type":"number"})", "01"));
    CHECK(takes(R"({"type":"integer"})", "-" + std::string(18, '9')));
    CHECK_FALSE(takes(R"({"type":"integer"})", std::string(19, '9')));
    CHECK_FALSE(takes(R"({"type":"integer"})", "-0"));
    CHECK_FALSE(takes(R"({"type":"string"})", "\"\\ud800"));
    CHECK(takes(R"({"type":"string"})", "\"\\uD7ff\\n\""));
    CHECK_FALSE(takes(R"({"type":"string"})", "\"\n"));
  }

  TEST_CASE("token_mask: a recursive schema goes as deep as the answer, in bounded memory") {
    const auto tree = pico_tree();
    const TokenId end = pico_tokenizer().id_count() - 1;
    const std::string text = R"({"type":"object","properties":{"a":{"$ref":"#"}},"additionalProperties":false})";
    TokenMask mask(answer_schema(text, tree), end);
    const auto put = [&](std::string_view bytes) {
      for (const char byte : bytes)
        for (TokenId id = 0; id < end; ++id)
          if (tree->bytes(id) == std::string_view(&byte, 1)) {
            REQUIRE(mask.advance(id));
            break;
          }
    };
    for (int depth = 0; depth < 3000; ++depth) {
      put(R"({"a":)");
      if (depth % 10 == 0)
        CHECK(!has(mask.allowed(), end));
    }
    put("{}");
    for (int depth = 0; depth < 3000; ++depth) {
      CHECK(!mask.complete());
      put("}");
      if (depth % 10 == 0 && depth < 2990)
        CHECK(!ids_of(mask.allowed()).empty());
    }
    CHECK(mask.finished());
  }

  TEST_CASE("token_mask: with the full vocabulary a mask takes a fraction of a millisecond a token") {
    const Tokenizer& tokenizer = v3_tokenizer();
    auto start = Clock::now();
    const auto tree = tree_of(tokenizer);
    MESSAGE("tree of ", tokenizer.id_count(), " tokens, ", tree->nodes().size(), " nodes: ", ms_of(start), " ms");
    struct Case {
      const char* name;
      std::string schema, text;
    };
    std::string kv = "[", table = R"({"columns": ["item", "price"], "rows": [)", counted = "[";
    for (int i = 0; i < 12; ++i) {
      const std::string number = std::to_string(i);
      kv += (i > 0 ? ", " : "") + std::string(R"({"key": "Line number )") + number + R"(", "value": "Some text worth )" + number +
            R"(.50 EUR"})";
      table += (i > 0 ? ", " : "") + std::string(R"(["A thing of kind )") + number + R"(", "12.)" + number + "\"]";
      counted += (i > 0 ? ",\n    " : "") + std::string(R"("A text, whose length is bounded, of number )") + number + "\"";
    }
    const Case cases[] = {
        {"kv", builtin_json_schema("kv"), kv + "]"},
        {"table", builtin_json_schema("table"), table + "]}"},
        {"object", builtin_json_schema("object"), R"({"a": )" + kv + R"(], "b": {"c": [1, 2.5e3, null, true, "x"]}})"},
        {"counted", R"({"type":"array","maxItems":50,"items":{"type":"string","minLength":3,"maxLength":60}})", counted + "]"}};
    for (const Case& one : cases) {
      const auto ids = tokenizer.encode(one.text, ControlTokens::Ignore);
      REQUIRE(ids.ok());
      TokenMask mask(answer_schema(one.schema, tree), 1);
      double all = 0, most = 0;
      for (const TokenId id : *ids) {
        start = Clock::now();
        const bool is_allowed = has(mask.allowed(), id);
        const double ms = ms_of(start);
        all += ms;
        most = std::max(most, ms);
        REQUIRE(is_allowed);
        REQUIRE(mask.advance(id));
      }
      CHECK(mask.complete());
      const double mean = all / static_cast<double>(ids->size());
      MESSAGE(std::string(one.name), ": ", ids->size(), " tokens, ", mean, " ms each, ", most, " ms at most");
#ifdef NDEBUG
      CHECK(mean < 2);  // seen: 0.01 to 0.5, on a busy machine; a walk of the whole vocabulary for each token takes 2.5 to 12
#endif
    }
  }
}
