// The commands and options of the program as data, and what is made of it for shells and for `man`.
#pragma once

#include <string>
#include <vector>

#include "runtime/status.h"

namespace CLI {
class App;
}

namespace vl2 {

struct OptionEntry {
  std::vector<std::string> names;  ///< "-m", "--model"; empty for what is given by its place
  std::string value;               ///< what it takes, "TEXT"; empty for a flag
  std::string description;
  std::string environment;  ///< the variable that says the same, "VL2_CTX_SIZE"; empty: none
};

struct CommandEntry {
  std::string name, description;
  std::vector<OptionEntry> options;
};

/// What --help-all shows of each command, hidden options left out; the program's own options under the name "".
std::vector<CommandEntry> command_table(const CLI::App& app);

/// A script that completes commands and options of `vl2`, and files after both.
///
/// shell   "bash", "zsh" or "fish"
/// Errors  BadArgument: another
Result<std::string> completion_script(const std::vector<CommandEntry>& table, const std::string& shell);

/// vl2(1), for man.
std::string man_page(const std::vector<CommandEntry>& table, const std::string& version);

}  // namespace vl2
