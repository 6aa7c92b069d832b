// The built program as a child process, and a model folder for it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/support/toy_checkpoint.h"

namespace vl2 {

/// How a child process is run.
struct ProgramOptions {
  std::map<std::string, std::string> environment;  ///< on top of this process's
  std::string input;                               ///< its standard input
  /// When its standard output holds this many bytes it gets SIGINT; 0: never.
  size_t interrupt_after_bytes = 0;
  /// Asked every 2 ms; once it says yes the process gets SIGKILL. Empty: never.
  std::function<bool()> kill_when = {};
};

inline constexpr int kTookTooLong = -1000;

struct ProgramResult {
  int exit_status = 0;  ///< minus the signal when one ended it; kTookTooLong when it was killed after three minutes
  std::string out, err;
};

/// Runs `vl2` with these arguments, with a pipeline cache that all runs of this process share.
ProgramResult run_program(const std::vector<std::string>& arguments, const ProgramOptions& options = {});

/// A folder with a whole small model that is there for as long as the process is: the toy MLA model, and a byte tokenizer whose
/// image token has the model's id. Its answers are noise.
const std::string& small_model();

/// The id of the image token of small_model(), and how many ids it has.
inline constexpr uint32_t kSmallModelImageId = 299, kSmallModelIds = 300;

/// A copy of small_model() in `folder` (its large file is a link), to be spoilt. Returns `folder`.
std::string copy_small_model(const std::string& folder);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);

}  // namespace vl2
