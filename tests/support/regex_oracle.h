// Splitting by regular expressions with PCRE2: an oracle for the hand-written pre-tokenizers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vl2 {

/// Applies expressions one after the other, each inside the pieces of those before it; matches and the gaps between them become
/// pieces.
class RegexOracle {
 public:
  /// Patterns as the tokenizer files write them. \s and \S are spelled out, since PCRE2's take in one character more than
  /// Unicode's.
  explicit RegexOracle(const std::vector<std::string>& patterns);
  ~RegexOracle();

  /// The end of every piece, as byte offsets.
  std::vector<uint32_t> split(std::string_view text) const;

  /// The major version of Unicode that PCRE2 was built with.
  static int unicode_version();

  /// For every code point, whether `pattern` (one character class) matches it; surrogates do not.
  static std::vector<bool> members(const std::string& pattern);

 private:
  struct Code;
  std::vector<std::unique_ptr<Code>> codes_;
};

}  // namespace vl2
