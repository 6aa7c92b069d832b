#include "app/bench/start.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/model_loading.h"
#include "model/engine.h"
#include "runtime/clock.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/recorder.h"

namespace vl2 {

namespace {

Status first_dispatch(Device& device) {
  constexpr uint32_t kWidth = 64;
  Recorder rec(device);
  VL2_ASSIGN(const auto buffer, device.memory().allocate(3 * kWidth * 4, MemoryKind::Device, "first dispatch"));
  const TensorView rows = make_view(*buffer, DType::F32, {3, kWidth});
  VL2_TRY(rec.fill(rows, 0x3f800000u));
  VL2_TRY(rms_norm(rec, rows.rows(0, 1), rows.rows(1, 1).reshaped({kWidth}), rows.rows(2, 1), 1e-6f));
  return rec.finish();
}

// Everything that `file` says until its end, and how long the first byte took.
std::string read_all(int file, Clock::time_point start, double& first_byte_seconds) {
  std::string text;
  char buffer[512];
  for (;;) {
    const ssize_t got = ::read(file, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return text;
    if (text.empty())
      first_byte_seconds = 1e-3 * ms_since(start);
    text.append(buffer, static_cast<size_t>(got));
  }
}

// One probe: what it printed.
Result<std::string> run_probe(const std::vector<std::string>& arguments, double& seconds) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(Code::IoError, "bench: no pipe for the start row: ", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const auto start = Clock::now();
  pid_t child = 0;
  const int error = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  const std::string text = error == 0 ? read_all(ends[0], start, seconds) : "";
  ::close(ends[0]);
  if (error != 0)
    return fail(Code::IoError, "bench: the start row cannot run this program again: ", std::strerror(error));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text.empty())
    return fail(Code::IoError, "bench: the program failed when the start row ran it again");
  return text;
}

}  // namespace

Status run_start_probe(const ModelOptions& options, const Config& config) {
  VL2_ASSIGN(const EngineOptions wanted, engine_options(options));
  auto start = Clock::now();
  VL2_ASSIGN(const auto device, Device::create(wanted.device));
  const double device_ms = ms_since(start);
  start = Clock::now();
  device->pipelines().prebuild(pipeline_tag(config, wanted.cache_type));
  const size_t count = device->pipelines().wait_for_prebuilt();
  const double pipelines_ms = ms_since(start);
  start = Clock::now();
  VL2_TRY(first_dispatch(*device));
  const double dispatch_ms = ms_since(start);
  std::printf("%.3f %.3f %.3f %zu\n", device_ms, pipelines_ms, dispatch_ms, count);
  std::fflush(stdout);
  return {};
}

Result<StartTimes> measure_start(const std::vector<std::string>& arguments, uint32_t repeats) {
  StartTimes times;
  std::string text;
  for (uint32_t i = 0; i <= repeats; ++i) {
    double seconds = 0;
    VL2_ASSIGN(text, run_probe(arguments, seconds));
    if (i > 0)
      times.seconds.push_back(seconds);
  }
  double device = 0, pipelines = 0, dispatch = 0, count = 0;
  if (std::sscanf(text.c_str(), "%lf %lf %lf %lf", &device, &pipelines, &dispatch, &count) != 4)
    return fail(Code::IoError, "bench: the start row printed \"", text, "\"");
  times.breakdown = {
      {"start.device", device}, {"start.pipelines", pipelines}, {"start.dispatch", dispatch}, {"start.pipeline_count", count}};
  return times;
}

}  // namespace vl2
