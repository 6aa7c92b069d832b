// What questions would take, without asking them: `--dry-run`. Nothing is loaded but the configuration and the tokenizer.
#pragma once

#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "app/image_file.h"
#include "app/vl2.h"

namespace vl2 {

/// Prints tiles and tokens of each picture, those of the prompt, and the memory that loading would take.
///
/// images  of options.images
Status print_dry_run(const RunOptions& options, const std::vector<Image>& images);

/// The same of a conversation before its first message.
Status print_dry_run(const ChatOptions& options);

// ---- Parts of it ----

/// pictures  of the conversation, this one included
Result<vl2_picture_plan> plan_picture(const vl2_model* model, const Image& image, size_t pictures);

/// Tokens of a first message with these pictures.
Result<uint32_t> count_prompt(const vl2_model* model, const std::string& prompt, const std::vector<vl2_picture_plan>& pictures);

/// "a.png: 640 x 480, canvas 768 x 768, tiles 2 x 2, 1037 tokens", without an end.
void print_picture(const std::string& title, const Image& image, const vl2_picture_plan& plan);

/// A line, or two where experts are in host memory.
void print_memory(const vl2_plan& memory);

}  // namespace vl2
