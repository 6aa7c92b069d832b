// Schemas read, and refused by name. What they generate: token_mask_test.cpp.
#include "model/json_schema.h"

#include <chrono>
#include <doctest/doctest.h>

#include "model/json_grammar.h"

using namespace vl2;

namespace {

std::string refusal(const std::string& text, Code code) {
  const auto schema = parse_json_schema(text);
  REQUIRE_MESSAGE(!schema.ok(), text);
  CHECK_MESSAGE(schema.code() == code, schema.message());
  CHECK(schema.message().find('\n') == std::string::npos);
  return schema.message();
}

std::string repeated(size_t count, const std::string& text) {
  std::string out;
  for (size_t i = 0; i < count; ++i)
    out += text;
  return out;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("json_schema: what would narrow the values and is not built is refused by name and place") {
    for (const char* keyword : {"pattern", "format", "multipleOf", "uniqueItems", "prefixItems", "contains", "patternProperties",
                                "minProperties", "maxProperties", "not", "if", "dependentRequired", "propertyNames", "nullable",
                                "unevaluatedProperties", "contentEncoding", "$dynamicRef", "typo"}) {
      const std::string text = std::string(R"({"type":"object","properties":{"a":{"type":"string",")") + keyword + R"(":1}}})";
      CHECK(refusal(text, Code::Unsupported) ==
            std::string("schema: /properties/a: the keyword \"") + keyword + "\" is not supported");
    }
    CHECK(refusal(R"({"type":"number","minimum":0})", Code::Unsupported) == "schema: \"minimum\" is supported for integers only");
    CHECK(refusal(R"({"type":"string","minimum":0})", Code::Unsupported) == "schema: \"minimum\" says nothing about type string");
    CHECK(refusal(R"({"anyOf":[{"type":"null"}],"type":"string"})", Code::Unsupported) ==
          "schema: \"type\" beside \"anyOf\" is not supported");
    CHECK(refusal(R"({"enum":[1],"minimum":0})", Code::Unsupported) == "schema: \"minimum\" beside \"enum\" is not supported");
    CHECK(refusal(R"({"allOf":[true,true]})", Code::Unsupported).find("allOf") != std::string::npos);
    CHECK(refusal(R"({"properties":{"a":true},"additionalProperties":{"type":"string"}})", Code::Unsupported)
              .find("additionalProperties: ") != std::string::npos);
    CHECK(refusal(R"({"properties":{"a":true},"required":["b"]})", Code::Unsupported) ==
          "schema: required: \"b\" is not among the properties");
    CHECK(refusal(R"({"$ref":"http://example.org/schema"})", Code::Unsupported).find("$ref: got \"http") != std::string::npos);
    CHECK(refusal(R"({"$ref":"#/properties/a"})", Code::Unsupported).find("$ref: got") != std::string::npos);
  }

  TEST_CASE("json_schema: what is no schema is refused with one line") {
    CHECK(refusal("", Code::BadArgument).find("not JSON") != std::string::npos);
    CHECK(refusal("{", Code::BadArgument).find("not JSON") != std::string::npos);
    CHECK(refusal("[]", Code::BadArgument) == "schema: got array, wanted a schema: an object, or true");
    CHECK(refusal("3", Code::BadArgument) == "schema: got integer, wanted a schema: an object, or true");
    CHECK(refusal(R"({"type":"text"})", Code::BadArgument).find("type: got \"text\"") != std::string::npos);
    CHECK(refusal(R"({"type":[]})", Code::BadArgument).find("type: got array") != std::string::npos);
    CHECK(refusal(R"({"type":"object","type":"array"})", Code::BadArgument).find("type") != std::string::npos);  // a key twice
    CHECK(refusal(R"({"type":"array","minItems":-1})", Code::BadArgument).find("minItems: wanted") != std::string::npos);
    CHECK(refusal(R"({"type":"array","maxItems":1.5})", Code::BadArgument).find("maxItems: wanted") != std::string::npos);
    CHECK(refusal(R"({"type":"string","maxLength":1e9})", Code::BadArgument).find("maxLength: wanted") != std::string::npos);
    CHECK(refusal(R"({"type":"string","maxLength":"9"})", Code::BadArgument).find("maxLength: wanted") != std::string::npos);
    CHECK(refusal(R"({"type":"integer","minimum":"9"})", Code::BadArgument).find("minimum: got string") != std::string::npos);
    CHECK(refusal(R"({"properties":[]})", Code::BadArgument).find("properties: got array") != std::string::npos);
    CHECK(refusal(R"({"properties":{"a":5}})", Code::BadArgument).find("/properties/a: got integer") != std::string::npos);
    CHECK(refusal(R"({"properties":{},"required":{}})", Code::BadArgument).find("required: got object") != std::string::npos);
    CHECK(refusal(R"({"anyOf":[]})", Code::BadArgument).find("anyOf: wanted") != std::string::npos);
    CHECK(refusal(R"({"enum":5})", Code::BadArgument).find("enum: got integer") != std::string::npos);
    CHECK(refusal(R"({"$ref":5})", Code::BadArgument).find("$ref: got integer") != std::string::npos);
    CHECK(refusal(R"({"$ref":"#/$defs/a"})", Code::BadArgument) == "schema: $ref: there is no \"#/$defs/a\"");
  }

  TEST_CASE("json_schema: no value satisfies it") {
    for (const char* text :
         {"false", R"({"enum":[]})", R"({"type":"string","enum":[1,2]})", R"({"type":"array","minItems":3,"maxItems":2})",
          R"({"type":"string","minLength":3,"maxLength":2})", R"({"type":"integer","minimum":3,"maximum":2})",
          R"({"type":"integer","exclusiveMinimum":2,"exclusiveMaximum":3})", R"({"type":"integer","minimum":1e300})",
          R"({"properties":{"a":false},"required":["a"]})", R"({"type":"array","items":false,"minItems":1})", R"({"$ref":"#"})",
          R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", R"({"anyOf":[{"$ref":"#"},false]})",
          R"({"type":"array","items":{"$ref":"#"},"minItems":1})"})
      CHECK_MESSAGE(refusal(text, Code::BadArgument) == "schema: no value satisfies it", text);
    for (const char* text : {R"({"properties":{"a":false}})", R"({"type":"array","items":false})", R"({"anyOf":[false,true]})",
                             R"({"type":"object","properties":{"a":{"$ref":"#"}}})", R"({"type":"array","items":{"$ref":"#"}})",
                             R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})"})
      CHECK_MESSAGE(parse_json_schema(text).ok(), text);
  }

  TEST_CASE("json_schema: oneOf is taken where a value can be of one alternative alone") {
    const auto with = [](const std::string& some) { return R"({"oneOf":[)" + some + "]}"; };
    for (
        const char* some :
        {R"({"type":"string"},{"type":"null"})", R"({"const":"a"},{"enum":["b","c"]})",
         R"({"type":"integer","maximum":3},{"type":"integer","minimum":4})",
         R"({"properties":{"kind":{"const":"a"},"x":{"type":"string"}},"required":["kind"]},{"properties":{"kind":{"const":"b"}},"required":["kind"]})",
         R"({"properties":{"a":true},"required":["a"]},{"properties":{"b":true},"required":["b"]})"})
      CHECK_MESSAGE(parse_json_schema(with(some)).ok(), some);
    for (const char* some :
         {R"({"type":"integer"},{"type":"number"})", R"({"const":"a"},{"type":"string"})", R"(true,{"type":"null"})",
          R"({"enum":[1,2]},{"enum":[2,3]})", R"({"type":"array"},{"type":"array"})",
          R"({"properties":{"a":true},"required":["a"]},{"properties":{"a":true,"b":true}})",
          R"({"properties":{"kind":{"const":"a"}}},{"properties":{"kind":{"const":"b"}}})"})
      CHECK_MESSAGE(refusal(with(some), Code::Unsupported).find("oneOf: a value may be of both") != std::string::npos, some);
  }

  TEST_CASE("json_schema: built-in schemas are there by name, and none else") {
    for (const char* name : {"boxes", "table", "kv", "object"}) {
      REQUIRE(builtin_json_schema(name) != nullptr);
      const auto schema = parse_json_schema(builtin_json_schema(name));
      REQUIRE_MESSAGE(schema.ok(), schema.message());
      CHECK(make_json_grammar(*schema).ok());
      CHECK(std::string(builtin_json_schema_names()).find(name) != std::string::npos);
    }
    CHECK(builtin_json_schema("box") == nullptr);
  }

  TEST_CASE("json_schema: hostile sizes end soon, with one line or well") {
    const std::string quarter = std::string(60, ' ');
    std::string chain = R"({"$ref":"#/$defs/0","$defs":{)", wide = R"({"type":"object","properties":{)", choice = R"({"anyOf":[)";
    for (int i = 0; i < 4000; ++i)
      chain += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":{"$ref":"#/$defs/)" + std::to_string(i + 1) + "\"}";
    chain += R"(,"4000":{"type":"null"}}})";
    for (int i = 0; i < 200; ++i)
      wide += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":{"$ref":"#"})";
    wide += "}}";
    for (int i = 0; i < 200; ++i)
      choice += (i > 0 ? "," : "") + std::string(R"({"anyOf":[)") + repeated(20, R"({"type":"array","items":{"$ref":"#"}},)") +
                "true]}";
    choice += "]}";
    const std::string texts[] = {
        std::string(1 << 20, ' '),
        std::string(1 << 20, '['),
        R"({"title":")" + std::string(1 << 20, 'x') + "\"}",
        repeated(100, R"({"items":)") + "true" + repeated(100, "}"),
        repeated(60, R"({"items":)") + "true" + repeated(60, "}"),
        R"({"enum":[")" + std::string(250000, 'x') + "\"]}",
        R"({"anyOf":[)" + repeated(5000, "true,") + "true]}",
        chain,
        wide,
        choice,
        R"({"type":"array","minItems":1048576,"maxItems":1048576,"items":{"type":"string","maxLength":1048576}})"};
    for (const std::string& text : texts) {
      CAPTURE(text.substr(0, 60));
      const auto start = std::chrono::steady_clock::now();
      const auto schema = parse_json_schema(text);
      if (schema.ok())
        CHECK(make_json_grammar(*schema).ok());
      else
        CHECK(schema.message().size() < 500);
      // Seen: 0.1 s all together; a loop over everything for everything takes minutes.
      CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 5);
    }
  }
}
