// A conversation of words and pictures becomes token ids, with the places where the pictures' rows go.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

enum class Role { System, User, Assistant };

/// One turn of a conversation.
struct Turn {
  Role role = Role::User;
  std::string text;  ///< UTF-8; kImageMark stands where a picture goes, missing marks count as standing in front
  std::vector<uint32_t> image_tokens;  ///< tokens of each picture of this turn, in order: image_token_count()
};

struct PromptOptions {
  bool bos = true;             ///< begin with bos; false to continue a conversation that is in the cache already
  uint32_t first_turn = 0;     ///< which turn of the conversation the first given one is, from 0
  bool grounding_tags = true;  ///< <|ref|>, <|/ref|> and <|grounding|> in a user's text are the tokens, not letters
};

/// A picture's place in the ids: `count` times the image token.
struct ImageRun {
  uint32_t first = 0, count = 0;
  bool operator==(const ImageRun&) const = default;
};

struct Prompt {
  std::vector<TokenId> ids;
  std::vector<ImageRun> images;  ///< ascending, in the order of the pictures
};

/// Writes the turns in the template "deepseek".
///
/// No control token in a user's or system's text is taken for one but those that options.grounding_tags names; an answer may hold
/// grounding tags. A text is encoded piece by piece between its pictures, as the official Python does, so the pieces' ids do not
/// merge across them.
///
/// turns   a system turn only first of the conversation; a user's last turn leaves the prompt at the place where the answer begins
/// Errors  BadArgument: more image marks than pictures, pictures or marks outside a user's turn, a system turn that is not first,
/// a picture
///         of 0 tokens, text that is not UTF-8; the message names the turn, counted from 1
/// Source  DeepSeek-VL2 conversation.py, template "deepseek"; processing_deepseek_vl_v2.py, format_messages_v2 and
/// tokenize_with_images
Result<Prompt> build_prompt(const Tokenizer& tokenizer, const ControlIds& control, std::span<const Turn> turns,
                            const PromptOptions& options = {});

}  // namespace vl2
