#include "app/reply_numbers.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>

namespace vl2 {

namespace {

// A field is one of these two kinds; seed is neither, as any 64 bits are one.
struct WholeField {
  const char* name;
  uint32_t vl2_reply_options::*place;
};

struct RealField {
  const char* name;
  float vl2_reply_options::*place;
  double least, most;
  bool or_zero;  // 0, which is "off", is below the least
  const char* wanted;
};

constexpr std::array kWholeFields = {WholeField{"max_tokens", &vl2_reply_options::max_tokens},
                                     WholeField{"top_k", &vl2_reply_options::top_k}};

constexpr std::array kRealFields = {
    RealField{"temperature", &vl2_reply_options::temperature, 0, 100, false, "a number from 0 to 100"},
    RealField{"top_p", &vl2_reply_options::top_p, 0, 1, false, "a number from 0 to 1"},
    RealField{"min_p", &vl2_reply_options::min_p, 0, 1, false, "a number from 0 to 1"},
    RealField{"repeat_penalty", &vl2_reply_options::repeat_penalty, 0.01, 100, true, "0 or a number from 0.01 to 100"}};

constexpr float kLeastShare = 1e-30f;

std::string refusal(const std::string& shown, const std::string& wanted) {
  return "got " + shown + ", wanted " + wanted;
}

// Compared as the float that it is kept as, so that what is accepted as text is accepted as a field, too.
bool is_in_range(const RealField& field, float value) {
  return (value >= static_cast<float>(field.least) && value <= static_cast<float>(field.most)) || (field.or_zero && value == 0);
}

}  // namespace

GivenNumber number_of_text(const std::string& text) {
  GivenNumber given{.shown = text.empty() ? "nothing" : text, .value = {}, .whole = {}};
  const char *const begin = text.data(), *const end = begin + text.size();
  double value = 0;
  if (const auto [at, error] = std::from_chars(begin, end, value); error != std::errc() || at != end)
    return given;
  given.value = value;
  if (uint64_t whole = 0; std::from_chars(begin, end, whole).ptr == end && std::from_chars(begin, end, whole).ec == std::errc())
    given.whole = whole;
  else if (int64_t negative = 0;
           std::from_chars(begin, end, negative).ptr == end && std::from_chars(begin, end, negative).ec == std::errc())
    given.whole = static_cast<uint64_t>(negative);
  return given;
}

std::string set_reply_number(vl2_reply_options& options, std::string_view field, const GivenNumber& given) {
  if (field == "seed") {
    if (!given.whole)
      return refusal(given.shown, "a whole number of 64 bits");
    options.seed = *given.whole;
    return "";
  }
  for (const WholeField& known : kWholeFields)
    if (field == known.name) {
      if (!given.whole || *given.value < 0 || *given.whole > UINT32_MAX)
        return refusal(given.shown, "a whole number from 0 to 4294967295");
      options.*known.place = static_cast<uint32_t>(*given.whole);
      return "";
    }
  for (const RealField& known : kRealFields)
    if (field == known.name) {
      const auto value = static_cast<float>(given.value.value_or(NAN));
      if (!is_in_range(known, value))
        return refusal(given.shown, known.wanted);
      // Whoever says "the likeliest that sum to 0" wants the likeliest alone. In the struct, 0 is a field that nobody set.
      options.*known.place = value == 0 && field == "top_p" ? kLeastShare : value;
      return "";
    }
  assert(false);  // names are ours
  return refusal(std::string(field), "the name of a field");
}

std::string refusal_of_reply_numbers(const vl2_reply_options& options) {
  for (const RealField& known : kRealFields)
    if (const float value = options.*known.place; !is_in_range(known, value)) {
      std::array<char, 32> shown{};
      char* const end = std::to_chars(shown.data(), shown.data() + shown.size(), value).ptr;
      return std::string(known.name) + ": " +
             refusal(std::string(shown.data(), static_cast<size_t>(end - shown.data())), known.wanted);
    }
  return "";
}

}  // namespace vl2
