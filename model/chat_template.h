// The conversation template "deepseek": its control tokens, and the fixed text around what people say.
#pragma once

#include <string>
#include <string_view>

#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

/// The tokens that steer the model, by their ids in one vocabulary.
struct ControlIds {
  TokenId bos = 0, eos = 0;
  TokenId image = 0;  ///< stands once for every row of a picture
  TokenId user = 0, assistant = 0;
  TokenId ref = 0, ref_end = 0;  ///< around the words that name a thing in the picture
  TokenId det = 0, det_end = 0;  ///< around its boxes
  TokenId grounding = 0;         ///< before a question whose answer shall name boxes

  /// Looks them up by their text. Errors  NotFound: the vocabulary lacks one, by its name
  static Result<ControlIds> find(const Tokenizer& tokenizer);
};

/// The mark in a text for the place of a picture.
inline constexpr std::string_view kImageMark = "<image>";

// A user's turn is the user token, kAfterUser, the words, kBeforeAssistant, the assistant token, kAfterAssistant; an answer
// follows at once and ends with eos. Nothing stands between an eos and the next turn.
inline constexpr std::string_view kAfterUser = ": ";
inline constexpr std::string_view kBeforeAssistant = "\n\n";
inline constexpr std::string_view kAfterAssistant = ":";

/// The text without white space at its ends, white space being what Python's str.strip() removes.
std::string_view strip(std::string_view text);

/// How often kImageMark stands in the text.
size_t count_image_marks(std::string_view text);

/// The text with a mark for every picture: missing ones go in front, each followed by a newline.
///
/// Errors  BadArgument: more marks than pictures, with the numbers
Result<std::string> with_image_marks(std::string_view text, size_t picture_count);

}  // namespace vl2
