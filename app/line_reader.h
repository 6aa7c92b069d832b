// Lines of standard input, be it a terminal, a pipe or a file, until it ends or the user asks to.
#pragma once

#include <optional>
#include <string>

#include "runtime/status.h"

namespace vl2 {

/// Reads a descriptor line by line. One thread.
class LineReader {
 public:
  static constexpr size_t kMostBytes = size_t{1} << 20;  ///< of a line: more than any context holds

  explicit LineReader(int descriptor) : descriptor_(descriptor) {}

  /// The next line without its end, which at the end of the input may be missing; none at the end of the input, or as soon as
  /// interrupted(), where it is caught.
  ///
  /// Errors  IoError; BadArgument: a line of more than kMostBytes
  Result<std::optional<std::string>> next();

 private:
  int descriptor_;
  std::string buffered_;
  bool ended_ = false;
};

}  // namespace vl2
