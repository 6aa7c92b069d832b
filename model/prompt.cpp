#include "model/prompt.h"

namespace vl2 {

namespace {

class Writer {
 public:
  Writer(const Tokenizer& tokenizer, const ControlIds& control, const PromptOptions& options, Prompt& prompt)
      : tokenizer_(tokenizer), control_(control), prompt_(prompt) {
    if (options.grounding_tags)
      user_tags_ = {control.ref, control.ref_end, control.grounding};
    answer_tags_ = {control.ref, control.ref_end, control.det, control.det_end, control.grounding};
  }

  Status write(const Turn& turn, bool is_first) {
    switch (turn.role) {
      case Role::System: return write_system(turn, is_first);
      case Role::User: return write_user(turn);
      case Role::Assistant: return write_answer(turn);
    }
    return {};
  }

 private:
  Status encode(std::string_view text, std::span<const TokenId> recognised) {
    VL2_ASSIGN(const std::vector<TokenId> ids, tokenizer_.encode(text, ControlTokens::Ignore, recognised));
    prompt_.ids.insert(prompt_.ids.end(), ids.begin(), ids.end());
    return {};
  }

  static Status refuse_pictures(const Turn& turn, const char* who) {
    if (!turn.image_tokens.empty())
      return fail(Code::BadArgument, "prompt: ", turn.image_tokens.size(), " pictures in ", who,
                  " turn, wanted them in a user's");
    if (const size_t marks = count_image_marks(turn.text); marks > 0)
      return fail(Code::BadArgument, "prompt: ", marks, " marks ", kImageMark, " in ", who, " turn, wanted them in a user's");
    return {};
  }

  Status write_system(const Turn& turn, bool is_first) {
    if (!is_first)
      return fail(Code::BadArgument, "prompt: a system turn, wanted only as the first");
    VL2_TRY(refuse_pictures(turn, "a system"));
    return encode(strip(turn.text), {});
  }

  Status write_answer(const Turn& turn) {
    VL2_TRY(refuse_pictures(turn, "an assistant's"));
    VL2_TRY(encode(strip(turn.text), answer_tags_));
    prompt_.ids.push_back(control_.eos);
    return {};
  }

  Status write_picture(uint32_t token_count) {
    if (token_count == 0)
      return fail(Code::BadArgument, "prompt: picture ", prompt_.images.size() + 1, " has 0 tokens");
    prompt_.images.push_back({static_cast<uint32_t>(prompt_.ids.size()), token_count});
    prompt_.ids.insert(prompt_.ids.end(), token_count, control_.image);
    return {};
  }

  // The text between two pictures is one piece, the template's own text included.
  Status write_user(const Turn& turn) {
    VL2_ASSIGN(const std::string marked, with_image_marks(turn.text, turn.image_tokens.size()));
    std::string_view rest = strip(marked);
    prompt_.ids.push_back(control_.user);
    std::string piece(kAfterUser);
    for (const uint32_t token_count : turn.image_tokens) {
      const size_t mark = rest.find(kImageMark);
      piece.append(rest.substr(0, mark));
      VL2_TRY(encode(piece, user_tags_));
      VL2_TRY(write_picture(token_count));
      rest.remove_prefix(mark + kImageMark.size());
      piece.clear();
    }
    piece.append(rest).append(kBeforeAssistant);
    VL2_TRY(encode(piece, user_tags_));
    prompt_.ids.push_back(control_.assistant);
    return encode(kAfterAssistant, {});
  }

  const Tokenizer& tokenizer_;
  const ControlIds& control_;
  Prompt& prompt_;
  std::vector<TokenId> user_tags_, answer_tags_;
};

}  // namespace

Result<Prompt> build_prompt(const Tokenizer& tokenizer, const ControlIds& control, std::span<const Turn> turns,
                            const PromptOptions& options) {
  Prompt prompt;
  if (options.bos)
    prompt.ids.push_back(control.bos);
  Writer writer(tokenizer, control, options, prompt);
  for (size_t i = 0; i < turns.size(); ++i)
    if (const Status status = writer.write(turns[i], options.first_turn + i == 0); !status.ok())
      return fail(status.code(), "turn ", options.first_turn + i + 1, ": ", status.message());
  return prompt;
}

}  // namespace vl2
