#include "tests/support/regex_oracle.h"

#include <cstdlib>
#include <doctest/doctest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/utf8.h"

namespace vl2 {

struct RegexOracle::Code {
  pcre2_code* code = nullptr;
  pcre2_match_data* match = nullptr;

  explicit Code(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &at, nullptr);
    REQUIRE_MESSAGE(code != nullptr, "PCRE2 refuses ", pattern, " at ", at);
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    match = pcre2_match_data_create_from_pattern(code, nullptr);
  }
  ~Code() {
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  // Appends the ends of the matches in `piece` and of the gaps, moved by `base`.
  void cut(std::string_view piece, uint32_t base, std::vector<uint32_t>& ends) const {
    size_t gap = 0;
    while (gap < piece.size()) {
      const int found =
          pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(), gap, PCRE2_NO_UTF_CHECK, match, nullptr);
      if (found < 0)
        break;
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match);
      if (span[0] > gap)
        ends.push_back(base + static_cast<uint32_t>(span[0]));
      ends.push_back(base + static_cast<uint32_t>(span[1]));
      gap = span[1];
    }
    if (gap < piece.size())
      ends.push_back(base + static_cast<uint32_t>(piece.size()));
  }
};

namespace {

constexpr const char* kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string spelled_out(const std::string& pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool escape = pattern[i] == '\\' && i + 1 < pattern.size();
    if (escape && pattern[i + 1] == 's')
      out += std::string("[") + kSpaces + "]";
    else if (escape && pattern[i + 1] == 'S')
      out += std::string("[^") + kSpaces + "]";
    else
      out += pattern.substr(i, escape ? 2 : 1);
    i += escape ? 1 : 0;
  }
  return out;
}

}  // namespace

RegexOracle::RegexOracle(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns)
    codes_.push_back(std::make_unique<Code>(spelled_out(pattern)));
}

RegexOracle::~RegexOracle() = default;

std::vector<uint32_t> RegexOracle::split(std::string_view text) const {
  std::vector<uint32_t> ends, next;
  if (!text.empty())
    ends.push_back(static_cast<uint32_t>(text.size()));
  for (const auto& code : codes_) {
    next.clear();
    uint32_t begin = 0;
    for (const uint32_t end : ends) {
      code->cut(text.substr(begin, end - begin), begin, next);
      begin = end;
    }
    ends.swap(next);
  }
  return ends;
}

int RegexOracle::unicode_version() {
  char version[64] = {};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
  return std::atoi(version);
}

std::vector<bool> RegexOracle::members(const std::string& pattern) {
  const Code code(pattern);
  std::vector<bool> result(0x110000);
  for (uint32_t code_point = 0; code_point < result.size(); ++code_point) {
    if (code_point >= 0xD800 && code_point < 0xE000)
      continue;
    std::string text;
    append_utf8(text, code_point);
    result[code_point] = pcre2_match(code.code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, PCRE2_ANCHORED,
                                     code.match, nullptr) > 0;
  }
  return result;
}

}  // namespace vl2
