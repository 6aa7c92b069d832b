// The C API: answers that are JSON of a schema, by the demo model on a device.
#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/api.h"
#include "tests/support/gpu_test.h"
#include "tests/support/program.h"
#include "tests/support/schema_validator.h"

using namespace vl2;
using nlohmann::json;

namespace {

class ApiSchemaTest : public GpuTest {};

const std::string kShort =
    R"({"type":"array","minItems":1,"maxItems":2,"items":{"type":"object","properties":{"key":{"type":"string","maxLength":9},)"
    R"("amount":{"type":"integer","minimum":-5,"maximum":2000},"kind":{"enum":["sum","item",null]}},"required":["key","amount"],)"
    R"("additionalProperties":false}})";

// The schema must outlive the options.
vl2_reply_options with_schema(vl2_reply_options options, const std::string& schema) {
  options.schema = schema.data();
  options.schema_bytes = schema.size();
  return options;
}

void show_receipt(const SessionHandle& session) {
  const std::string file = read_file(kPictures + "receipt.png");
  REQUIRE(vl2_session_add_image_file(session.get(), reinterpret_cast<const uint8_t*>(file.data()), file.size()) == VL2_OK);
  say(session, "What is the total?");
}

// Whether JSON could go on after the text: the parser finds nothing wrong but the end.
bool begins_json(const std::string& text) {
  struct Ends : nlohmann::json_sax<json> {
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(int64_t) override { return true; }
    bool number_unsigned(uint64_t) override { return true; }
    bool number_float(double, const std::string&) override { return true; }
    bool string(std::string&) override { return true; }
    bool binary(json::binary_t&) override { return true; }
    bool start_object(size_t) override { return true; }
    bool key(std::string&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(size_t place, const std::string&, const nlohmann::detail::exception&) override {
      where = place;
      return false;
    }
    size_t where = SIZE_MAX;
  } ends;
  json::sax_parse(text, &ends);
  return ends.where > text.size();
}

}  // namespace

TEST_CASE_FIXTURE(ApiSchemaTest, "vl2_api: an answer with a schema is JSON of it, greedy and at any temperature") {
  const ModelHandle model = load_model(kPico);
  const SessionHandle session = new_session(model);
  show_receipt(session);
  const std::string kv = vl2_builtin_schema("kv");
  uint32_t complete = 0;
  std::set<std::string> texts;
  const auto ask = [&](const std::string& schema, const vl2_reply_options& options) {
    const std::string text = pulled(session, with_schema(options, schema));
    const vl2_reply reply = reply_of(session);
    CAPTURE(text);
    CHECK(std::string(reply.text, reply.text_bytes) == text);
    CHECK(std::string(reply.plain_text, reply.plain_text_bytes) == text);
    CHECK(text.find(reinterpret_cast<const char*>(u8"\uFFFD")) == std::string::npos);
    texts.insert(text);
    if (reply.stop_reason == VL2_STOP_END) {
      ++complete;
      const json value = json::parse(text, nullptr, false);
      REQUIRE(!value.is_discarded());
      const json rules = json::parse(schema);
      CHECK(satisfies(value, rules, rules));
    } else {
      CHECK(reply.stop_reason == VL2_STOP_MAX_TOKENS);
      CHECK(reply.answer_tokens == options.max_tokens);
      CHECK(begins_json(text));
    }
    REQUIRE(vl2_session_truncate(session.get(), 1) == VL2_OK);
  };
  ask(kv, drawing(60, 0));
  auto greedy = sized<vl2_reply_options>();
  greedy.max_tokens = 120;
  ask(kv, greedy);
  greedy.max_tokens = 400;
  ask(kShort, greedy);
  auto filtered = drawing(400, 5);
  filtered.top_k = 20;
  filtered.top_p = 0.9f;
  filtered.repeat_penalty = 1.3f;
  ask(kShort, filtered);
  CHECK(complete >= 2);
  for (uint64_t seed = 1; seed <= 4; ++seed)
    ask(kShort, drawing(400, seed));
  CHECK(complete >= 6);
  CHECK(texts.size() > 5);
}

TEST_CASE_FIXTURE(ApiSchemaTest, "vl2_api: a schema of one text gives it, and changes nothing of the answers after it") {
  const ModelHandle model = load_model(kPico);
  const SessionHandle session = new_session(model);
  show_receipt(session);
  auto greedy = sized<vl2_reply_options>();
  const std::string before = pulled(session, greedy);
  CHECK(before == "$641.56");
  REQUIRE(vl2_session_truncate(session.get(), 1) == VL2_OK);

  const std::string one_text = R"({"const":{"answer":["Grüße",null,-2.5]}})";
  auto forced = with_schema(drawing(0, 3), one_text);
  const std::string text = pulled(session, forced);
  CHECK(text.find_first_not_of(' ') <= 1);
  CHECK(text.substr(text.find('{')) == R"({"answer":["Grüße",null,-2.5]})");
  CHECK(reply_of(session).stop_reason == VL2_STOP_END);
  say(session, "And now?");  // the answer is a message like any other
  CHECK(pulled(session, drawing(5, 1)).size() > 0);
  REQUIRE(vl2_session_truncate(session.get(), 1) == VL2_OK);
  CHECK(pulled(session, greedy) == before);
  REQUIRE(vl2_session_truncate(session.get(), 1) == VL2_OK);

  // With probabilities of the tokens, which are the model's own: what is forced may be as unlikely as can be.
  forced.flags = VL2_REPLY_PROBABILITIES;
  CHECK(pulled(session, forced).find("null") != std::string::npos);
  const vl2_reply reply = reply_of(session);
  REQUIRE(reply.logprobs != nullptr);
  CHECK(*std::min_element(reply.logprobs, reply.logprobs + reply.answer_tokens) < -3);
}

TEST_CASE_FIXTURE(ApiSchemaTest, "vl2_api: what a schema cannot be is refused with one line, and nothing was started") {
  const ModelHandle model = load_model(kPico);
  const SessionHandle session = new_session(model);
  say(session, "What?");
  const auto refused = [&](const std::string& schema, vl2_status status, const std::string& part) {
    CAPTURE(schema);
    const auto options = with_schema(sized<vl2_reply_options>(), schema);
    CHECK(vl2_session_start(session.get(), &options) == status);
    CHECK(last_error_has(part));
    CHECK(vl2_check_schema(schema.data(), schema.size()) == status);
    CHECK(last_error_has(part));
  };
  refused("{", VL2_ERROR_ARGUMENT, "schema: not JSON");
  refused("", VL2_ERROR_ARGUMENT, "schema: not JSON");
  refused(R"({"type":"string","pattern":"a"})", VL2_ERROR_UNSUPPORTED, "schema: the keyword \"pattern\" is not supported");
  refused("false", VL2_ERROR_ARGUMENT, "schema: no value satisfies it");
  CHECK(vl2_check_schema(nullptr, 0) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_builtin_schema("nothing") == nullptr);
  CHECK(vl2_builtin_schema(nullptr) == nullptr);
  CHECK(vl2_has_feature("schema") == 1);
  say(session, "It is", VL2_ROLE_ASSISTANT);
  auto options = with_schema(sized<vl2_reply_options>(), kShort);
  options.flags = VL2_REPLY_CONTINUE;
  CHECK(vl2_session_start(session.get(), &options) == VL2_ERROR_ARGUMENT);
  CHECK(last_error_has("a schema is of a whole answer"));
  CHECK(vl2_session_message_count(session.get()) == 2);

  // A struct of before there were schemas.
  REQUIRE(vl2_session_truncate(session.get(), 1) == VL2_OK);
  const std::string broken = "{";
  options = with_schema(drawing(3, 1), broken);
  options.struct_size = offsetof(vl2_reply_options, schema);
  CHECK(vl2_session_reply(session.get(), &options) == VL2_OK);
}

TEST_SUITE("program") {
  TEST_CASE("vl2 run: --json-schema takes a name, a text or a file, and refuses what is none before it loads") {
    const TemporaryFolder folder;
    write_file(folder / "schema.json", R"({"const": "told"})");
    const auto run = [&](const std::string& schema, const std::string& model = kPico) {
      return run_program({"run", "-m", model, "--image", kPictures + "receipt.png", "-p", "What is the total?", "-q", "-n", "60",
                          "--json-schema", schema});
    };
    CHECK(run(folder / "schema.json").out.find("\"told\"\n") <= 1);
    CHECK(run(R"({"enum":[17]})").out.find("17\n") <= 1);
    const ProgramResult kv = run("kv");
    CHECK(kv.exit_status == 0);
    REQUIRE(kv.out.ends_with("\n"));  // which run adds
    const std::string text = kv.out.substr(0, kv.out.size() - 1);
    CHECK((json::accept(text) || begins_json(text)));
    CHECK(kv.out.find(R"("key":)") != std::string::npos);
    for (const auto& [schema, part] :
         std::vector<std::pair<std::string, std::string>>{{"kvs", "kvs is no file, no JSON and none of boxes, table, kv, object"},
                                                          {folder / "", "is no file"},
                                                          {R"({"type":"strin"})", "type: got \"strin\""},
                                                          {R"({"format":"date"})", "the keyword \"format\" is not supported"}}) {
      const ProgramResult result = run(schema, "/nowhere/at/all");
      CHECK(result.exit_status == 2);
      CHECK(result.out.empty());
      CHECK_MESSAGE(result.err.find(part) != std::string::npos, result.err);
      CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    }
  }
}
