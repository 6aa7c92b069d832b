#include "model/chat_template.h"

#include <utility>

#include "model/unicode_tables.h"
#include "model/utf8.h"

namespace vl2 {

namespace {

// White_Space, and the four separators that Python counts as white space besides.
bool is_python_space(uint32_t code_point) {
  return (char_class_table()[code_point] & kSpace) != 0 || (code_point >= 0x1C && code_point <= 0x1F);
}

bool is_continuation(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

}  // namespace

Result<ControlIds> ControlIds::find(const Tokenizer& tokenizer) {
  ControlIds ids;
  const std::pair<const char*, TokenId*> wanted[] = {
      {"<｜begin▁of▁sentence｜>", &ids.bos},  // these two with full-width bars, the others with ASCII's
      {"<｜end▁of▁sentence｜>", &ids.eos},
      {"<image>", &ids.image},
      {"<|User|>", &ids.user},
      {"<|Assistant|>", &ids.assistant},
      {"<|ref|>", &ids.ref},
      {"<|/ref|>", &ids.ref_end},
      {"<|det|>", &ids.det},
      {"<|/det|>", &ids.det_end},
      {"<|grounding|>", &ids.grounding},
  };
  for (const auto& [content, target] : wanted) {
    const auto id = tokenizer.find_added_token(content);
    if (!id)
      return fail(Code::NotFound, "tokenizer.json: added_tokens has no ", content, ", which a DeepSeek-VL2 vocabulary has");
    *target = *id;
  }
  return ids;
}

std::string_view strip(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (!step.valid || !is_python_space(step.code_point))
      break;
    text.remove_prefix(step.bytes);
  }
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && is_continuation(text[last]))
      --last;
    const Utf8Step step = utf8_step(text.substr(last));
    if (!step.valid || step.bytes != text.size() - last || !is_python_space(step.code_point))
      break;
    text.remove_suffix(step.bytes);
  }
  return text;
}

size_t count_image_marks(std::string_view text) {
  size_t count = 0;
  for (size_t at = text.find(kImageMark); at != std::string_view::npos; at = text.find(kImageMark, at + kImageMark.size()))
    ++count;
  return count;
}

Result<std::string> with_image_marks(std::string_view text, size_t picture_count) {
  const size_t marks = count_image_marks(text);
  if (marks > picture_count)
    return fail(Code::BadArgument, "prompt: the text has ", marks, " marks ", kImageMark, ", and ", picture_count,
                picture_count == 1 ? " picture is given" : " pictures are given");
  std::string out;
  for (size_t i = marks; i < picture_count; ++i)
    out.append(kImageMark).append("\n");
  return out.append(text);
}

}  // namespace vl2
