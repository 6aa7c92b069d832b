// The C API: schemas of answers.
#include "app/vl2_api_internal.h"
#include "model/json_schema.h"

using namespace vl2;
using namespace vl2::api;

namespace vl2::api {

Result<std::shared_ptr<const AnswerSchema>> answer_schema(ModelState& model, std::string_view text) {
  VL2_TRY(parse_json_schema(text).status());  // before the time for the vocabulary is spent
  const std::lock_guard guard(model.token_tree_mutex);
  if (model.token_tree == nullptr) {
    VL2_ASSIGN(model.token_tree, TokenTree::create(*model.tokenizer, model.config.language.vocab_size));
  }
  return AnswerSchema::create(text, model.token_tree);
}

}  // namespace vl2::api

const char* vl2_builtin_schema(const char* name) {
  return name == nullptr ? nullptr : builtin_json_schema(name);
}

vl2_status vl2_check_schema(const char* schema, size_t schema_bytes) {
  return guarded([&]() -> Outcome {
    std::string_view text;
    if (schema == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_check_schema: schema is NULL, wanted UTF-8");
    if (Outcome outcome = read_text(schema, schema_bytes, "vl2_check_schema", text); outcome.status != VL2_OK)
      return outcome;
    VL2_ASSIGN(const JsonSchema parsed, parse_json_schema(text));
    VL2_TRY(make_json_grammar(parsed).status());
    return {};
  });
}
