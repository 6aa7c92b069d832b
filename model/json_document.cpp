#include "model/json_document.h"

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "model/utf8.h"

namespace vl2 {

namespace {

constexpr size_t kMaxDepth = 64;  // tokenizer.json nests 6 deep
constexpr size_t kFewKeys = 16;   // up to here comparing all pairs of keys is faster than hashing them

// The key that an object holds twice, or nullptr.
const std::string* repeated_key(const JsonValue::Object& object) {
  if (object.size() <= kFewKeys) {
    for (size_t i = 0; i < object.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (object[i].key == object[j].key)
          return &object[i].key;
    return nullptr;
  }
  std::unordered_set<std::string_view> seen;
  seen.reserve(object.size());
  for (const JsonMember& member : object)
    if (!seen.insert(member.key).second)
      return &member.key;
  return nullptr;
}

// Builds a JsonValue from the parser's events. Returning false stops the parser.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonValue root;
  std::string problem;       // what stopped us, if the parser did not
  size_t parser_offset = 0;  // where the parser stopped: bytes read, at least 1

  bool null() override { return add(JsonValue()); }
  bool boolean(bool value) override { return add(JsonValue(value)); }
  bool number_integer(number_integer_t value) override { return add(JsonValue(int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    return value > uint64_t{INT64_MAX} ? add(JsonValue(static_cast<double>(value))) : add(JsonValue(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(JsonValue(double{value})); }
  bool string(string_t& value) override { return add(JsonValue(std::move(value))); }
  bool binary(binary_t&) override { return stop("binary data"); }
  bool key(string_t& value) override {
    std::get<JsonValue::Object>(open_.back()->storage()).push_back({std::move(value), JsonValue()});
    return true;
  }
  bool start_object(size_t) override { return open(JsonValue(JsonValue::Object())); }
  bool start_array(size_t) override { return open(JsonValue(JsonValue::Array())); }
  bool end_object() override {
    if (const std::string* twice = repeated_key(open_.back()->as_object()))
      return stop("the key " + json_quote(std::string_view(*twice).substr(0, 80)) + " is there twice");
    open_.pop_back();
    return true;
  }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    parser_offset = position;
    return false;
  }

 private:
  bool stop(std::string what) {
    problem = std::move(what);
    return false;
  }

  JsonValue* place(JsonValue value) {
    JsonValue* slot = &root;
    if (!open_.empty() && open_.back()->is(JsonValue::Kind::Array)) {
      auto& array = std::get<JsonValue::Array>(open_.back()->storage());
      array.emplace_back();
      slot = &array.back();
    } else if (!open_.empty()) {
      slot = &std::get<JsonValue::Object>(open_.back()->storage()).back().value;
    }
    *slot = std::move(value);
    return slot;
  }

  bool add(JsonValue value) {
    place(std::move(value));
    return true;
  }

  // A container stays where it is while it is open: only the innermost one grows.
  bool open(JsonValue value) {
    if (open_.size() == kMaxDepth)
      return stop("nested deeper than " + std::to_string(kMaxDepth));
    open_.push_back(place(std::move(value)));
    return true;
  }

  std::vector<JsonValue*> open_;
};

std::string place_text(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(before.size() - line_start + 1);
}

}  // namespace

const char* JsonValue::kind_name() const {
  switch (kind()) {
    case Kind::Null: return "null";
    case Kind::Bool: return "boolean";
    case Kind::Integer: return "integer";
    case Kind::Number: return "number";
    case Kind::String: return "string";
    case Kind::Array: return "array";
    case Kind::Object: return "object";
  }
  return "unknown";
}

double JsonValue::as_number() const {
  return is(Kind::Integer) ? static_cast<double>(as_integer()) : std::get<double>(storage_);
}

const JsonValue* JsonValue::find(std::string_view key) const {
  if (is(Kind::Object))
    for (const JsonMember& member : as_object())
      if (member.key == key)
        return &member.value;
  return nullptr;
}

Result<JsonValue> parse_json_document(std::string_view text, const std::string& where) {
  try {
    Builder builder;
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
      return std::move(builder.root);
    if (!builder.problem.empty())
      return fail(Code::BadFile, where, ": ", builder.problem);
    const size_t offset = builder.parser_offset > 0 ? builder.parser_offset - 1 : 0;
    if (offset >= text.size())
      return fail(Code::BadFile, where, ": not JSON: it ends too early, after ", text.size(), " bytes");
    return fail(Code::BadFile, where, ": not JSON at ", place_text(text, offset));
  } catch (const std::bad_alloc&) {
    return fail(Code::OutOfMemory, where, ": no memory for ", text.size(), " bytes of JSON");
  } catch (const std::exception& error) {
    return fail(Code::BadFile, where, ": not JSON: ", error.what());
  }
}

std::string json_quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : repair_utf8(text)) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace vl2
