// Whether a JSON value satisfies a schema: written from the specification, for values that nlohmann::json parsed.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace vl2 {

/// Code points of a UTF-8 text.
inline size_t character_count(const std::string& text) {
  size_t count = 0;
  for (const char byte : text)
    count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

inline bool has_json_type(const nlohmann::json& value, const std::string& type) {
  return type == "object"    ? value.is_object()
         : type == "array"   ? value.is_array()
         : type == "string"  ? value.is_string()
         : type == "number"  ? value.is_number()
         : type == "integer" ? value.is_number_integer()
         : type == "boolean" ? value.is_boolean()
                             : type == "null" && value.is_null();
}

/// Throws std::out_of_range for a reference to nothing.
inline bool satisfies(const nlohmann::json& value, const nlohmann::json& schema, const nlohmann::json& root) {
  using nlohmann::json;
  if (schema.is_boolean())
    return schema.get<bool>();
  const auto all_of = [&](const char* name, const auto& holds) { return !schema.contains(name) || holds(schema.at(name)); };
  const auto count_in = [&](const json& schemas) {
    size_t count = 0;
    for (const json& one : schemas)
      count += satisfies(value, one, root) ? 1 : 0;
    return count;
  };
  if (!all_of(
          "$ref",
          [&](const json& to) { return satisfies(value, root.at(json::json_pointer(to.get<std::string>().substr(1))), root); }) ||
      !all_of("anyOf", [&](const json& some) { return count_in(some) >= 1; }) ||
      !all_of("oneOf", [&](const json& some) { return count_in(some) == 1; }) ||
      !all_of("allOf", [&](const json& some) { return count_in(some) == some.size(); }) ||
      !all_of("const", [&](const json& one) { return value == one; }) ||
      !all_of("enum", [&](const json& some) { return std::find(some.begin(), some.end(), value) != some.end(); }))
    return false;
  if (!all_of("type", [&](const json& type) {
        return type.is_string() ? has_json_type(value, type.get<std::string>())
                                : std::any_of(type.begin(), type.end(),
                                              [&](const json& one) { return has_json_type(value, one.get<std::string>()); });
      }))
    return false;
  const auto at_least = [](auto amount) { return [amount](const json& limit) { return amount >= limit.get<double>(); }; };
  const auto at_most = [](auto amount) { return [amount](const json& limit) { return amount <= limit.get<double>(); }; };
  if (value.is_number()) {
    const double number = value.get<double>();
    return all_of("minimum", at_least(number)) && all_of("maximum", at_most(number)) &&
           all_of("exclusiveMinimum", [&](const json& limit) { return number > limit.get<double>(); }) &&
           all_of("exclusiveMaximum", [&](const json& limit) { return number < limit.get<double>(); });
  }
  if (value.is_string()) {
    const auto length = static_cast<double>(character_count(value.get<std::string>()));
    return all_of("minLength", at_least(length)) && all_of("maxLength", at_most(length));
  }
  if (value.is_array()) {
    const auto size = static_cast<double>(value.size());
    return all_of("minItems", at_least(size)) && all_of("maxItems", at_most(size)) && all_of("items", [&](const json& items) {
             return std::all_of(value.begin(), value.end(), [&](const json& one) { return satisfies(one, items, root); });
           });
  }
  if (!value.is_object())
    return true;
  if (!all_of("required", [&](const json& names) {
        return std::all_of(names.begin(), names.end(), [&](const json& name) { return value.contains(name.get<std::string>()); });
      }))
    return false;
  for (const auto& [name, member] : value.items()) {
    const bool listed = schema.contains("properties") && schema.at("properties").contains(name);
    if (listed ? !satisfies(member, schema.at("properties").at(name), root)
               : !all_of("additionalProperties", [&, &one = member](const json& more) { return satisfies(one, more, root); }))
      return false;
  }
  return true;
}

}  // namespace vl2
