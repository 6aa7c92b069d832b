// `vl2 tokenize`: reads stdin, writes stdout. Without --jsonl all of stdin is one text, and ids are numbers between spaces.
#include <iostream>
#include <iterator>
#include <sstream>

#include "app/commands/commands.h"
#include "model/json_document.h"
#include "model/model_files.h"
#include "model/tokenizer.h"

namespace vl2 {

namespace {

using Kind = JsonValue::Kind;

Result<std::vector<TokenId>> encode_text(const Tokenizer& tokenizer, const TokenizeOptions& options, std::string_view text) {
  return tokenizer.encode(text, options.special ? ControlTokens::Recognise : ControlTokens::Ignore);
}

Result<TokenId> checked_id(const Tokenizer& tokenizer, int64_t id) {
  if (id < 0 || id >= UINT32_MAX)
    return fail(Code::BadArgument, "got the id ", id, ", wanted 0 to ", tokenizer.id_count() - 1);
  return static_cast<TokenId>(id);
}

std::string ids_text(const std::vector<TokenId>& ids, bool json) {
  std::string text = json ? "[" : "";
  for (size_t i = 0; i < ids.size(); ++i)
    text += (i == 0 ? "" : json ? ", " : " ") + std::to_string(ids[i]);
  return text + (json ? "]" : "");
}

Result<std::string> encode_line(const Tokenizer& tokenizer, const TokenizeOptions& options, const std::string& line) {
  VL2_ASSIGN(const JsonValue value, parse_json_document(line, "JSON"));
  if (!value.is(Kind::String))
    return fail(Code::BadArgument, "got ", value.kind_name(), ", wanted a JSON string");
  VL2_ASSIGN(const std::vector<TokenId> ids, encode_text(tokenizer, options, value.as_string()));
  return ids_text(ids, true);
}

Result<std::string> decode_line(const Tokenizer& tokenizer, const TokenizeOptions& options, const std::string& line) {
  VL2_ASSIGN(const JsonValue value, parse_json_document(line, "JSON"));
  if (!value.is(Kind::Array))
    return fail(Code::BadArgument, "got ", value.kind_name(), ", wanted a JSON array of ids");
  std::vector<TokenId> ids;
  for (const JsonValue& item : value.as_array()) {
    if (!item.is(Kind::Integer))
      return fail(Code::BadArgument, "got ", item.kind_name(), " in the array, wanted integer");
    VL2_ASSIGN(const TokenId id, checked_id(tokenizer, item.as_integer()));
    ids.push_back(id);
  }
  return json_quote(tokenizer.decode(ids, options.special));
}

Status run_lines(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    const auto result = options.decode ? decode_line(tokenizer, options, line) : encode_line(tokenizer, options, line);
    if (!result.ok())
      return fail(result.code(), "tokenize: line ", number, ": ", result.message());
    std::cout << *result << '\n';
  }
  return {};
}

Status run_whole(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (!options.decode) {
    VL2_ASSIGN(const std::vector<TokenId> ids, encode_text(tokenizer, options, text));
    std::cout << ids_text(ids, false) << '\n';
    return {};
  }
  std::istringstream words(text);
  std::vector<TokenId> ids;
  int64_t number = 0;
  while (words >> number) {
    VL2_ASSIGN(const TokenId id, checked_id(tokenizer, number));
    ids.push_back(id);
  }
  if (!words.eof())
    return fail(Code::BadArgument, "tokenize: something after ", ids.size(), " ids is no whole number");
  std::cout << tokenizer.decode(ids, options.special);
  return {};
}

}  // namespace

Status tokenize_command(const TokenizeOptions& options) {
  VL2_ASSIGN(const Tokenizer tokenizer, load_tokenizer(options.model));
  const Status status = options.jsonl ? run_lines(tokenizer, options) : run_whole(tokenizer, options);
  std::cout.flush();
  VL2_TRY(status);
  if (!std::cout)
    return fail(Code::IoError, "tokenize: stdout cannot be written");
  return {};
}

}  // namespace vl2
