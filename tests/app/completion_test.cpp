// Shell completion and the man page against what --help shows.
#include <array>
#include <cstdio>
#include <doctest/doctest.h>
#include <regex>
#include <set>

#include "app/command_table.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;

namespace {

using Words = std::vector<std::string>;

std::string printed(const Words& arguments) {
  const ProgramResult result = run_program(arguments);
  CHECK(result.exit_status == 0);
  CHECK_MESSAGE(result.err.empty(), result.err);
  return result.out;
}

std::string of_shell(const std::string& command) {
  std::string out;
  FILE* const pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> bytes;
  while (const size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe))
    out.append(bytes.data(), got);
  CHECK(::pclose(pipe) == 0);
  return out;
}

// The options that a help text explains: those at the beginning of its lines.
std::set<std::string> options_in(const std::string& help) {
  std::set<std::string> names;
  static const std::regex line("\n  (-[^ ]*)"), name("--?[a-zA-Z][a-z0-9-]*");
  for (auto at = std::sregex_iterator(help.begin(), help.end(), line); at != std::sregex_iterator(); ++at) {
    const std::string listed = (*at)[1];
    for (auto one = std::sregex_iterator(listed.begin(), listed.end(), name); one != std::sregex_iterator(); ++one)
      names.insert(one->str());
  }
  return names;
}

// The commands that `vl2 --help` lists.
Words commands_in(const std::string& help) {
  Words names;
  static const std::regex line("\n  ([a-z]+) ");
  const std::string list = help.substr(help.find("\nSubcommands:"));
  for (auto at = std::sregex_iterator(list.begin(), list.end(), line); at != std::sregex_iterator(); ++at)
    names.push_back((*at)[1]);
  return names;
}

std::string between(const std::string& text, const std::string& first, const std::string& end) {
  const size_t at = text.find(first);
  REQUIRE_MESSAGE(at != std::string::npos, first);
  return text.substr(at, text.find(end, at + first.size()) - at);
}

// A manual page without what says how it looks: fonts, and the marks of its hyphens.
std::string plain(const std::string& page) {
  static const std::regex marks(R"(\\f[BIR]|\\)");
  return std::regex_replace(page, marks, "");
}

bool has_word(const std::string& text, const std::string& word) {
  static const std::string kOfWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const bool begins = at == 0 || kOfWord.find(text[at - 1]) == std::string::npos;
    const size_t end = at + word.size();
    if (begins && (end == text.size() || kOfWord.find(text[end]) == std::string::npos))
      return true;
  }
  return false;
}

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("vl2 completion, vl2 man: every command and option of --help is in them, under its command") {
    const std::string bash = printed({"completion", "bash"}), zsh = printed({"completion", "zsh"}),
                      fish = printed({"completion", "fish"}), man = plain(printed({"man"})) + ".SH VL2 ";
    const Words commands = commands_in(printed({"--help"}));
    REQUIRE(commands.size() > 15);
    size_t options = 0;
    for (const std::string& command : commands) {
      CAPTURE(command);
      const std::string in_bash = between(bash, "    " + command + ") ", ";;"),
                        in_zsh = between(zsh, "    " + command + ") ", ";;"),
                        in_man = between(man, ".SH VL2 " + command + "\n", ".SH ");
      CHECK(has_word(between(bash, "-eq 1", "\n  elif"), command));
      CHECK(zsh.find("    '" + command + ":") != std::string::npos);
      CHECK(fish.find(" -a " + command + " -d ") != std::string::npos);
      for (const std::string& option : options_in(printed({command, "--help"}))) {
        CAPTURE(option);
        ++options;
        CHECK(has_word(in_bash, option));
        CHECK(in_zsh.find("'" + option + ":") != std::string::npos);
        CHECK(has_word(in_man, option));
        const std::string flag = option.starts_with("--") ? " -l " + option.substr(2) : " -s " + option.substr(1);
        const std::string condition = "'__fish_seen_subcommand_from " + command + "'";
        bool found = false;
        for (size_t at = fish.find(condition); at != std::string::npos; at = fish.find(condition, at + 1))
          found = found || (fish.substr(at, fish.find('\n', at) - at) + " ").find(flag + " ") != std::string::npos;
        CHECK(found);
      }
    }
    CHECK(options > 100);
    CHECK(bash.find("start-probe") == std::string::npos);  // hidden is hidden
  }

  TEST_CASE("vl2 completion: bash takes the script, and completes by it") {
    const TemporaryFolder folder;
    write_file(folder / "vl2.bash", printed({"completion", "bash"}));
    const auto completed = [&](const std::string& words, int index) {
      return of_shell("bash -c 'source " + (folder / "vl2.bash") + "; COMP_WORDS=(" + words +
                      "); COMP_CWORD=" + std::to_string(index) + "; _vl2; echo \"${COMPREPLY[*]}\"'");
    };
    CHECK(completed("vl2 cha", 1) == "chat\n");
    CHECK(completed("vl2 run --te", 2) == "--temp\n");
    CHECK(completed("vl2 ground --al", 2) == "--all\n");
    CHECK(completed("vl2 serve --temp", 2) == "\n");
    write_file(folder / "picture.png", "");
    CHECK(completed("vl2 run --image " + (folder / "pict"), 3) == (folder / "picture.png") + "\n");
    const ProgramResult other = run_program({"completion", "tcsh"});
    CHECK(other.exit_status == 2);
    CHECK(other.err == "vl2: completion: got tcsh, wanted bash, zsh or fish\n");
  }
}
