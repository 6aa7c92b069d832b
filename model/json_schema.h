// A JSON Schema as the values that an answer may be made of: read, checked, and refused by name where it says more than is built.
//
// Design: a schema says which values are right; an answer needs only some of them. So what is generated is a part of what the
// schema takes, never more: properties in the order of the schema and none that it does not list, no key of the schema's own
// escaped, numbers of bounded length. A keyword that would narrow the values and is not built is an error, since an answer that
// ignores it would be wrong without a word; keywords that only describe are left alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

inline constexpr size_t kMaxSchemaBytes = size_t{256} << 10;
inline constexpr uint32_t kMaxSchemaNodes = 5000;
inline constexpr uint32_t kMaxSchemaProperties = 256;              ///< of an object; of alternatives, too
inline constexpr uint32_t kMaxSchemaCount = 1u << 20;              ///< the most that minItems, maxLength and so on may say
inline constexpr int64_t kMostSchemaInteger = 999999999999999999;  ///< integers that are generated lie within plus and minus this
inline constexpr uint32_t kNoSchemaLimit = UINT32_MAX;

/// One kind of value. Nodes refer to each other by index, in circles too.
struct SchemaNode {
  enum class Kind {
    Any,       ///< any JSON value, nested at most kMaxAnyDepth deep
    Union,     ///< one of `alternatives`; of none: no value at all
    Object,    ///< `properties` in this order; without any listed: keys of any name with `values`
    Array,     ///< least to most of `values`
    String,    ///< least to most code points
    Number,    ///< any number
    Integer,   ///< lowest to highest
    Literals,  ///< one of `literals`
  };
  struct Property {
    std::string name;
    uint32_t node = 0;
    bool required = false;
  };
  Kind kind = Kind::Union;
  std::vector<uint32_t> alternatives;
  std::vector<Property> properties;
  bool free_keys = false;
  uint32_t values = 0;
  uint32_t least = 0, most = kNoSchemaLimit;
  int64_t lowest = -kMostSchemaInteger, highest = kMostSchemaInteger;
  std::vector<std::string> literals;  ///< JSON texts without white space
  bool possible = false;              ///< there is a value of this node that ends
};

struct JsonSchema {
  std::vector<SchemaNode> nodes;
  uint32_t root = 0;

  /// The nodes that are no unions, possible, and reached from `node` through unions alone, ascending.
  std::vector<uint32_t> choices(uint32_t node) const;
};

/// Levels of arrays and objects in a value of which the schema says nothing.
inline constexpr uint32_t kMaxAnyDepth = 8;

/// Reads a schema.
///
/// Keywords  type (also a list), enum, const, anyOf, oneOf (whose alternatives cannot overlap), allOf of one, $ref to "#",
///           "#/$defs/NAME" or "#/definitions/NAME", recursion included; properties, required, additionalProperties; items,
///           minItems, maxItems; minLength, maxLength; minimum, maximum, exclusiveMinimum, exclusiveMaximum of integers.
///           title, description, default, examples, $schema, $id, $comment, deprecated, readOnly and writeOnly are left alone
/// text      JSON of an object or of true; at most kMaxSchemaBytes
/// Errors    BadArgument: no schema, too large, no value satisfies it; Unsupported: a keyword that is not built. One line
///           with the place, as "schema: /properties/a: ..."
Result<JsonSchema> parse_json_schema(std::string_view text);

/// The text of a built-in schema: "boxes", "table", "kv", "object" (any object); nullptr for another name.
const char* builtin_json_schema(std::string_view name);

/// "boxes, table, kv, object"
const char* builtin_json_schema_names();

}  // namespace vl2
