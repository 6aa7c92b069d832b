// A child process of the tests' own rather than app/batch/child_process: what tests say of the program must not come through a part of it (an
// exit status that it gets wrong would be wrong on both sides), and that one is made for the opposite: bounded output, 4 KiB of errors, no
// input, C locale, a process group that Ctrl-C does not reach.
#include "tests/support/program.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "tests/support/paths.h"
#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

namespace fs = std::filesystem;

const TemporaryFolder& shared_folder() {
  static const TemporaryFolder folder;
  return folder;
}

std::vector<std::string> environment_strings(const std::map<std::string, std::string>& extra) {
  std::vector<std::string> strings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (extra.count(text.substr(0, text.find('='))) == 0)
      strings.push_back(text);
  }
  for (const auto& [name, value] : extra)
    strings.push_back(name + "=" + value);
  return strings;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& text : strings)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

int wait_for(pid_t child, const std::string& out_path, const ProgramOptions& options) {
  constexpr auto kLimit = std::chrono::minutes(3);  // the slowest takes seconds, and minutes with sanitizers on a busy machine
  const auto start = std::chrono::steady_clock::now();
  bool interrupted = false;
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(child, &status, WNOHANG);
    REQUIRE((got >= 0 || errno == EINTR));
    if (got == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    std::error_code error;
    if (options.interrupt_after_bytes > 0 && !interrupted && fs::file_size(out_path, error) >= options.interrupt_after_bytes &&
        !error)
      interrupted = ::kill(child, SIGINT) == 0;
    if (options.kill_when && options.kill_when())
      ::kill(child, SIGKILL);
    if (std::chrono::steady_clock::now() - start > kLimit) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return kTookTooLong;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

std::string make_small_model() {
  const std::string folder = shared_folder() / "model";
  write_toy_model(folder, source_dir() + "/tests/golden/mla_softmax");
  std::vector<std::string> added = {"<｜begin▁of▁sentence｜>",
                                    "<｜end▁of▁sentence｜>",
                                    "<|User|>",
                                    "<|Assistant|>",
                                    "<|ref|>",
                                    "<|/ref|>",
                                    "<|det|>",
                                    "<|/det|>",
                                    "<|grounding|>"};
  while (256 + added.size() < kSmallModelImageId)
    added.push_back("<unused " + std::to_string(added.size()) + ">");
  added.push_back("<image>");
  write_file(folder + "/tokenizer.json", small_tokenizer_json(v3_pre_tokenizer(), {}, added));
  return folder;
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  REQUIRE_MESSAGE(file.flush().good(), path);
}

ProgramResult run_program(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  const TemporaryFolder folder;
  const std::string in_path = folder / "in", out_path = folder / "out", err_path = folder / "err";
  write_file(in_path, options.input);
  write_file(out_path, "");

  std::map<std::string, std::string> extra = {{"VL2_CACHE_DIR", shared_folder() / "cache"}};
  for (const auto& [name, value] : options.environment)
    extra[name] = value;
  std::vector<std::string> environment = environment_strings(extra), words = {program_path()};
  words.insert(words.end(), arguments.begin(), arguments.end());

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, in_path.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t child = 0;
  const int spawned =
      ::posix_spawn(&child, words[0].c_str(), &files, nullptr, pointers(words).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  REQUIRE_MESSAGE(spawned == 0, words[0] << ": " << std::strerror(spawned));

  ProgramResult result;
  result.exit_status = wait_for(child, out_path, options);
  result.out = read_file(out_path);
  result.err = read_file(err_path);
  return result;
}

const std::string& small_model() {
  static const std::string folder = make_small_model();
  return folder;
}

std::string copy_small_model(const std::string& folder) {
  fs::create_directories(folder);
  for (const char* name : {"config.json", "tokenizer.json"})
    fs::copy_file(small_model() + "/" + name, folder + "/" + name, fs::copy_options::overwrite_existing);
  fs::remove(folder + "/model.safetensors");
  fs::create_symlink(small_model() + "/model.safetensors", folder + "/model.safetensors");
  return folder;
}

}  // namespace vl2
