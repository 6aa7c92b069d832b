#include "model/json_grammar.h"

#include <algorithm>
#include <map>
#include <string>

#include "model/json_document.h"

namespace vl2 {

namespace {

using When = GrammarNode::When;
using Kind = SchemaNode::Kind;

class Builder {
 public:
  explicit Builder(const JsonSchema& schema) : schema_(schema) {}

  Result<JsonGrammar> build() {
    end_ = add();
    at(end_).returns = true;
    space_ = add();
    at(space_).returns = true;
    edge(space_, ' ', end_);
    make_indent();
    entries_.assign(schema_.nodes.size(), kNone);
    grammar_.root = add();
    const uint32_t value = add();
    call(grammar_.root, {space_}, value);
    call(value, parts_of(schema_.root), end_);
    while (!waiting_.empty() && !full_) {  // the parts that were called, one after the other
      const uint32_t node = waiting_.back();
      waiting_.pop_back();
      make_part(node);
    }
    if (full_)
      return fail(Code::BadArgument, "schema: too large: its texts take more than ", kMaxGrammarNodes, " states");
    return std::move(grammar_);
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t add() {
    if (grammar_.nodes.size() >= kMaxGrammarNodes) {
      full_ = true;
      return 0;
    }
    grammar_.nodes.emplace_back();
    return static_cast<uint32_t>(grammar_.nodes.size() - 1);
  }
  GrammarNode& at(uint32_t node) { return grammar_.nodes[node]; }

  void edge(uint32_t from, uint8_t first, uint8_t last, uint32_t to, When when = When::Always, bool counts = false) {
    at(from).edges.push_back({first, last, when, counts, to});
  }
  void edge(uint32_t from, char byte, uint32_t to, When when = When::Always, bool counts = false) {
    edge(from, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to, when, counts);
  }
  void call(uint32_t from, std::vector<uint32_t> parts, uint32_t after, When when = When::Always) {
    at(from).calls = std::move(parts);
    at(from).after = after;
    at(from).call_when = when;
  }
  void bound(std::initializer_list<uint32_t> nodes, uint32_t least, uint32_t most) {
    for (const uint32_t node : nodes) {
      at(node).least = least;
      at(node).most = most;
    }
  }

  // A path of bytes from `from` to a new node.
  uint32_t spell(uint32_t from, std::string_view text) {
    for (const char byte : text) {
      const uint32_t next = add();
      edge(from, byte, next);
      from = next;
    }
    return from;
  }

  // The parts that a value of a node may be.
  std::vector<uint32_t> parts_of(uint32_t node) {
    const auto known = parts_.find(node);
    if (known != parts_.end())
      return known->second;
    std::vector<uint32_t> parts;
    for (const uint32_t choice : schema_.choices(node))
      if (schema_.nodes[choice].kind == Kind::Any) {
        const auto any = any_parts(kMaxAnyDepth);
        parts.insert(parts.end(), any.begin(), any.end());
      } else {
        parts.push_back(entry_of(choice));
      }
    std::sort(parts.begin(), parts.end());
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    parts_[node] = parts;
    return parts;
  }

  // Equal parts are one, so that what the vocabulary says of them is found once.
  uint32_t entry_of(uint32_t choice) {
    if (entries_[choice] != kNone)
      return entries_[choice];
    const SchemaNode& node = schema_.nodes[choice];
    if (node.kind == Kind::Number)
      return entries_[choice] = number();
    if (node.kind == Kind::String)
      return entries_[choice] = string(node.least, node.most);
    if (node.kind == Kind::Integer)
      return entries_[choice] = integer(node.lowest, node.highest);
    if (node.kind == Kind::Literals)
      return entries_[choice] = literals(node.literals);
    entries_[choice] = add();
    waiting_.push_back(choice);
    return entries_[choice];
  }

  void make_part(uint32_t choice) {
    const SchemaNode& node = schema_.nodes[choice];
    const uint32_t entry = entries_[choice];
    if (node.kind == Kind::Array)
      array(entry, parts_of_items(node), node.least, node.most);
    else if (node.free_keys)
      free_object(entry, parts_of(node.values));
    else
      object(entry, node);
  }

  std::vector<uint32_t> parts_of_items(const SchemaNode& array) {
    return array.most == 0 ? std::vector<uint32_t>() : parts_of(array.values);
  }

  // Nothing, a space, or a line end with spaces.
  void make_indent() {
    indent_ = add();
    const uint32_t line = add();
    at(indent_).returns = at(line).returns = true;
    edge(indent_, ' ', end_);
    edge(indent_, '\n', line);
    edge(line, ' ', line, When::IfRoom, true);
    bound({indent_, line}, 0, kMaxIndent);
  }

  // ---- Strings ---------------------------------------------------------------------------------------------------------------

  // least to most characters. A pair of \u escapes for one character is left out: the character itself is there.
  uint32_t string(uint32_t least, uint32_t most) {
    const auto [known, is_new] = strings_.try_emplace({least, most}, 0);
    if (!is_new)
      return known->second;
    const uint32_t open = add(), body = add(), escape = add(), last = add(), middle = add(), third = add();
    known->second = open;
    edge(open, '"', body);
    edge(body, 0x20, 0x21, body, When::IfRoom, true);
    edge(body, 0x23, 0x5B, body, When::IfRoom, true);
    edge(body, 0x5D, 0x7F, body, When::IfRoom, true);
    edge(body, '"', end_, When::IfEnough);
    edge(body, '\\', escape, When::IfRoom, true);
    edge(body, 0xC2, 0xDF, last, When::IfRoom, true);
    edge(last, 0x80, 0xBF, body);
    // Of three and four bytes: those whose second byte is bounded (RFC 3629) have a node of their own.
    edge(middle, 0x80, 0xBF, last);
    edge(third, 0x80, 0xBF, middle);
    edge(body, 0xE1, 0xEC, middle, When::IfRoom, true);
    edge(body, 0xEE, 0xEF, middle, When::IfRoom, true);
    edge(body, 0xF1, 0xF3, third, When::IfRoom, true);
    bound({open, body, escape, last, middle, third}, least, most);
    const auto lead = [&](uint8_t byte, uint8_t first, uint8_t final, uint32_t next) {
      const uint32_t node = add();
      edge(body, byte, byte, node, When::IfRoom, true);
      edge(node, first, final, next);
      bound({node}, least, most);
    };
    lead(0xE0, 0xA0, 0xBF, last);
    lead(0xED, 0x80, 0x9F, last);
    lead(0xF0, 0x90, 0xBF, middle);
    lead(0xF4, 0x80, 0x8F, middle);
    make_escape(escape, body, least, most);
    return open;
  }

  void make_escape(uint32_t escape, uint32_t body, uint32_t least, uint32_t most) {
    for (const char byte : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'})
      edge(escape, byte, body);
    const uint32_t u = add(), second = add(), low = add(), third = add(), fourth = add();
    edge(escape, 'u', u);
    edge(u, '0', '9', second);
    for (const auto& [from, to] : {std::pair{'a', 'c'}, {'e', 'f'}, {'A', 'C'}, {'E', 'F'}})
      edge(u, static_cast<uint8_t>(from), static_cast<uint8_t>(to), second);
    edge(u, 'd', low);  // D800 to DFFF are no characters
    edge(u, 'D', low);
    edge(low, '0', '7', third);
    for (const auto& [from, to] : {std::pair{second, third}, {third, fourth}, {fourth, body}})
      for (const auto& [first, last] : {std::pair{'0', '9'}, {'a', 'f'}, {'A', 'F'}})
        edge(from, static_cast<uint8_t>(first), static_cast<uint8_t>(last), to);
    bound({u, second, low, third, fourth}, least, most);
  }

  // ---- Numbers and literals --------------------------------------------------------------------------------------------------

  // A path of 1 to `most` digits from `from` on: the nodes behind each.
  std::vector<uint32_t> digits(uint32_t from, uint8_t first, uint32_t most) {
    std::vector<uint32_t> behind;
    for (uint32_t i = 0; i < most; ++i) {
      const uint32_t next = add();
      edge(from, i == 0 ? first : uint8_t{'0'}, '9', next);
      behind.push_back(next);
      from = next;
    }
    return behind;
  }

  uint32_t number() {
    if (number_ != kNone)
      return number_;
    const uint32_t open = number_ = add(), sign = add(), zero = add(), point = add(), power = add(), power_sign = add();
    edge(open, '-', sign);
    at(open).jumps = {sign};
    edge(sign, '0', zero);
    std::vector<uint32_t> whole = digits(sign, '1', kMaxIntegerDigits);
    whole.push_back(zero);
    std::vector<uint32_t> part = digits(point, '0', kMaxFractionDigits);
    edge(power, '+', power_sign);
    edge(power, '-', power_sign);
    at(power).jumps = {power_sign};
    for (const uint32_t node : digits(power_sign, '0', kMaxExponentDigits))
      at(node).returns = true;
    for (const uint32_t node : whole)
      edge(node, '.', point);
    whole.insert(whole.end(), part.begin(), part.end());
    for (const uint32_t node : whole) {
      at(node).returns = true;
      edge(node, 'e', power);
      edge(node, 'E', power);
    }
    return open;
  }

  uint32_t integer(int64_t lowest, int64_t highest) {
    const auto [known, is_new] = integers_.try_emplace({lowest, highest}, 0);
    if (!is_new)
      return known->second;
    const uint32_t open = add();
    known->second = open;
    if (highest >= 0)
      range(open, std::to_string(std::max<int64_t>(lowest, 0)), std::to_string(highest));
    if (lowest < 0) {
      const uint32_t minus = add();
      edge(open, '-', minus);
      range(minus, std::to_string(-std::min<int64_t>(highest, -1)), std::to_string(-lowest));
    }
    return open;
  }

  // The whole numbers from `low` to `high`, both without a sign, without leading zeros.
  void range(uint32_t from, const std::string& low, const std::string& high) {
    for (size_t length = low.size(); length <= high.size(); ++length) {
      const std::string least = length == low.size() ? low : "1" + std::string(length - 1, '0');
      const std::string most = length == high.size() ? high : std::string(length, '9');
      // of all numbers of this length: along both limits, along the lower, along the upper, between them
      std::map<std::tuple<size_t, bool, bool>, uint32_t> states;
      same_length(from, least, most, 0, true, true, states);
    }
  }

  void same_length(uint32_t from, const std::string& low, const std::string& high, size_t place, bool on_low, bool on_high,
                   std::map<std::tuple<size_t, bool, bool>, uint32_t>& states) {
    if (place == low.size()) {
      at(from).returns = true;
      return;
    }
    const char first = on_low ? low[place] : '0', last = on_high ? high[place] : '9';
    for (char digit = first; digit <= last;) {
      const bool low_next = on_low && digit == low[place], high_next = on_high && digit == high[place];
      char until = digit;
      while (!low_next && !high_next && until < last && !(on_high && until + 1 == high[place]))
        ++until;
      const auto [known, is_new] = states.try_emplace({place + 1, low_next, high_next}, 0);
      if (is_new)
        known->second = add();
      const uint32_t next = known->second;
      edge(from, static_cast<uint8_t>(digit), static_cast<uint8_t>(until), next);
      if (is_new)
        same_length(next, low, high, place + 1, low_next, high_next, states);
      digit = static_cast<char>(until + 1);
    }
  }

  // A tree of the texts, so that a long list is as quick as a short one.
  uint32_t literals(const std::vector<std::string>& texts) {
    const auto [known, is_new] = literals_.try_emplace(texts, 0);
    if (!is_new)
      return known->second;
    const uint32_t open = add();
    known->second = open;
    for (const std::string& text : texts) {
      uint32_t node = open;
      for (const char byte : text) {
        const auto& edges = at(node).edges;
        const auto same = std::find_if(edges.begin(), edges.end(),
                                       [&](const GrammarNode::Edge& one) { return one.first == static_cast<uint8_t>(byte); });
        node = same != edges.end() ? same->next : spell(node, {&byte, 1});
      }
      at(node).returns = true;
    }
    return open;
  }

  // ---- Arrays and objects ----------------------------------------------------------------------------------------------------

  // Counted are the commas.
  void array(uint32_t open, std::vector<uint32_t> items, uint32_t least, uint32_t most) {
    const uint32_t inside = add(), item = add(), done = add(), close = add(), next = add();
    edge(open, '[', inside);
    edge(close, ']', end_);
    if (least == 0)
      edge(inside, ']', end_);
    if (items.empty())
      return;
    call(inside, {indent_}, item);
    call(item, std::move(items), done);
    edge(done, ',', next, When::IfRoom, true);
    call(done, {indent_}, close, When::IfEnough);
    call(next, {indent_}, item);
    bound({open, inside, item, done, close, next}, least == 0 ? 0 : least - 1, most == kNoSchemaLimit ? most : most - 1);
  }

  // Behind `from`: a colon, a value, and then a node.
  uint32_t member(uint32_t from, std::vector<uint32_t> value) {
    const uint32_t colon = add(), behind = add(), done = add();
    edge(from, ':', colon);
    call(colon, {space_}, behind);
    call(behind, std::move(value), done);
    return done;
  }

  void free_object(uint32_t open, std::vector<uint32_t> values) {
    const uint32_t inside = add(), key = add(), named = add(), close = add(), next = add();
    edge(open, '{', inside);
    edge(inside, '}', end_);
    edge(close, '}', end_);
    if (values.empty())
      return;
    call(inside, {indent_}, key);
    call(key, {string(0, kNoSchemaLimit)}, named);
    const uint32_t done = member(named, std::move(values));
    edge(done, ',', next);
    call(done, {indent_}, close);
    call(next, {indent_}, key);
  }

  void object(uint32_t open, const SchemaNode& node) {
    std::vector<const SchemaNode::Property*> properties;
    for (const SchemaNode::Property& one : node.properties)
      if (schema_.nodes[one.node].possible)
        properties.push_back(&one);
    const size_t count = properties.size();
    size_t optional_from = count;  // all from here on are optional
    while (optional_from > 0 && !properties[optional_from - 1]->required)
      --optional_from;
    const uint32_t inside = add(), close = add();
    edge(open, '{', inside);
    edge(close, '}', end_);
    if (optional_from == 0)
      edge(inside, '}', end_);
    if (count == 0)
      return;
    std::vector<uint32_t> pick(count);  // one of the properties from here on comes
    for (uint32_t& one : pick)
      one = add();
    call(inside, {indent_}, pick[0]);
    for (size_t i = 0; i < count && !full_; ++i) {
      const uint32_t key = add();
      at(pick[i]).jumps = {key};
      if (!properties[i]->required && i + 1 < count)
        at(pick[i]).jumps.push_back(pick[i + 1]);
      const uint32_t done = member(spell(key, json_quote(properties[i]->name)), parts_of(properties[i]->node));
      if (i + 1 < count) {
        const uint32_t next = add();
        edge(done, ',', next);
        call(next, {indent_}, pick[i + 1]);
      }
      if (i + 1 >= optional_from)
        call(done, {indent_}, close);
    }
  }

  // Of any value: at depth 0 no array and no object.
  std::vector<uint32_t> any_parts(uint32_t depth) {
    if (any_[depth].empty()) {
      std::vector<uint32_t> parts = {string(0, kNoSchemaLimit), number(), literals({"false", "null", "true"})};
      if (depth > 0) {
        const uint32_t list = add(), map = add();
        const std::vector<uint32_t> inner = any_parts(depth - 1);
        array(list, inner, 0, kNoSchemaLimit);
        free_object(map, inner);
        parts.insert(parts.end(), {list, map});
      }
      any_[depth] = std::move(parts);
    }
    return any_[depth];
  }

  const JsonSchema& schema_;
  JsonGrammar grammar_;
  bool full_ = false;
  uint32_t end_ = 0, space_ = 0, indent_ = 0, number_ = kNone;
  std::vector<uint32_t> entries_, waiting_;
  std::map<uint32_t, std::vector<uint32_t>> parts_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> strings_;
  std::map<std::pair<int64_t, int64_t>, uint32_t> integers_;
  std::map<std::vector<std::string>, uint32_t> literals_;
  std::vector<uint32_t> any_[kMaxAnyDepth + 1];
};

}  // namespace

Result<JsonGrammar> make_json_grammar(const JsonSchema& schema) {
  return Builder(schema).build();
}

}  // namespace vl2
