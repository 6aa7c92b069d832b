// JSON texts as plain values that keep their order. Nesting and repeated keys are checked; an error is one line with the place.
//
// Design: tokenizer.json holds 130,000 keys, each of which must be there once. nlohmann::json, which config.json and the indices
// are read with, keeps the last of equal keys without a word and takes twice as long for such a file; this drives its parser and
// stores by itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

struct JsonMember;

/// One JSON value. The accessors ask for the right kind first: a wrong one is a mistake of the caller's.
class JsonValue {
 public:
  enum class Kind { Null, Bool, Integer, Number, String, Array, Object };  // in the order of the variant below
  using Array = std::vector<JsonValue>;
  using Object = std::vector<JsonMember>;  // as the file orders them; no key twice
  using Storage = std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object>;

  JsonValue() = default;
  explicit JsonValue(Storage storage) : storage_(std::move(storage)) {}

  Kind kind() const { return static_cast<Kind>(storage_.index()); }
  bool is(Kind wanted) const { return kind() == wanted; }
  bool is_null() const { return is(Kind::Null); }
  /// The kind as error messages say it: "null", "boolean", "integer", "number", "string", "array", "object".
  const char* kind_name() const;

  bool as_bool() const { return std::get<bool>(storage_); }
  int64_t as_integer() const { return std::get<int64_t>(storage_); }
  /// Of an Integer too.
  double as_number() const;
  const std::string& as_string() const { return std::get<std::string>(storage_); }
  const Array& as_array() const { return std::get<Array>(storage_); }
  const Object& as_object() const { return std::get<Object>(storage_); }

  /// The member of that name; nullptr where there is none or this is no object. Cost: looks through all members.
  const JsonValue* find(std::string_view key) const;

  Storage& storage() { return storage_; }

 private:
  Storage storage_;
};

struct JsonMember {
  std::string key;
  JsonValue value;
};

/// Reads a JSON text: UTF-8, nested at most 64 deep. Integers outside int64 become Numbers.
///
/// where   the name that errors begin with
/// Errors  BadFile, with line and column: not JSON, too deep, a key twice in one object; OutOfMemory
Result<JsonValue> parse_json_document(std::string_view text, const std::string& where);

/// A string as a JSON literal, quoted; bytes that are not UTF-8 become U+FFFD.
std::string json_quote(std::string_view text);

}  // namespace vl2
