// What the commands that ask a model share: options, pieces to standard output, boxes as lines, JSON and pictures.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "app/image_file.h"
#include "app/progress.h"
#include "app/vl2_handles.h"

namespace vl2 {

/// The options as the C API has them, with progress shown on `progress`, which outlives the call that they are for; null: none.
/// Ctrl-C, where it is caught, cancels the reading of the prompt.
vl2_reply_options reply_options_of(const AnswerOptions& options, Progress* progress);

/// Gives the answer that was started piece by piece, printed as it comes if `print`. Ctrl-C ends it.
Status stream_answer(vl2_session* session, bool print);

/// A line that says that the answer was ended because it repeats itself; empty when it was not.
std::string loop_warning(const vl2_reply& reply);

/// The boxes of the answer; their labels as long as the C API says.
Result<std::vector<vl2_box>> boxes_of(vl2_session* session);

/// "the red car  [12, 40, 300, 221]  97 %": left, top, right and bottom in pixels; the share where there is a probability.
std::string box_line(const vl2_box& box);

/// [{"label", "box": thousandths, "pixels", "probability" where there is one}]
nlohmann::json boxes_json(std::span<const vl2_box> boxes);

/// Writes the picture with the boxes drawn on it.
Status write_annotated(std::span<const vl2_box> boxes, Image& image, const std::string& path);

/// A line that says that pictures lose their tiles, as one of `sizes` is more than are tiled; empty when nothing is lost.
///
/// sizes  of all pictures of the conversation
/// added  how many of them, the last ones, are new
std::string lost_tiles_warning(const vl2_model* model, std::span<const vl2_picture> sizes, size_t added);

/// A line that says that text of the picture gets too small to be read by the resize; empty when none does.
///
/// pictures  of the conversation, this one included
std::string small_text_warning(const vl2_model* model, const Image& image, size_t pictures);

/// A line on standard error: "vl2: warning: ...".
void print_warning(const std::string& text);

}  // namespace vl2
