// Cuts text into the pieces that byte-pair encoding may not cross: the `pre_tokenizer` of tokenizer.json.
//
// Design: the regular expressions of the two families are recognised by their text and run as hand-written matchers over a table
// of character classes. That is linear in the text where a backtracking engine is not, needs no library at run time, and an
// expression that nobody has seen is refused instead of being half understood. Explicit character classes, [...], are read from
// the file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/json_document.h"
#include "runtime/status.h"

namespace vl2 {

/// A set of characters, from an explicit class such as [A-Za-z].
class CharSet {
 public:
  /// Parses characters, ranges, and the escapes \r \n \t \\ \- \[ \] \^ between brackets. False for anything else.
  static bool parse(std::string_view pattern, CharSet& set);

  bool contains(uint32_t code_point) const;

 private:
  void add(uint32_t first, uint32_t last);

  std::array<bool, 128> ascii_{};
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;  // beyond ASCII: sorted, apart
};

/// The steps of one tokenizer file.
class PreTokenizer {
 public:
  /// Reads the `pre_tokenizer` value: a Sequence of isolating Splits and Digits, then ByteLevel without a regular expression of
  /// its own.
  ///
  /// Known expressions: \p{N}{1,3}, the words of the V3 family, [class], [class]+, \s?[class]+, and \s+$ after newlines are cut
  /// out. Errors  BadFile: malformed; Unsupported: an unknown step, its pattern shown
  static Result<PreTokenizer> from_json(const JsonValue& value, const std::string& where);

  /// The end of every piece, as byte offsets: increasing, the last one text.size(). None for an empty text.
  ///
  /// text    valid UTF-8, less than 4 GiB
  /// Cost    linear in the text. Threads: any
  std::vector<uint32_t> split(std::string_view text) const;

 private:
  enum class Kind { NumbersUpToThree, V3Words, OneOfClass, ClassRun, SpaceThenClassRun, TrailingSpace, SingleNumbers };
  struct Step {
    Kind kind;
    CharSet set;  // of the kinds with Class
  };
  struct Text;

  Status add_split(const JsonValue& split, const std::string& where);
  static uint32_t match(const Step& step, const Text& text, uint32_t at, uint32_t end);
  static void cut(const Step& step, const Text& text, uint32_t begin, uint32_t end, std::vector<uint32_t>& ends);

  std::vector<Step> steps_;
};

}  // namespace vl2
