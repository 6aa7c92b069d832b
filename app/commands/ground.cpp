// `vl2 ground`: the boxes of a thing in a picture.
#include "app/commands/commands.h"

namespace vl2 {

Result<std::string> grounding_prompt(const std::string& what, bool all) {
  const size_t first = what.find_first_not_of(" \t");
  if (first == std::string::npos)
    return fail(Code::BadArgument, "ground: wanted words for the thing to find, got none");
  for (const char* mark : {"<|", "<image>", "\n", "\r"})
    if (what.find(mark) != std::string::npos)
      return fail(Code::BadArgument, "ground: wanted a line of words for the thing to find, got tags or several lines: ", what);
  const std::string words = what.substr(first, what.find_last_not_of(" \t") + 1 - first);
  return all ? "Find all the <|ref|>" + words + "<|/ref|>" : "<|ref|>" + words + "<|/ref|>.";
}

Status ground_command(const GroundOptions& options) {
  RunOptions run = options.run;
  VL2_ASSIGN(run.prompt, grounding_prompt(options.what, options.all));
  run.probabilities = true;
  run.list_boxes = !run.json;
  return run_command(run);
}

}  // namespace vl2
