#include "model/pre_tokenizer.h"

#include <algorithm>

#include "model/unicode_tables.h"
#include "model/utf8.h"

namespace vl2 {

namespace {

using JsonKind = JsonValue::Kind;

constexpr std::string_view kNumbersUpToThree = R"(\p{N}{1,3})";
constexpr std::string_view kV3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTrailingSpace = R"(\s+$)";

// Files write a newline in a pattern as itself or as an escape; this makes it the escape.
std::string with_escapes(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r')
      out += "\\r";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

bool is_newline(uint32_t code_point) {
  return code_point == '\r' || code_point == '\n';
}

bool is_ascii_letter(uint32_t code_point) {
  return (code_point | 0x20) >= 'a' && (code_point | 0x20) <= 'z';
}

bool is_ascii_punctuation(uint32_t code_point) {
  return code_point > ' ' && code_point < 0x7F && !is_ascii_letter(code_point) && !(code_point >= '0' && code_point <= '9');
}

}  // namespace

bool CharSet::parse(std::string_view pattern, CharSet& set) {
  set = CharSet();
  if (pattern.size() < 3 || pattern.front() != '[' || pattern.back() != ']' || pattern[1] == '^')
    return false;
  pattern = pattern.substr(1, pattern.size() - 2);
  struct Item {
    uint32_t code_point;
    bool dash;  // an unescaped '-'
  };
  std::vector<Item> items;
  while (!pattern.empty()) {
    Utf8Step step = utf8_step(pattern);
    if (!step.valid || step.code_point == '[' || step.code_point == ']' || step.code_point == '&')
      return false;  // nested classes and intersections are not ours; '&' alone is rare enough to refuse with them
    uint32_t code_point = step.code_point;
    if (code_point == '\\') {
      pattern.remove_prefix(1);
      const char escaped = pattern.empty() ? '\0' : pattern.front();
      if (escaped == 'r')
        code_point = '\r';
      else if (escaped == 'n')
        code_point = '\n';
      else if (escaped == 't')
        code_point = '\t';
      else if (escaped != '\0' && std::string_view("\\-[]^").find(escaped) != std::string_view::npos)
        code_point = static_cast<uint8_t>(escaped);
      else
        return false;
      step.bytes = 1;
    }
    items.push_back({code_point, step.code_point == '-'});
    pattern.remove_prefix(step.bytes);
  }
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].dash)
      return false;  // at an end, or after a range: readers disagree on what it means
    const bool is_range = i + 2 < items.size() && items[i + 1].dash;
    if (is_range && (items[i + 2].dash || items[i + 2].code_point < items[i].code_point))
      return false;
    set.add(items[i].code_point, items[is_range ? i + 2 : i].code_point);
    i += is_range ? 2 : 0;
  }
  std::sort(set.ranges_.begin(), set.ranges_.end());
  std::vector<std::pair<uint32_t, uint32_t>> merged;
  for (const auto& range : set.ranges_) {
    if (!merged.empty() && range.first <= merged.back().second + 1)
      merged.back().second = std::max(merged.back().second, range.second);
    else
      merged.push_back(range);
  }
  set.ranges_ = std::move(merged);
  return true;
}

void CharSet::add(uint32_t first, uint32_t last) {
  for (uint32_t code_point = first; code_point <= last && code_point < ascii_.size(); ++code_point)
    ascii_[code_point] = true;
  if (last >= ascii_.size())
    ranges_.push_back({std::max(first, static_cast<uint32_t>(ascii_.size())), last});
}

bool CharSet::contains(uint32_t code_point) const {
  if (code_point < ascii_.size())
    return ascii_[code_point];
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), std::pair{code_point, UINT32_MAX});
  return after != ranges_.begin() && code_point <= std::prev(after)->second;
}

// A text as characters with their classes.
struct PreTokenizer::Text {
  std::vector<uint32_t> code_points;
  std::vector<uint32_t> ends;  // byte offset after each character
  std::vector<uint8_t> classes;

  explicit Text(std::string_view text) {
    const uint8_t* table = char_class_table();
    code_points.reserve(text.size());
    ends.reserve(text.size());
    classes.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      const auto byte = static_cast<uint8_t>(text[i]);
      const Utf8Step step = byte < 0x80 ? Utf8Step{.code_point = byte, .bytes = 1, .valid = true} : utf8_step(text.substr(i));
      i += step.bytes;
      code_points.push_back(step.code_point);
      ends.push_back(static_cast<uint32_t>(i));
      classes.push_back(table[step.code_point]);
    }
  }

  // The end of the run of characters from `at` that have one of these classes.
  uint32_t run_of(uint8_t wanted, uint32_t at, uint32_t end) const {
    while (at < end && (classes[at] & wanted) != 0)
      ++at;
    return at;
  }

  uint32_t run_of_newlines(uint32_t at, uint32_t end) const {
    while (at < end && is_newline(code_points[at]))
      ++at;
    return at;
  }

  // The end of a match of kV3Words at `at`, or `at`. Its alternatives, in order:
  uint32_t match_v3_words(uint32_t at, uint32_t end) const {
    constexpr uint8_t kWord = kLetter | kMark, kSign = kPunctuation | kSymbol;
    const uint32_t first = code_points[at];
    // [ASCII punctuation][A-Za-z]+
    if (is_ascii_punctuation(first) && at + 1 < end && is_ascii_letter(code_points[at + 1])) {
      uint32_t stop = at + 2;
      while (stop < end && is_ascii_letter(code_points[stop]))
        ++stop;
      return stop;
    }
    // [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ : a mark may be the optional character or the first of the run, to the same effect
    const bool may_lead = !is_newline(first) && (classes[at] & (kLetter | kSign)) == 0;
    const uint32_t word = may_lead && at + 1 < end && (classes[at + 1] & kWord) != 0 ? at + 1 : at;
    if ((classes[word] & kWord) != 0)
      return run_of(kWord, word, end);
    // " ?[\p{P}\p{S}]+[\r\n]*"
    const uint32_t sign = first == ' ' && at + 1 < end && (classes[at + 1] & kSign) != 0 ? at + 1 : at;
    if ((classes[sign] & kSign) != 0)
      return run_of_newlines(run_of(kSign, sign, end), end);
    // \s*[\r\n]+ : up to the last newline of the run of white space
    const uint32_t space_end = run_of(kSpace, at, end);
    for (uint32_t last = space_end; last > at; --last)
      if (is_newline(code_points[last - 1]))
        return last;
    // \s+(?!\S) : all of it at the end, otherwise all but the last; then \s+
    if (space_end == at || space_end == end)
      return space_end;
    return std::max(space_end - 1, at + 1);
  }
};

Result<PreTokenizer> PreTokenizer::from_json(const JsonValue& value, const std::string& where) {
  const JsonValue* list = value.find("pretokenizers");
  if (list == nullptr || !list->is(JsonKind::Array) || list->as_array().empty())
    return fail(Code::Unsupported, where, ": wanted a Sequence of pretokenizers");
  const auto type_of = [](const JsonValue& step) {
    const JsonValue* type = step.find("type");
    return type != nullptr && type->is(JsonKind::String) ? type->as_string() : std::string("(none)");
  };
  const auto is_flag = [](const JsonValue& step, const char* key, bool wanted) {
    const JsonValue* flag = step.find(key);
    return flag != nullptr && flag->is(JsonKind::Bool) && flag->as_bool() == wanted;
  };
  PreTokenizer result;
  const JsonValue::Array& steps = list->as_array();
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string type = type_of(steps[i]), here = where + "[" + std::to_string(i) + "]";
    if (type == "ByteLevel" && i + 1 == steps.size()) {
      if (!is_flag(steps[i], "add_prefix_space", false) || !is_flag(steps[i], "use_regex", false))
        return fail(Code::Unsupported, here, ": ByteLevel with add_prefix_space or use_regex, wanted both false");
      return result;
    }
    if (type == "Digits" && is_flag(steps[i], "individual_digits", true))
      result.steps_.push_back({Kind::SingleNumbers, {}});
    else if (type == "Split")
      VL2_TRY(result.add_split(steps[i], here));
    else
      return fail(Code::Unsupported, here, ": unknown step of type ", json_quote(type.substr(0, 80)),
                  ", wanted Split, Digits or a final ByteLevel");
  }
  return fail(Code::Unsupported, where, ": the last step must be ByteLevel");
}

Status PreTokenizer::add_split(const JsonValue& split, const std::string& where) {
  const JsonValue* pattern = split.find("pattern");
  const JsonValue* regex = pattern == nullptr ? nullptr : pattern->find("Regex");
  if (regex == nullptr || !regex->is(JsonKind::String))
    return fail(Code::Unsupported, where, ": Split wanted a pattern of kind Regex");
  const JsonValue* behavior = split.find("behavior");
  const JsonValue* invert = split.find("invert");
  if (behavior == nullptr || !behavior->is(JsonKind::String) || behavior->as_string() != "Isolated" ||
      (invert != nullptr && (!invert->is(JsonKind::Bool) || invert->as_bool())))
    return fail(Code::Unsupported, where, ": Split wanted behavior Isolated, not inverted");

  const std::string text = with_escapes(regex->as_string());
  const std::string_view view = text;
  const bool cuts_newlines = std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.kind == Kind::OneOfClass && step.set.contains('\n') && step.set.contains('\r');
  });
  CharSet set;
  if (view == kNumbersUpToThree)
    steps_.push_back({Kind::NumbersUpToThree, {}});
  else if (view == kV3Words)
    steps_.push_back({Kind::V3Words, {}});
  else if (view == kTrailingSpace && cuts_newlines)  // otherwise $ would also match before every newline
    steps_.push_back({Kind::TrailingSpace, {}});
  else if (CharSet::parse(view, set))
    steps_.push_back({Kind::OneOfClass, std::move(set)});
  else if (view.ends_with("+") && CharSet::parse(view.substr(0, view.size() - 1), set))
    steps_.push_back({Kind::ClassRun, std::move(set)});
  else if (view.starts_with("\\s?") && view.ends_with("+") && CharSet::parse(view.substr(3, view.size() - 4), set))
    steps_.push_back({Kind::SpaceThenClassRun, std::move(set)});
  else
    return fail(Code::Unsupported, where, ": unknown pattern ", json_quote(view.substr(0, 400)), view.size() > 400 ? "..." : "");
  return {};
}

// The end of a match at `at`, or `at` where there is none.
uint32_t PreTokenizer::match(const Step& step, const Text& text, uint32_t at, uint32_t end) {
  const auto in_set = [&](uint32_t i) { return i < end && step.set.contains(text.code_points[i]); };
  const auto set_run = [&](uint32_t i) {
    while (in_set(i))
      ++i;
    return i;
  };
  switch (step.kind) {
    case Kind::NumbersUpToThree: return text.run_of(kNumber, at, std::min(end, at + 3));
    case Kind::V3Words: return text.match_v3_words(at, end);
    case Kind::OneOfClass: return in_set(at) ? at + 1 : at;
    case Kind::ClassRun: return set_run(at);
    case Kind::SpaceThenClassRun: {
      const bool leads = (text.classes[at] & kSpace) != 0 && in_set(at + 1);
      return set_run(leads ? at + 1 : at);
    }
    case Kind::SingleNumbers: return text.run_of(kNumber | kLaterNumber, at, std::min(end, at + 1));
    case Kind::TrailingSpace: break;  // cut() looks from the end instead, to stay linear
  }
  return at;
}

// Appends the ends of the matches in [begin, end) and of the gaps between them.
void PreTokenizer::cut(const Step& step, const Text& text, uint32_t begin, uint32_t end, std::vector<uint32_t>& ends) {
  if (step.kind == Kind::TrailingSpace) {
    uint32_t space = end;
    while (space > begin && (text.classes[space - 1] & kSpace) != 0)
      --space;
    if (space > begin && space < end)
      ends.push_back(space);
    ends.push_back(end);
    return;
  }
  uint32_t gap = begin;
  for (uint32_t at = begin; at < end;) {
    const uint32_t stop = match(step, text, at, end);
    if (stop == at) {
      ++at;
      continue;
    }
    if (gap < at)
      ends.push_back(at);
    ends.push_back(stop);
    gap = at = stop;
  }
  if (gap < end)
    ends.push_back(end);
}

std::vector<uint32_t> PreTokenizer::split(std::string_view text) const {
  if (text.empty())
    return {};
  const Text characters(text);
  std::vector<uint32_t> ends{static_cast<uint32_t>(characters.code_points.size())}, next;
  for (const Step& step : steps_) {
    next.clear();
    uint32_t begin = 0;
    for (const uint32_t end : ends) {
      cut(step, characters, begin, end, next);
      begin = end;
    }
    ends.swap(next);
  }
  for (uint32_t& end : ends)
    end = characters.ends[end - 1];
  return ends;
}

}  // namespace vl2
