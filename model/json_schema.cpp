#include "model/json_schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>

#include "model/json_document.h"

namespace vl2 {

namespace {

using Kind = SchemaNode::Kind;
using JsonKind = JsonValue::Kind;

constexpr std::array kDescribing = {"title",    "description", "default",  "examples",  "$schema", "$id",
                                    "$comment", "deprecated",  "readOnly", "writeOnly", "$defs",   "definitions"};
constexpr std::array kTypes = {"object", "array", "string", "number", "integer", "boolean", "null"};

// The keywords of a type; those of integers first among the types that share them.
struct TypedKeyword {
  const char* name;
  const char* type;
};
constexpr std::array kTyped = {TypedKeyword{"properties", "object"},
                               TypedKeyword{"required", "object"},
                               TypedKeyword{"additionalProperties", "object"},
                               TypedKeyword{"items", "array"},
                               TypedKeyword{"minItems", "array"},
                               TypedKeyword{"maxItems", "array"},
                               TypedKeyword{"minLength", "string"},
                               TypedKeyword{"maxLength", "string"},
                               TypedKeyword{"minimum", "integer"},
                               TypedKeyword{"maximum", "integer"},
                               TypedKeyword{"exclusiveMinimum", "integer"},
                               TypedKeyword{"exclusiveMaximum", "integer"}};

bool among(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// A value as JSON without white space.
std::string text_of(const JsonValue& value) {
  switch (value.kind()) {
    case JsonKind::Null: return "null";
    case JsonKind::Bool: return value.as_bool() ? "true" : "false";
    case JsonKind::Integer: return std::to_string(value.as_integer());
    case JsonKind::String: return json_quote(value.as_string());
    case JsonKind::Number: {
      std::array<char, 64> buffer;
      const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.as_number());
      return {buffer.data(), end.ptr};
    }
    case JsonKind::Array: {
      std::string out = "[";
      for (const JsonValue& item : value.as_array())
        out += (out.size() > 1 ? "," : "") + text_of(item);
      return out + "]";
    }
    case JsonKind::Object: break;
  }
  std::string out = "{";
  for (const JsonMember& member : value.as_object())
    out += (out.size() > 1 ? "," : "") + json_quote(member.key) + ":" + text_of(member.value);
  return out + "}";
}

bool is_of_type(const JsonValue& value, std::string_view type) {
  const bool whole =
      value.is(JsonKind::Integer) || (value.is(JsonKind::Number) && std::floor(value.as_number()) == value.as_number());
  return type == "integer"  ? whole
         : type == "number" ? value.is(JsonKind::Integer) || value.is(JsonKind::Number)
                            : type == value.kind_name();
}

class Reader {
 public:
  Result<JsonSchema> read(const JsonValue& document) {
    document_ = &document;
    VL2_ASSIGN(schema_.root, referred("#", ""));
    while (!waiting_.empty()) {  // referred schemas one after the other, not one within the other
      const auto [node, value, place] = waiting_.back();
      waiting_.pop_back();
      VL2_ASSIGN(const uint32_t target, read_schema(*value, place));
      schema_.nodes[node].alternatives = {target};
    }
    find_possible();
    for (const auto& [node, place] : exclusive_)
      VL2_TRY(check_exclusive(node, place));
    if (!schema_.nodes[schema_.root].possible)
      return fail(Code::BadArgument, "schema: no value satisfies it");
    for (uint32_t i = 0; i < schema_.nodes.size(); ++i)
      if (schema_.nodes[i].kind == Kind::Union && schema_.choices(i).size() > kMaxSchemaProperties)
        return fail(Code::BadArgument, "schema: a value of more than ", kMaxSchemaProperties, " alternatives");
    return std::move(schema_);
  }

 private:
  struct Waiting {
    uint32_t node;
    const JsonValue* value;
    std::string place;
  };

  template <typename... Parts>
  static Status wrong(const std::string& place, const Parts&... parts) {
    return fail(Code::BadArgument, "schema: ", shown(place), parts...);
  }
  template <typename... Parts>
  static Status unsupported(const std::string& place, const Parts&... parts) {
    return fail(Code::Unsupported, "schema: ", shown(place), parts...);
  }
  static std::string shown(const std::string& place) {
    return place.empty() ? "" : (place.size() > 200 ? place.substr(0, 200) + "..." : place) + ": ";
  }
  static std::string quoted(std::string_view name) { return json_quote(name.substr(0, 60)); }

  Result<uint32_t> add(Kind kind) {
    if (schema_.nodes.size() >= kMaxSchemaNodes)
      return fail(Code::BadArgument, "schema: more than ", kMaxSchemaNodes, " parts");
    schema_.nodes.emplace_back().kind = kind;
    return static_cast<uint32_t>(schema_.nodes.size() - 1);
  }

  Result<uint32_t> add_union(std::vector<uint32_t> alternatives) {
    VL2_ASSIGN(const uint32_t node, add(Kind::Union));
    schema_.nodes[node].alternatives = std::move(alternatives);
    return node;
  }

  // The node of a reference, whose schema is read later.
  Result<uint32_t> referred(const std::string& name, const std::string& place) {
    if (const auto known = references_.find(name); known != references_.end())
      return known->second;
    const JsonValue* value = name == "#" ? document_ : nullptr;
    for (const char* group : {"$defs", "definitions"}) {
      const std::string start = std::string("#/") + group + "/";
      if (!name.starts_with(start))
        continue;
      std::string key;
      for (size_t i = start.size(); i < name.size(); ++i)  // as RFC 6901 writes "/" and "~"
        if (name[i] == '~' && i + 1 < name.size())
          key += name[++i] == '1' ? '/' : '~';
        else
          key += name[i];
      const JsonValue* members = document_->find(group);
      value = members == nullptr ? nullptr : members->find(key);
      if (value == nullptr)
        return wrong(place, "$ref: there is no ", quoted(name));
    }
    if (value == nullptr)
      return unsupported(place, "$ref: got ", quoted(name), ", wanted \"#\", \"#/$defs/NAME\" or \"#/definitions/NAME\"");
    VL2_ASSIGN(const uint32_t node, add(Kind::Union));
    references_[name] = node;
    waiting_.push_back({node, value, name == "#" ? "" : name.substr(1)});
    return node;
  }

  Result<uint32_t> read_schema(const JsonValue& value, const std::string& place) {
    if (value.is(JsonKind::Bool))
      return value.as_bool() ? add(Kind::Any) : add_union({});
    if (!value.is(JsonKind::Object))
      return wrong(place, "got ", value.kind_name(), ", wanted a schema: an object, or true");
    std::vector<const JsonMember*> said;  // the keywords that say something
    for (const JsonMember& member : value.as_object())
      if (!among(kDescribing, member.key))
        said.push_back(&member);
    for (const JsonMember* member : said)
      if (const std::string& key = member->key;
          key == "$ref" || key == "anyOf" || key == "oneOf" || key == "allOf" || key == "const") {
        for (const JsonMember* other : said)
          if (other != member && !(key == "const" && other->key == "type"))
            return unsupported(place, quoted(other->key), " beside ", quoted(key), " is not supported");
        return read_alone(value, *member, place);
      }
    if (const JsonValue* values = value.find("enum")) {
      for (const JsonMember* other : said)
        if (other->key != "enum" && other->key != "type")
          return unsupported(place, quoted(other->key), " beside \"enum\" is not supported");
      if (!values->is(JsonKind::Array))
        return wrong(place, "enum: got ", values->kind_name(), ", wanted an array");
      return literals(values->as_array(), value, place);
    }
    return read_typed(value, said, place);
  }

  // A keyword that stands for the whole schema.
  Result<uint32_t> read_alone(const JsonValue& schema, const JsonMember& member, const std::string& place) {
    const JsonValue& value = member.value;
    if (member.key == "const")
      return literals({value}, schema, place);
    if (member.key == "$ref") {
      if (!value.is(JsonKind::String))
        return wrong(place, "$ref: got ", value.kind_name(), ", wanted a string");
      return referred(value.as_string(), place);
    }
    if (!value.is(JsonKind::Array) || value.as_array().empty() || value.as_array().size() > kMaxSchemaProperties)
      return wrong(place, member.key, ": wanted an array of 1 to ", kMaxSchemaProperties, " schemas");
    if (member.key == "allOf" && value.as_array().size() > 1)
      return unsupported(place, "allOf of more than one schema is not supported");
    std::vector<uint32_t> alternatives;
    for (size_t i = 0; i < value.as_array().size(); ++i) {
      VL2_ASSIGN(const uint32_t one, read_schema(value.as_array()[i], place + "/" + member.key + "/" + std::to_string(i)));
      alternatives.push_back(one);
    }
    VL2_ASSIGN(const uint32_t node, add_union(std::move(alternatives)));
    if (member.key == "oneOf")
      exclusive_.emplace_back(node, place);
    return node;
  }

  static Result<std::vector<std::string>> types_of(const JsonValue& schema, const std::string& place) {
    std::vector<std::string> types;
    const JsonValue* type = schema.find("type");
    if (type == nullptr)
      return types;
    if (!type->is(JsonKind::String) && (!type->is(JsonKind::Array) || type->as_array().empty()))
      return wrong(place, "type: got ", type->kind_name(), ", wanted a name or an array of names");
    const JsonValue::Array one = {*type};
    for (const JsonValue& name : type->is(JsonKind::Array) ? type->as_array() : one) {
      if (!name.is(JsonKind::String) || !among(kTypes, name.as_string()))
        return wrong(place, "type: got ", name.is(JsonKind::String) ? quoted(name.as_string()) : name.kind_name(),
                     ", wanted object, array, string, number, integer, boolean or null");
      if (!among(types, name.as_string()))
        types.push_back(name.as_string());
    }
    return types;
  }

  Result<uint32_t> literals(const JsonValue::Array& values, const JsonValue& schema, const std::string& place) {
    VL2_ASSIGN(const std::vector<std::string> types, types_of(schema, place));
    VL2_ASSIGN(const uint32_t node, add(Kind::Literals));
    for (const JsonValue& value : values)
      if (types.empty() ||
          std::any_of(types.begin(), types.end(), [&](const std::string& type) { return is_of_type(value, type); }))
        schema_.nodes[node].literals.push_back(text_of(value));
    auto& all = schema_.nodes[node].literals;
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return node;
  }

  Result<uint32_t> read_typed(const JsonValue& schema, const std::vector<const JsonMember*>& said, const std::string& place) {
    VL2_ASSIGN(std::vector<std::string> types, types_of(schema, place));
    const bool guessed = types.empty();
    for (const JsonMember* member : said) {
      if (member->key == "type")
        continue;
      const auto typed =
          std::find_if(kTyped.begin(), kTyped.end(), [&](const TypedKeyword& one) { return member->key == one.name; });
      if (typed == kTyped.end())
        return unsupported(place, "the keyword ", quoted(member->key), " is not supported");
      if (guessed && types.empty())
        types.push_back(typed->type);
      if (std::string(typed->type) == "integer" && among(types, "number"))
        return unsupported(place, quoted(member->key), " is supported for integers only");
      if (!among(types, typed->type))
        return unsupported(place, quoted(member->key), " says nothing about type ", types.front());
    }
    if (types.empty())
      return add(Kind::Any);
    std::vector<uint32_t> alternatives;
    for (const std::string& type : types) {
      if (type == "integer" && among(types, "number"))
        continue;  // a number already
      VL2_ASSIGN(const uint32_t node, read_type(type, schema, place));
      alternatives.push_back(node);
    }
    return alternatives.size() == 1 ? alternatives.front() : add_union(alternatives);
  }

  Result<uint32_t> read_type(const std::string& type, const JsonValue& schema, const std::string& place) {
    if (type == "object")
      return read_object(schema, place);
    if (type == "number")
      return add(Kind::Number);
    if (type == "integer")
      return read_integer(schema, place);
    if (type == "boolean" || type == "null") {
      VL2_ASSIGN(const uint32_t node, add(Kind::Literals));
      schema_.nodes[node].literals =
          type == "null" ? std::vector<std::string>{"null"} : std::vector<std::string>{"false", "true"};
      return node;
    }
    const bool array = type == "array";
    SchemaNode made;
    made.kind = array ? Kind::Array : Kind::String;
    VL2_TRY(read_count(schema, array ? "minItems" : "minLength", place, made.least));
    VL2_TRY(read_count(schema, array ? "maxItems" : "maxLength", place, made.most));
    if (array) {
      if (const JsonValue* items = schema.find("items")) {
        VL2_ASSIGN(made.values, read_schema(*items, place + "/items"));
      } else {
        VL2_ASSIGN(made.values, add(Kind::Any));
      }
    }
    VL2_ASSIGN(const uint32_t node, add(made.kind));
    schema_.nodes[node] = std::move(made);
    return node;
  }

  static Status read_count(const JsonValue& schema, const char* name, const std::string& place, uint32_t& count) {
    const JsonValue* value = schema.find(name);
    if (value == nullptr)
      return {};
    const double number = value->is(JsonKind::Integer) || value->is(JsonKind::Number) ? value->as_number() : -1;
    if (!(number >= 0 && number <= kMaxSchemaCount) || std::floor(number) != number)
      return wrong(place, name, ": wanted a whole number from 0 to ", kMaxSchemaCount);
    count = static_cast<uint32_t>(number);
    return {};
  }

  Result<uint32_t> read_integer(const JsonValue& schema, const std::string& place) {
    SchemaNode made;
    made.kind = Kind::Integer;
    for (const auto& [name, least, excludes] :
         {std::tuple{"minimum", true, 0}, {"exclusiveMinimum", true, 1}, {"maximum", false, 0}, {"exclusiveMaximum", false, 1}}) {
      const JsonValue* value = schema.find(name);
      if (value == nullptr)
        continue;
      if (!value->is(JsonKind::Integer) && !value->is(JsonKind::Number))
        return wrong(place, name, ": got ", value->kind_name(), ", wanted a number");
      int64_t limit = 0;
      if (value->is(JsonKind::Integer)) {
        limit = std::clamp(value->as_integer(), -kMostSchemaInteger - 1, kMostSchemaInteger + 1);
        limit += least ? excludes : -excludes;
      } else {
        const double number = value->as_number();
        const bool whole = std::floor(number) == number;
        const double bound = least ? std::ceil(number) + (whole ? excludes : 0) : std::floor(number) - (whole ? excludes : 0);
        limit = static_cast<int64_t>(std::clamp(bound, -1e18, 1e18));
      }
      if (least)
        made.lowest = std::max(made.lowest, limit);
      else
        made.highest = std::min(made.highest, limit);
    }
    VL2_ASSIGN(const uint32_t node, add(Kind::Integer));
    schema_.nodes[node] = std::move(made);
    return node;
  }

  Result<uint32_t> read_object(const JsonValue& schema, const std::string& place) {
    SchemaNode made;
    made.kind = Kind::Object;
    if (const JsonValue* properties = schema.find("properties")) {
      if (!properties->is(JsonKind::Object))
        return wrong(place, "properties: got ", properties->kind_name(), ", wanted an object");
      if (properties->as_object().size() > kMaxSchemaProperties)
        return wrong(place, "properties: got ", properties->as_object().size(), ", wanted at most ", kMaxSchemaProperties);
      for (const JsonMember& member : properties->as_object()) {
        VL2_ASSIGN(const uint32_t node, read_schema(member.value, place + "/properties/" + member.key.substr(0, 60)));
        made.properties.push_back({member.key, node, false});
      }
    }
    if (const JsonValue* required = schema.find("required")) {
      if (!required->is(JsonKind::Array))
        return wrong(place, "required: got ", required->kind_name(), ", wanted an array of names");
      for (const JsonValue& name : required->as_array()) {
        if (!name.is(JsonKind::String))
          return wrong(place, "required: got ", name.kind_name(), ", wanted a name");
        const auto property = std::find_if(made.properties.begin(), made.properties.end(),
                                           [&](const SchemaNode::Property& one) { return one.name == name.as_string(); });
        if (property == made.properties.end())
          return unsupported(place, "required: ", quoted(name.as_string()), " is not among the properties");
        property->required = true;
      }
    }
    const JsonValue* more = schema.find("additionalProperties");
    if (more != nullptr && !more->is(JsonKind::Bool) && !made.properties.empty())
      return unsupported(place, "additionalProperties: a schema beside properties is not supported, wanted false");
    made.free_keys = made.properties.empty() && !(more != nullptr && more->is(JsonKind::Bool) && !more->as_bool());
    if (made.free_keys) {
      if (more != nullptr) {
        VL2_ASSIGN(made.values, read_schema(*more, place + "/additionalProperties"));
      } else {
        VL2_ASSIGN(made.values, add(Kind::Any));
      }
    }
    VL2_ASSIGN(const uint32_t node, add(Kind::Object));
    schema_.nodes[node] = std::move(made);
    return node;
  }

  // ---- What is possible ------------------------------------------------------------------------------------------------------

  bool is_possible(const SchemaNode& node) const {
    const auto possible = [&](uint32_t index) { return schema_.nodes[index].possible; };
    switch (node.kind) {
      case Kind::Any:
      case Kind::Number: return true;
      case Kind::Union: return std::any_of(node.alternatives.begin(), node.alternatives.end(), possible);
      case Kind::Object:
        return std::all_of(node.properties.begin(), node.properties.end(),
                           [&](const SchemaNode::Property& one) { return !one.required || possible(one.node); });
      case Kind::Array: return node.least <= node.most && (node.least == 0 || possible(node.values));
      case Kind::String: return node.least <= node.most;
      case Kind::Integer: return node.lowest <= node.highest;
      case Kind::Literals: return !node.literals.empty();
    }
    return false;
  }

  // The least fixed point: what is possible by way of itself alone never ends.
  void find_possible() {
    std::vector<std::vector<uint32_t>> users(schema_.nodes.size());
    std::vector<uint32_t> changed;
    for (uint32_t i = 0; i < schema_.nodes.size(); ++i) {
      const SchemaNode& node = schema_.nodes[i];
      for (const uint32_t one : node.alternatives)
        users[one].push_back(i);
      for (const SchemaNode::Property& one : node.properties)
        users[one.node].push_back(i);
      if (node.kind == Kind::Array)
        users[node.values].push_back(i);
      changed.push_back(i);
    }
    while (!changed.empty()) {
      const uint32_t at = changed.back();
      changed.pop_back();
      SchemaNode& node = schema_.nodes[at];
      if (node.possible || !is_possible(node))
        continue;
      node.possible = true;
      changed.insert(changed.end(), users[at].begin(), users[at].end());
    }
  }

  // ---- oneOf -----------------------------------------------------------------------------------------------------------------

  // The kinds of JSON of a node's values, a letter each.
  static std::string kinds_of(const SchemaNode& node) {
    switch (node.kind) {
      case Kind::Object: return "{";
      case Kind::Array: return "[";
      case Kind::String: return "\"";
      case Kind::Number:
      case Kind::Integer: return "0";
      case Kind::Literals: {
        std::string kinds;
        for (const std::string& literal : node.literals)
          kinds += literal[0] == '-' || (literal[0] >= '0' && literal[0] <= '9') ? '0' : literal[0];
        return kinds;
      }
      default: return "{[\"0tfn";
    }
  }

  // Whether no value can be of both, as far as that is simple to see.
  bool apart(const SchemaNode& a, const SchemaNode& b) const {
    if (kinds_of(a).find_first_of(kinds_of(b)) == std::string::npos)
      return true;
    if (a.kind == Kind::Literals && b.kind == Kind::Literals)
      return std::none_of(a.literals.begin(), a.literals.end(), [&](const std::string& one) { return among(b.literals, one); });
    if (a.kind == Kind::Integer && b.kind == Kind::Integer)
      return a.highest < b.lowest || b.highest < a.lowest;
    if (a.kind == Kind::Object && b.kind == Kind::Object)
      return tells_apart(a, b) || (lacks_what_is_required(a, b) && lacks_what_is_required(b, a));
    return false;
  }

  // A property that both require, with values that tell them apart.
  bool tells_apart(const SchemaNode& a, const SchemaNode& b) const {
    for (const SchemaNode::Property& one : a.properties)
      for (const SchemaNode::Property& other : b.properties)
        if (one.name == other.name && one.required && other.required && all_apart(one.node, other.node, false))
          return true;
    return false;
  }

  // Values that are generated from `a` lack a property that `b` requires.
  static bool lacks_what_is_required(const SchemaNode& a, const SchemaNode& b) {
    return !a.free_keys && std::any_of(b.properties.begin(), b.properties.end(), [&](const SchemaNode::Property& one) {
      return one.required && std::none_of(a.properties.begin(), a.properties.end(),
                                          [&](const SchemaNode::Property& other) { return other.name == one.name; });
    });
  }

  // deep: whether objects are looked into; one level is what discriminators take.
  bool all_apart(uint32_t a, uint32_t b, bool deep) const {
    for (const uint32_t one : schema_.choices(a))
      for (const uint32_t other : schema_.choices(b)) {
        const SchemaNode &left = schema_.nodes[one], &right = schema_.nodes[other];
        if (!deep && left.kind == Kind::Object && right.kind == Kind::Object)
          return false;
        if (one == other || !apart(left, right))
          return false;
      }
    return true;
  }

  Status check_exclusive(uint32_t node, const std::string& place) const {
    const auto& alternatives = schema_.nodes[node].alternatives;
    if (alternatives.size() > 64)
      return unsupported(place, "oneOf of more than 64 schemas is not supported");
    for (size_t i = 0; i < alternatives.size(); ++i)
      for (size_t k = 0; k < i; ++k)
        if (!all_apart(alternatives[k], alternatives[i], true))
          return unsupported(place, "oneOf: a value may be of both alternative ", k, " and ", i,
                             ", which is not supported; anyOf is");
    return {};
  }

  const JsonValue* document_ = nullptr;
  JsonSchema schema_;
  std::map<std::string, uint32_t> references_;
  std::vector<Waiting> waiting_;
  std::vector<std::pair<uint32_t, std::string>> exclusive_;
};

struct Builtin {
  std::string_view name;
  const char* text;
};
// Keys are not free in "kv", so that none can come twice. Texts are bounded, so that a model that repeats itself comes to an end.
constexpr std::array kBuiltins = {
    Builtin{"boxes",
            R"({"type":"array","items":{"type":"object","properties":{"label":{"type":"string","minLength":1,"maxLength":200},)"
            R"("box":{"type":"array","items":{"type":"integer","minimum":0,"maximum":999},"minItems":4,"maxItems":4}},)"
            R"("required":["label","box"],"additionalProperties":false}})"},
    Builtin{"table", R"({"type":"object","properties":{"columns":{"type":"array","items":{"type":"string","maxLength":200}},)"
                     R"("rows":{"type":"array","items":{"type":"array","items":{"type":"string","maxLength":200}}}},)"
                     R"("required":["columns","rows"],"additionalProperties":false})"},
    Builtin{"kv",
            R"({"type":"array","items":{"type":"object","properties":{"key":{"type":"string","minLength":1,"maxLength":200},)"
            R"("value":{"type":"string","maxLength":1000}},"required":["key","value"],"additionalProperties":false}})"},
    Builtin{"object", R"({"type":"object"})"},
};

}  // namespace

std::vector<uint32_t> JsonSchema::choices(uint32_t node) const {
  std::vector<uint32_t> found, open = {node};
  std::vector<bool> known(nodes.size());
  known[node] = true;
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    if (!nodes[at].possible)
      continue;
    if (nodes[at].kind != Kind::Union)
      found.push_back(at);
    for (const uint32_t one : nodes[at].alternatives)
      if (!known[one]) {
        known[one] = true;
        open.push_back(one);
      }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<JsonSchema> parse_json_schema(std::string_view text) {
  if (text.size() > kMaxSchemaBytes)
    return fail(Code::BadArgument, "schema: ", text.size(), " bytes, wanted at most ", kMaxSchemaBytes);
  auto document = parse_json_document(text, "schema");
  if (!document.ok())
    return fail(document.code() == Code::BadFile ? Code::BadArgument : document.code(), document.message());
  return Reader().read(*document);
}

const char* builtin_json_schema(std::string_view name) {
  for (const Builtin& one : kBuiltins)
    if (one.name == name)
      return one.text;
  return nullptr;
}

const char* builtin_json_schema_names() {
  return "boxes, table, kv, object";
}

}  // namespace vl2
