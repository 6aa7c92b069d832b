// Shell completion and the man page against what --help shows.
#include <algorithm>
#include <array>
#include <cstdio>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
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
  TEST_CASE("vl2 run: options from the environment, overruled by the command line; llama.cpp's without effect") {
    const std::string pico = source_dir() + "/app/demo/pico";
    const auto run = [&](const Words& more, const std::map<std::string, std::string>& environment) {
      Words words = {"run", "-p", "Hello", "--dry-run", "--json"};
      words.insert(words.end(), more.begin(), more.end());
      return run_program(words, {.environment = environment});
    };
    const ProgramResult given = run({"-m", pico, "-c", "700"}, {});
    REQUIRE_MESSAGE(given.exit_status == 0, given.err);
    const ProgramResult twin = run({}, {{"VL2_MODEL", pico}, {"VL2_CTX_SIZE", "700"}});
    const auto plan = [](const ProgramResult& result) {
      auto all = nlohmann::json::parse(result.out);
      all.erase("available_bytes");  // what others leave
      return all;
    };
    CHECK(plan(twin) == plan(given));
    CHECK(given.out.find("\"context_tokens\": 700") != std::string::npos);
    CHECK(run({"-c", "700"}, {{"VL2_MODEL", pico}, {"VL2_CTX_SIZE", "800"}}).exit_status == 0);
    CHECK(plan(run({"-c", "700"}, {{"VL2_MODEL", pico}, {"VL2_CTX_SIZE", "800"}})) == plan(given));
    CHECK(run({}, {{"VL2_MODEL", pico}, {"VL2_CTX_SIZE", "many"}}).exit_status == 2);
    const ProgramResult llama = run({"-m", pico, "-c", "700", "-ngl", "99", "--mmproj", "eyes.gguf"}, {});
    CHECK(llama.exit_status == 0);
    CHECK(plan(llama) == plan(given));
    CHECK(llama.err.find("note: -ngl has no effect") != std::string::npos);
    CHECK(llama.err.find("note: --mmproj has no effect") != std::string::npos);
    CHECK(run({"-m", pico, "-ngl", "99", "-q"}, {}).err.empty());
  }

  TEST_CASE("vl2 run, vl2 chat --dry-run: tiles and tokens are those of the answer, and nothing is loaded") {
    const std::string pico = source_dir() + "/app/demo/pico", picture = source_dir() + "/app/demo/pictures/receipt.png";
    const Words words = {"run", "-m", pico,    "--image", picture, "--image", picture, "-p", "What is the <image>total?",
                         "-n",  "1",  "--json"};
    const auto answer = nlohmann::json::parse(printed(words));
    Words dry = words;
    dry.push_back("--dry-run");
    const auto plan = nlohmann::json::parse(printed(dry));
    CHECK(plan["prompt_tokens"] == answer["prompt_tokens"]);
    REQUIRE(plan["pictures"].size() == 2);
    CHECK(plan["pictures"][0]["tokens"] == 421);
    CHECK(plan["pictures"][1]["tiles"] == nlohmann::json{1, 1});
    CHECK(plan["fits"] == true);
    CHECK(plan["needed_bytes"].get<uint64_t>() ==
          plan["weight_bytes"].get<uint64_t>() + plan["cache_bytes"].get<uint64_t>() + plan["working_bytes"].get<uint64_t>());
    CHECK(printed({"ocr", "-m", pico, "--image", picture, "--dry-run"}).find("tiles 1 x 1, 421 tokens\nprompt: ") !=
          std::string::npos);
    CHECK(run_program({"run", "-m", pico, "--image", "/nowhere.png", "-p", "What?", "--dry-run"}).exit_status == 2);
    const std::string chat = printed({"chat", "-m", pico, "--image", picture, "--image", picture, "--dry-run"});
    CHECK(chat.find(picture + ": 308 x 384, canvas ") == 0);
    CHECK(chat.find(" tokens of a context of ") != std::string::npos);
    CHECK(chat.find("\nmemory: ") != std::string::npos);
    CHECK(run_program({"chat", "-m", pico, "--session", "/tmp/none", "--dry-run"}).exit_status == 2);
  }

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
      const std::string help = printed({command, "--help"}), all = printed({command, "--help-all"});
      const std::set<std::string> shown = options_in(help), known = options_in(all);
      CHECK(std::includes(known.begin(), known.end(), shown.begin(), shown.end()));
      CHECK(std::count(help.begin(), help.end(), '\n') < 70);  // a screen or two
      CHECK(shown.size() <= 45);
      CHECK((shown.size() < known.size()) == (help.find("--help-all shows more options.") != std::string::npos));
      for (const std::string& option : known) {
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
    CHECK(options_in(printed({"run", "--help"})).count("--mmproj") == 0);
    CHECK(options_in(printed({"run", "--help-all"})).count("--mmproj") == 1);
    CHECK(man.find("(VL2_CTX_SIZE)") != std::string::npos);
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
