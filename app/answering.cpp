#include "app/answering.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/annotate.h"
#include "app/interrupt.h"

namespace vl2 {

namespace {

int show_reading(void* user, vl2_phase phase, uint64_t done, uint64_t total) {
  auto* const progress = static_cast<Progress*>(user);
  if (progress == nullptr)
    return interrupted() ? 1 : 0;
  if (phase == VL2_PHASE_ENCODE)
    progress->step("encoding picture " + std::to_string(done + 1) + " of " + std::to_string(total));
  else if (done == 0)
    progress->step("reading " + std::to_string(total) + " tokens");
  return interrupted() ? 1 : 0;
}

// Tokens of a picture in a conversation of so many; 0 where it cannot be shown, which is said elsewhere.
uint32_t tokens_of(const vl2_model* model, const vl2_picture& size, size_t pictures) {
  vl2_picture_plan plan{};
  plan.struct_size = sizeof(plan);
  const auto count = static_cast<uint32_t>(pictures);
  return vl2_model_plan_picture(model, size.width, size.height, count, &plan) == VL2_OK ? plan.tokens : 0;
}

}  // namespace

vl2_reply_options reply_options_of(const AnswerOptions& options, Progress* progress) {
  vl2_reply_options reply = options.reply;
  reply.flags = options.no_loop_guard ? 0u : static_cast<uint32_t>(VL2_REPLY_LOOP_GUARD);
  reply.progress = show_reading;
  reply.progress_user = progress;
  return reply;
}

Status stream_answer(vl2_session* session, bool print) {
  vl2_piece piece{};
  piece.struct_size = sizeof(piece);
  for (;;) {
    const vl2_status status = vl2_session_next(session, &piece);
    VL2_TRY(status_of_call(status));
    if (status == VL2_END)
      return {};
    if (print && piece.text_bytes > 0) {
      std::fwrite(piece.text, 1, piece.text_bytes, stdout);
      std::fflush(stdout);
    }
    if (interrupted())
      VL2_TRY(status_of_call(vl2_session_end(session)));
  }
}

std::string loop_warning(const vl2_reply& reply) {
  if (reply.stop_reason != VL2_STOP_LOOP)
    return "";
  return "the answer repeats itself and was ended after " + std::to_string(reply.answer_tokens) +
         " tokens; with --no-loop-guard it goes on";
}

Result<std::vector<vl2_box>> boxes_of(vl2_session* session) {
  std::vector<vl2_box> boxes(vl2_session_box_count(session));
  for (uint32_t i = 0; i < boxes.size(); ++i) {
    boxes[i].struct_size = sizeof(vl2_box);
    VL2_TRY(status_of_call(vl2_session_get_box(session, i, &boxes[i])));
  }
  return boxes;
}

std::string box_line(const vl2_box& box) {
  std::string line = std::string(box.label) + "  [" + std::to_string(box.left) + ", " + std::to_string(box.top) + ", " +
                     std::to_string(box.right) + ", " + std::to_string(box.bottom) + "]";
  if (box.probability < 0)
    return line;
  const double percent = 100 * static_cast<double>(box.probability);
  char text[32];  // of all four numbers together: often a few percent, and less for a small model
  std::snprintf(text, sizeof(text), percent < 10 ? "  %.2g %%" : "  %.0f %%", percent);
  return line + text;
}

nlohmann::json boxes_json(std::span<const vl2_box> boxes) {
  nlohmann::json list = nlohmann::json::array();
  for (const vl2_box& box : boxes) {
    list.push_back({{"label", box.label}, {"box", box.thousandths}, {"pixels", {box.left, box.top, box.right, box.bottom}}});
    if (box.probability >= 0)
      list.back()["probability"] = box.probability;
  }
  return list;
}

Status write_annotated(std::span<const vl2_box> boxes, Image& image, const std::string& path) {
  std::vector<LabelledBox> drawn;
  for (const vl2_box& box : boxes)
    drawn.push_back({box.label, static_cast<int32_t>(box.left), static_cast<int32_t>(box.top), static_cast<int32_t>(box.right),
                     static_cast<int32_t>(box.bottom)});
  draw_boxes(image, drawn);
  return write_png(path, image);
}

std::string lost_tiles_warning(const vl2_model* model, std::span<const vl2_picture> sizes, size_t added) {
  const size_t count = sizes.size(), before = count - added;
  if (count <= VL2_MAX_TILED_PICTURES || before > VL2_MAX_TILED_PICTURES)
    return "";
  uint32_t with_tiles = 0, without = 0;
  for (const vl2_picture& size : sizes) {
    with_tiles += tokens_of(model, size, 1);
    without += tokens_of(model, size, count);
  }
  if (with_tiles == without)
    return "";
  return std::to_string(count) + " pictures in one conversation: none is cut into tiles any more, which takes " +
         std::to_string(without) + " tokens instead of " + std::to_string(with_tiles) + ", and small things cannot be read";
}

std::string small_text_warning(const vl2_model* model, const Image& image, size_t pictures) {
  vl2_small_text text{};
  text.struct_size = sizeof(text);
  const auto count = static_cast<uint32_t>(pictures);
  if (vl2_model_find_small_text(model, image.rgb.data(), image.width, image.height, count, &text) != VL2_OK || text.letters == 0)
    return "";
  char line[160];
  std::snprintf(
      line, sizeof(line),
      "about %u letters of %.0f pixels are %.1f after the resize, and under %d is hard to read: show a part of the picture",
      text.letters, static_cast<double>(text.size), static_cast<double>(text.resized_size), VL2_LEAST_TEXT_PIXELS);
  return line;
}

void print_warning(const std::string& text) {
  std::string line = text;  // what a model says may hold anything
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  std::fprintf(stderr, "vl2: warning: %s\n", line.c_str());
}

}  // namespace vl2
