// What a client sees of an answer, and what it may send: text, base64, sizes of pictures, members of a request.
#include "app/server/answer_text.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <random>

#include "app/server/base64.h"
#include "app/server/chat_request.h"
#include "app/server/picture_size.h"
#include "model/grounding.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/reply_number_cases.h"

using namespace vl2;
using namespace vl2::server;

namespace {

std::string shown(const std::vector<std::string>& pieces, std::vector<std::string> stop = {}, bool tagged = false) {
  AnswerText text(std::move(stop), tagged);
  std::string out;
  for (const std::string& piece : pieces)
    out += text.push(piece);
  return out + text.finish();
}

// A picture in a request, as its URL.
std::string picture_url() {
  static const std::string url = [] {
    const std::string file = read_file(source_dir() + "/app/demo/pictures/scene.png");
    static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t i = 0; i < file.size(); i += 3) {
      uint32_t bits = 0;
      for (size_t k = 0; k < 3; ++k)
        bits = bits << 8 | (i + k < file.size() ? static_cast<uint8_t>(file[i + k]) : 0);
      for (size_t k = 0; k < 4; ++k)
        text += i + k <= file.size() ? kLetters[bits >> (18 - 6 * k) & 63] : '=';
    }
    return "data:image/png;base64," + text;
  }();
  return url;
}

std::optional<ApiError> read(const std::string& body, ChatRequest& request) {
  nlohmann::json value;
  if (auto error = parse_json(body, value))
    return error;
  return read_chat_request(value, body, {}, request);
}

std::string with(const std::string& members) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + (members.empty() ? "" : "," + members) + "}";
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("answer_text: whatever comes, and however it is cut, is shown as the plain text of the whole answer") {
    const std::vector<std::string> parts = {
        "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "[[1, 2, 3, 4]]", "\n", "a cat", "<", "<|",
        "|>",      "<|ref",    "ü",       " "};
    std::mt19937 random(1);
    size_t with_tags = 0;
    for (int i = 0; i < 3000; ++i) {
      std::string whole;
      for (size_t n = random() % 12; n > 0; --n)
        whole += parts[random() % parts.size()];
      std::vector<std::string> pieces;
      for (size_t at = 0, length; at < whole.size(); at += length)
        pieces.push_back(whole.substr(at, length = 1 + random() % 9));
      const std::string expected = parse_grounding(whole, 100, 100).text;
      with_tags += expected != whole;
      CAPTURE(whole);
      CHECK(shown(pieces) == expected);
      CHECK(shown(pieces, {}, true) == whole);
    }
    CHECK(with_tags > 1000);
  }

  TEST_CASE("answer_text: ends before the first stop text, wherever it is cut, and holds back no more than it must") {
    for (size_t cut = 0; cut <= 11; ++cut) {
      const std::string whole = "one STOP two";
      CHECK(shown({whole.substr(0, cut), whole.substr(cut)}, {"two", "STOP"}) == "one ");
      CHECK(shown({whole.substr(0, cut), whole.substr(cut)}, {"STOPS", "twos"}) == whole);
    }
    AnswerText text({"END"}, false);
    CHECK(text.push("abc E") == "abc ");
    CHECK(text.push("x") == "Ex");
    CHECK(text.push("EN") == "");
    CHECK_FALSE(text.stopped());
    CHECK(text.push("D more") == "");
    CHECK(text.stopped());
    CHECK(text.finish() == "");
  }

  TEST_CASE("base64: the vectors of RFC 4648, and nothing else") {
    for (const auto& [text, bytes] : std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                                                      {"Zg==", "f"},
                                                                                      {"Zm8=", "fo"},
                                                                                      {"Zm9v", "foo"},
                                                                                      {"Zm9vYg==", "foob"},
                                                                                      {"Zm9vYmE=", "fooba"},
                                                                                      {"Zm9vYmFy", "foobar"},
                                                                                      {"Zm9vYg", "foob"}})
      CHECK(decode_base64(text) == bytes);
    for (const char* bad : {"Z", "Zg=", "Zh==", "Zm9=", "Zm9v=", "Z m8", "Zm9v\n", "Zm-_", "===="})
      CHECK_FALSE(decode_base64(bad).has_value());
  }

  TEST_CASE("picture_size: what the headers of real files say") {
    const std::string png = read_file(source_dir() + "/app/demo/pictures/receipt.png");
    const auto found = picture_size(png);
    REQUIRE(found.has_value());
    CHECK(found->width == static_cast<uint32_t>(static_cast<uint8_t>(png[18]) * 256 + static_cast<uint8_t>(png[19])));
    CHECK(found->width > 100);
    for (size_t length = 0; length < 24; ++length)
      CHECK_FALSE(picture_size(png.substr(0, length)).has_value());
    using std::string_literals::operator""s;
    const std::string jpeg = "\xff\xd8\xff\xe0\x00\x04zz\xff\xff\xc4\x00\x02\xff\xc2\x00\x11\x08\x01\x02\x03\x04\x03"s;
    REQUIRE(picture_size(jpeg).has_value());
    CHECK(picture_size(jpeg)->width == 0x304);
    CHECK(picture_size(jpeg)->height == 0x102);
    const std::string vp8x = "RIFF____WEBPVP8X____\x10\0\0\0\xff\x02\0\x0f\x01\0"s;
    REQUIRE(picture_size(vp8x).has_value());
    CHECK(picture_size(vp8x)->width == 0x300);
    CHECK(picture_size(vp8x)->height == 0x110);
    CHECK_FALSE(picture_size("GIF89a\x10\0\x10\0"s).has_value());
  }

  TEST_CASE("chat_request: text, roles, options") {
    ChatRequest request;
    REQUIRE_FALSE(read(R"({"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},
      {"role":"assistant","content":"b"},{"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}],
      "max_completion_tokens":7,"temperature":0.5,"top_p":0.25,"top_k":3,"seed":-1,"stop":["x","y"],"logprobs":true,"top_logprobs":2,
      "stream":true,"stream_options":{"include_usage":true},"user":"me","metadata":{"a":"b"},"tools":[],"n":1,"presence_penalty":0,
      "response_format":{"type":"text"},"logit_bias":null,"vl2":{"tags":true}})",
                       request)
                      .has_value());
    CHECK(request.messages.size() == 4);
    CHECK(request.messages[0].role == ChatRole::System);
    CHECK(request.messages[3].text == "cd");
    CHECK(request.options.reply.max_tokens == 7);
    CHECK(request.options.reply.temperature == 0.5f);
    CHECK(request.options.reply.top_p == 0.25f);
    CHECK(request.options.reply.top_k == 3);
    CHECK(request.options.reply.seed == UINT64_MAX);
    CHECK(request.options.fresh);
    CHECK(request.options.top_logprobs == 2);
    CHECK(request.stop == std::vector<std::string>{"x", "y"});
    CHECK(request.stream);
    CHECK(request.include_usage);
    CHECK(request.tagged);
  }

  TEST_CASE("chat_request: what would change the answer and is not built is refused by name") {
    for (const auto& [param, member] :
         std::vector<std::pair<std::string, std::string>>{{"n", R"("n":2)"},
                                                          {"tools", R"("tools":[{"type":"function"}])"},
                                                          {"tool_choice", R"("tool_choice":"required")"},
                                                          {"logit_bias", R"("logit_bias":{"1":2})"},
                                                          {"presence_penalty", R"("presence_penalty":0.5)"},
                                                          {"frequency_penalty", R"("frequency_penalty":-1)"},
                                                          {"modalities", R"("modalities":["text","audio"])"},
                                                          {"reasoning_effort", R"("reasoning_effort":"high")"},
                                                          {"web_search_options", R"("web_search_options":{})"},
                                                          {"max_token", R"("max_token":5)"}}) {
      ChatRequest request;
      const auto error = read(with(member), request);
      CAPTURE(member);
      REQUIRE(error.has_value());
      CHECK(error->status == 400);
      CHECK(error->param == param);
      CHECK(error->code == "unsupported_parameter");
      CHECK(error->message.find(param) == 0);
    }
  }

  TEST_CASE("chat_request: response_format becomes a schema with its properties in their order") {
    const auto schema_of = [&](const std::string& format) {
      ChatRequest request;
      const auto error = read(with("\"response_format\":" + format), request);
      CHECK_MESSAGE(!error.has_value(), format);
      CHECK(request.tagged == !request.options.schema.empty());
      return request.options.schema;
    };
    CHECK(schema_of("null").empty());
    CHECK(schema_of(R"({"type":"text"})").empty());
    CHECK(schema_of(R"({"type":"json_object"})") == R"({"type":"object"})");
    CHECK(schema_of(R"({"type":"json_schema","json_schema":{"strict":true,"name":"n","schema":
        {"properties": {"z": {"type": "string"}, "a": {"const": "ü"}, "response_format": true}, "required": ["z"]}}})") ==
          R"({"properties":{"z":{"type":"string"},"a":{"const":"ü"},"response_format":true},"required":["z"]})");

    for (const auto& [format, part] : std::vector<std::pair<std::string, std::string>>{
             {"5", "response_format.type: wanted"},
             {R"({"type":"yaml"})", "response_format.type: wanted"},
             {R"({"type":"json_schema"})", "response_format.json_schema: wanted an object"},
             {R"({"type":"json_schema","json_schema":{"schema":{}}})", "response_format.json_schema.name: wanted"},
             {R"({"type":"json_schema","json_schema":{"name":"n"}})", "response_format.json_schema.schema: wanted an object"},
             {R"({"type":"json_schema","json_schema":{"name":"n","schema":true}})", "json_schema.schema: wanted an object"},
             {R"({"type":"json_schema","json_schema":{"name":"n","schemas":{}}})", "does not know its member schemas"}}) {
      ChatRequest request;
      const auto error = read(with("\"response_format\":" + format), request);
      REQUIRE_MESSAGE(error.has_value(), format);
      CHECK(error->status == 400);
      CHECK(error->param == "response_format");
      CHECK_MESSAGE(error->message.find(part) != std::string::npos, error->message);
    }
  }

  TEST_CASE("chat_request: values out of range are refused by name, those at the ends are not") {
    for (const ReplyNumberCase& one : reply_number_cases()) {
      ChatRequest request;
      const auto error = read(with("\"" + std::string(one.field) + "\":" + one.value), request);
      CAPTURE(one.field);
      CAPTURE(one.value);
      CHECK((error ? error->message : "") == (one.wanted == nullptr ? "" : refusal_of(one, one.field)));
      CHECK((error ? error->param : "") == (one.wanted == nullptr ? "" : one.field));
    }
    // Zero is "off" in the struct; who says it here wants the likeliest token alone, as every other engine understands it.
    for (const bool in_request : {true, false}) {
      ChatRequest request;
      vl2_reply_options& reply = request.options.reply;
      if (in_request)
        CHECK(!read(with(R"("top_p":0)"), request).has_value());
      else
        CHECK(set_reply_number(reply, "top_p", number_of_text("0")).empty());
      CHECK(reply.top_p > 0);
      CHECK(reply.top_p < 1e-20f);
    }
    for (const char* good : {R"("max_completion_tokens":1)", R"("top_logprobs":20,"logprobs":true)",
                             R"("stop":["a","b","c","d"])", R"("stop":null)"}) {
      ChatRequest request;
      CHECK_MESSAGE(!read(with(good), request).has_value(), good);
    }
    for (const auto& [param, member] :
         std::vector<std::pair<std::string, std::string>>{{"temperature", R"("temperature":"1")"},
                                                          {"max_completion_tokens", R"("max_completion_tokens":-1)"},
                                                          {"seed", R"("seed":18446744073709551616)"},
                                                          {"top_logprobs", R"("top_logprobs":21,"logprobs":true)"},
                                                          {"top_logprobs", R"("top_logprobs":1)"},
                                                          {"stop", R"("stop":["a","b","c","d","e"])"},
                                                          {"stop", R"("stop":"")"},
                                                          {"stop", R"("stop":[1])"},
                                                          {"stream", R"("stream":"yes")"},
                                                          {"stream_options", R"("stream_options":{"include_usage":true})"},
                                                          {"model", R"("model":7)"}}) {
      ChatRequest request;
      const auto error = read(with(member), request);
      CAPTURE(member);
      REQUIRE(error.has_value());
      CHECK(error->status == 400);
      CHECK(error->param == param);
    }
  }

  TEST_CASE("chat_request: messages that make no sense are refused with their place") {
    for (
        const auto& [body, param] : std::vector<std::pair<std::string, std::string>>{
            {R"({})", "messages"},
            {R"({"messages":[]})", "messages"},
            {R"({"messages":"hi"})", "messages"},
            {R"({"messages":[3]})", "messages[0]"},
            {R"({"messages":[{"content":"x"}]})", "messages[0].role"},
            {R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].role"},
            {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
            {R"({"messages":[{"role":"user","content":[{"type":"input_audio"}]}]})", "messages[0].content[0].type"},
            {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "messages[0].content[0].text"},
            {R"({"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]})", "messages[1].role"},
            {R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})", "messages"},
            {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}]})",
             "messages[0].content[0].image_url.url"},
            {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]})",
             "messages[0].content[0].image_url.url"},
            {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,####"}}]}]})",
             "messages[0].content[0].image_url.url"},
            {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/gif;base64,R0lGODlhAQABAAAAACw="}}]}]})",
             "messages[0].content[0].image_url.url"},
            {"[1]", ""},
            {"{", ""},
            {"", ""},
            {"{\"messages\":\"\xff\"}", ""}}) {
      ChatRequest request;
      const auto error = read(body, request);
      CAPTURE(body);
      REQUIRE(error.has_value());
      CHECK(error->status == 400);
      CHECK(error->param == param);
      CHECK(error->message.find("messages") != (param.empty() ? 0 : std::string::npos));
    }
  }

  TEST_CASE("chat_request: eight pictures and 64 megapixels are taken, a ninth and a pixel more are not") {
    const auto picture = [](const std::string& url) { return R"({"type":"image_url","image_url":{"url":")" + url + R"("}})"; };
    const auto body = [&](size_t count, const std::string& url) {
      std::string parts;
      for (size_t i = 0; i < count; ++i)
        parts += picture(url) + ",";
      return R"({"messages":[{"role":"user","content":[)" + parts + R"({"type":"text","text":"q"}]}]})";
    };
    ChatRequest eight, nine, large, larger, together;
    REQUIRE_FALSE(read(body(8, picture_url()), eight).has_value());
    CHECK(eight.messages[0].pictures.size() == 8);
    CHECK(eight.messages[0].text == "q");  // no marks: they stand in front anyway
    const auto error = read(body(9, picture_url()), nine);
    REQUIRE(error.has_value());
    CHECK(error->code == "too_many_images");
    // Only headers: "\x89PNG\r\n\x1a\n", length, "IHDR", width, height. 8000 x 8000 is 64 megapixels.
    const std::string fits = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAH0AAAB9A",
                      over = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAH0EAAB9A";
    CHECK_FALSE(read(body(1, fits), large).has_value());
    REQUIRE(read(body(1, over), larger).has_value());
    CHECK(read(body(1, over), larger)->code == "image_too_large");
    CHECK(read(body(1, over), larger)->message.find("8001 x 8000") != std::string::npos);
    CHECK_FALSE(read(body(2, fits), large).has_value());  // 128 together
    REQUIRE(read(body(3, fits), together).has_value());
    CHECK(read(body(3, fits), together)->code == "image_too_large");
  }

  TEST_CASE("chat_request: a picture behind text is marked where it stands") {
    ChatRequest request, both;
    const std::string picture = R"({"type":"image_url","image_url":{"url":")" + picture_url() + R"("}})";
    REQUIRE_FALSE(read(R"({"messages":[{"role":"user","content":[{"type":"text","text":"first "},)" + picture +
                           R"(,{"type":"text","text":" then"}]}]})",
                       request)
                      .has_value());
    CHECK(request.messages[0].text == "first <image> then");
    REQUIRE(read(R"({"messages":[{"role":"user","content":[{"type":"text","text":"<image> "},)" + picture + R"(]}]})", both)
                .has_value());
  }

  TEST_CASE("chat_request: JSON made to be large in memory is refused before it is parsed") {
    nlohmann::json value;
    const auto nested = [](size_t levels) {
      return R"({"a":)" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
    };
    CHECK_FALSE(parse_json(nested(32), value).has_value());
    CHECK(parse_json(nested(33), value).has_value());
    const auto many = [](size_t values) {
      std::string text = R"({"a":[)";
      for (size_t i = 4; i < values; ++i)
        text += "1,";
      return text + "1,1]}";
    };
    CHECK_FALSE(parse_json(many(100000), value).has_value());
    CHECK(parse_json(many(100001), value).has_value());
    CHECK_FALSE(
        parse_json(R"({"a":"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})", value).has_value());  // brackets in a text are none
  }
}
