#include "app/batch/child_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <spawn.h>
#include <sstream>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace vl2::batch {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLookAgainMs = 50;  // whether to stop
constexpr size_t kErrBytes = 4096;

// Closed in every other child, too, so that none keeps it open.
struct Pipe {
  int read = -1, write = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(read);
    close_end(write);
  }
  bool open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      return false;
    read = ends[0], write = ends[1];
    return true;
  }
  static void close_end(int& end) {
    if (end >= 0)
      ::close(end);
    end = -1;
  }
};

std::vector<std::string> environment_in_c_locale() {
  std::vector<std::string> strings = {"LC_ALL=C"};
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!std::string_view(*entry).starts_with("LC_ALL="))
      strings.emplace_back(*entry);
  return strings;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& text : strings)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

Result<pid_t> start(std::vector<std::string> words, const Pipe& out, const Pipe& err) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err.write, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::vector<std::string> environment = environment_in_c_locale();
  pid_t child = 0;
  const int problem =
      ::posix_spawnp(&child, words[0].c_str(), &files, &attributes, pointers(words).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (problem == ENOENT)
    return fail(Code::NotFound, words[0], ": no such program");
  if (problem != 0)
    return fail(Code::IoError, words[0], ": cannot be started: ", std::strerror(problem));
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Reads what there is; closes the end of a pipe that nobody writes to any more. What is beyond `most` is dropped unless it is an
// error to have it: the caller looks at the size.
void drain(int& end, std::string& text, size_t most) {
  std::array<char, 65536> piece{};
  const ssize_t got = ::read(end, piece.data(), piece.size());
  if (got > 0)
    text.append(piece.data(), std::min(static_cast<size_t>(got), most - std::min(most, text.size())));
  else if (got == 0 || errno != EINTR)
    Pipe::close_end(end);
}

}  // namespace

bool find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string file = (folder.empty() ? "." : folder) + "/" + name;
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0)
      return true;
  }
  return false;
}

Result<ChildOutput> run_child(const std::vector<std::string>& words, const ChildLimits& limits,
                              const std::function<bool()>& stop) {
  Pipe out, err;
  if (!out.open() || !err.open())
    return fail(Code::IoError, words[0], ": cannot be started: ", std::strerror(errno));
  VL2_ASSIGN(const pid_t child, start(words, out, err));
  Pipe::close_end(out.write);
  Pipe::close_end(err.write);

  ChildOutput result;
  Status problem;
  const auto deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  while (problem.ok() && (out.read >= 0 || err.read >= 0)) {
    std::array<pollfd, 2> ends = {{{out.read, POLLIN, 0}, {err.read, POLLIN, 0}}};  // a closed one is -1, which poll leaves out
    ::poll(ends.data(), ends.size(), kLookAgainMs);
    if (ends[0].revents != 0)
      drain(out.read, result.out, limits.out_bytes + 1);
    if (ends[1].revents != 0)
      drain(err.read, result.err, kErrBytes);
    if (stop())
      problem = fail(Code::Cancelled, words[0], ": stopped");
    else if (result.out.size() > limits.out_bytes)
      problem = fail(Code::IoError, words[0], ": printed more than ", limits.out_bytes, " bytes");
    else if (Clock::now() > deadline)
      problem = fail(Code::IoError, words[0], ": took longer than ", limits.seconds, " s");
  }
  if (!problem.ok())
    ::kill(-child, SIGKILL);
  result.exit_status = wait_for(child);
  VL2_TRY(problem);
  // Whoever ends a whole job signals every process of it: then this one is about to hear of it, too.
  for (int i = 0; result.exit_status < 0 && i < 10; ++i) {
    if (stop())
      return fail(Code::Cancelled, words[0], ": stopped");
    std::this_thread::sleep_for(std::chrono::milliseconds(kLookAgainMs));
  }
  return result;
}

}  // namespace vl2::batch
