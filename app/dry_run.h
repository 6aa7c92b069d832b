// What a question would take, without asking it: `--dry-run` of run and ocr.
#pragma once

#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "app/image_file.h"

namespace vl2 {

/// Prints tiles and tokens of each picture, those of the prompt, and the memory that loading would take. Nothing is loaded but the
/// configuration and the tokenizer.
///
/// images  of options.images
Status print_dry_run(const RunOptions& options, const std::vector<Image>& images);

}  // namespace vl2
