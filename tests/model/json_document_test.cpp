#include "model/json_document.h"

#include <doctest/doctest.h>

namespace vl2 {

namespace {

std::string refusal(const std::string& text) {
  const auto result = parse_json_document(text, "x.json");
  CHECK(!result.ok());
  return result.message();
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("json_document: values of every kind, in the order of the file") {
    const auto result =
        parse_json_document(R"({"b": [1, -2.5, "x\u00e9\n", true, null, {}], "a": 18446744073709551615})", "x.json");
    REQUIRE_MESSAGE(result.ok(), result.message());
    REQUIRE(result->as_object().size() == 2);
    CHECK(result->as_object()[0].key == "b");
    const JsonValue::Array& list = result->find("b")->as_array();
    CHECK(list[0].as_integer() == 1);
    CHECK(list[0].as_number() == 1.0);
    CHECK(list[1].as_number() == -2.5);
    CHECK(list[2].as_string() == "xé\n");
    CHECK(list[3].as_bool());
    CHECK(list[4].is_null());
    CHECK(std::string(list[5].kind_name()) == "object");
    CHECK(result->find("a")->is(JsonValue::Kind::Number));  // beyond int64
    CHECK(result->find("c") == nullptr);
  }

  TEST_CASE("json_document: what is not JSON is refused with the place") {
    CHECK(refusal("{\"a\": 1,\n  \"b\": x}") == "x.json: not JSON at line 2, column 8");
    CHECK(refusal("{\"a\": 1") == "x.json: not JSON: it ends too early, after 7 bytes");
    CHECK(refusal("") == "x.json: not JSON: it ends too early, after 0 bytes");
    CHECK(refusal("\"\xFF\"").find("not JSON at line 1") != std::string::npos);
    CHECK(refusal("\"\\ud800\"").find("not JSON at line 1") != std::string::npos);
    CHECK(refusal("1 2").find("not JSON at line 1") != std::string::npos);
    CHECK(refusal("1e999").find("not JSON") != std::string::npos);
  }

  TEST_CASE("json_document: deep nesting and repeated keys are refused") {
    CHECK(refusal(std::string(1'000'000, '[')) == "x.json: nested deeper than 64");
    CHECK(refusal(R"({"a": {"k": 1, "k": 2}})") == R"(x.json: the key "k" is there twice)");
    std::string many = "{";
    for (int i = 0; i < 100; ++i)
      many += "\"k" + std::to_string(i % 99) + "\": 0,";
    many.back() = '}';
    CHECK(refusal(many) == R"(x.json: the key "k0" is there twice)");
  }

  TEST_CASE("json_document: quoting goes back to the same text") {
    std::string text = "é\"\\/\b\f\n\r\t\x7F😀";
    for (char c = 0; c < 0x20; ++c)
      text.push_back(c);
    const auto back = parse_json_document(json_quote(text), "quoted");
    REQUIRE_MESSAGE(back.ok(), back.message());
    CHECK(back->as_string() == text);
    CHECK(json_quote("a\xFF") == "\"a\uFFFD\"");
  }
}

}  // namespace vl2
