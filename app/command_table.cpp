#include "app/command_table.h"

#include <CLI/CLI.hpp>

namespace vl2 {

namespace {

std::vector<OptionEntry> options_of(const CLI::App& app) {
  std::vector<OptionEntry> entries;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty())
      continue;  // hidden
    OptionEntry entry;
    for (const std::string& name : option->get_snames())
      entry.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames())
      entry.names.push_back("--" + name);
    if (option->get_items_expected_max() > 0)
      entry.value = option->get_positional() ? option->get_name() : option->get_type_name();
    entry.description = option->get_description();
    entry.environment = option->get_envname();
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : between) + word;
  return text;
}

std::vector<std::string> all_names(const CommandEntry& command) {
  std::vector<std::string> names;
  for (const OptionEntry& option : command.options)
    names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

std::vector<std::string> command_names(const std::vector<CommandEntry>& table) {
  std::vector<std::string> names;
  for (const CommandEntry& command : table)
    if (!command.name.empty())
      names.push_back(command.name);
  return names;
}

// In single quotes: as bash and zsh have them, or as fish has them.
std::string in_quotes(const std::string& text, bool fish = false) {
  std::string out = "'";
  for (const char c : text) {
    if (fish && (c == '\'' || c == '\\'))
      out += '\\';
    out += !fish && c == '\'' ? "'\\''" : std::string(1, c);
  }
  return out + "'";
}

std::string bash_script(const std::vector<CommandEntry>& table) {
  std::string out = R"(# bash completion for vl2: source <(vl2 completion bash)
_vl2() {
  local word=${COMP_WORDS[COMP_CWORD]} words
  case ${COMP_WORDS[1]} in
)";
  std::string top;
  for (const CommandEntry& command : table) {
    const std::string names = joined(all_names(command), " ");
    if (command.name.empty())
      top = names;
    else
      out += "    " + command.name + ") words=" + in_quotes(names) + " ;;\n";
  }
  out += "    *) words='' ;;\n  esac\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    words=" +
         in_quotes(joined(command_names(table), " ") + " " + top) + R"(
  elif [[ $word != -* ]]; then
    COMPREPLY=($(compgen -f -- "$word"))
    return
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o filenames -F _vl2 vl2
)";
  return out;
}

std::string zsh_script(const std::vector<CommandEntry>& table) {
  std::string out = R"(#compdef vl2
# zsh completion for vl2: source <(vl2 completion zsh), or a file _vl2 on $fpath
_vl2() {
  local -a commands options
)";
  std::string cases;
  for (const CommandEntry& command : table) {
    std::string options;
    for (const OptionEntry& option : command.options)
      for (const std::string& name : option.names) {
        std::string text = name + ":" + option.description;  // the first colon parts them
        options += "      " + in_quotes(text) + "\n";
      }
    if (command.name.empty())
      out += "  options=(\n" + options + "  )\n";
    else
      cases += "    " + command.name + ") options=(\n" + options + "    ) ;;\n";
  }
  out += "  commands=(\n";
  for (const CommandEntry& command : table)
    if (!command.name.empty())
      out += "    " + in_quotes(command.name + ":" + command.description) + "\n";
  out +=
      "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    _describe option options\n    return\n  fi\n"
      "  case ${words[2]} in\n" +
      cases +
      "  esac\n  if [[ ${words[CURRENT]} == -* ]]; then\n    _describe option options\n  else\n    _files\n  fi\n}\n"
      "if [ \"$funcstack[1]\" = _vl2 ]; then\n  _vl2 \"$@\"\nelse\n  compdef _vl2 vl2\nfi\n";  // found on $fpath, or sourced
  return out;
}

std::string fish_script(const std::vector<CommandEntry>& table) {
  std::string out = "# fish completion for vl2: vl2 completion fish | source\n";
  for (const CommandEntry& command : table) {
    const std::string when = command.name.empty() ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + command.name;
    if (!command.name.empty())
      out +=
          "complete -c vl2 -f -n __fish_use_subcommand -a " + command.name + " -d " + in_quotes(command.description, true) + "\n";
    for (const OptionEntry& option : command.options) {
      if (option.names.empty())
        continue;
      out += "complete -c vl2 -n " + in_quotes(when, true);
      for (const std::string& name : option.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      out += std::string(option.value.empty() ? "" : " -r") + " -d " + in_quotes(option.description, true) + "\n";
    }
  }
  return out;
}

// Text for troff: no letter of it is a command.
std::string troff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

}  // namespace

std::vector<CommandEntry> command_table(const CLI::App& app) {
  std::vector<CommandEntry> table = {{"", app.get_description(), options_of(app)}};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    table.push_back({command->get_name(), command->get_description(), options_of(*command)});
  return table;
}

Result<std::string> completion_script(const std::vector<CommandEntry>& table, const std::string& shell) {
  if (shell == "bash")
    return bash_script(table);
  if (shell == "zsh")
    return zsh_script(table);
  if (shell == "fish")
    return fish_script(table);
  return fail(Code::BadArgument, "completion: got ", shell, ", wanted bash, zsh or fish");
}

std::string man_page(const std::vector<CommandEntry>& table, const std::string& version) {
  std::string out = ".TH VL2 1 \"\" \"vl2 " + version + "\"\n.SH NAME\nvl2 \\- " + troff(table.front().description) +
                    "\n.SH SYNOPSIS\n.B vl2\n.I command\n[options]\n";
  for (const CommandEntry& command : table) {
    out += command.name.empty() ? ".SH OPTIONS\n" : ".SH VL2 " + troff(command.name) + "\n" + troff(command.description) + ".\n";
    for (const OptionEntry& option : command.options) {
      const std::string names = option.names.empty() ? "" : "\\fB" + troff(joined(option.names, ", ")) + "\\fR";
      out += ".TP\n" + names + (names.empty() || option.value.empty() ? "" : " ") +
             (option.value.empty() ? "" : "\\fI" + troff(option.value) + "\\fR") + "\n" + troff(option.description) +
             (option.environment.empty() ? "" : " (" + troff(option.environment) + ")") + "\n";
    }
  }
  return out +
         ".SH ENVIRONMENT\nOptions above can also be given by the variables in brackets; the command line overrules them.\n"
         ".SH EXIT STATUS\n0 when all went well, 2 after a line on standard error that says what did not, 130 when Ctrl\\-C cut "
         "an "
         "answer short.\n";
}

}  // namespace vl2
