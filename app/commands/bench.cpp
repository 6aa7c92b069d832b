// The simplest form: three rows, each the median of some repeats after a warm-up of half a second, and on demand the time of each
// operator.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>

#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "model/session.h"

namespace vl2 {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Sample {
  double median = 0, least = 0, most = 0;  // seconds
};

// Runs `work` until the clocks are warm, then `repeats` times.
Result<Sample> measure(uint32_t repeats, const std::function<Status()>& work) {
  constexpr double kWarmUpSeconds = 0.5;  // fast cards idle at a fifth of their clock and take about this long to leave it
  const auto start = Clock::now();
  do {
    VL2_TRY(work());
  } while (seconds_since(start) < kWarmUpSeconds);
  std::vector<double> times;
  for (uint32_t i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    VL2_TRY(work());
    times.push_back(seconds_since(begin));
  }
  std::sort(times.begin(), times.end());
  return Sample{times[times.size() / 2], times.front(), times.back()};
}

void print_row(const std::string& what, const Sample& sample, double units, const char* unit) {
  std::printf("| %-24s | %10.2f %-8s | %10.3f | %10.3f | %10.3f |\n", what.c_str(), units / sample.median, unit,
              1e3 * sample.median, 1e3 * sample.least, 1e3 * sample.most);
}

void print_ops(const std::vector<DispatchTime>& times) {
  struct Total {
    double ns = 0, bytes = 0, flops = 0;
    uint64_t count = 0;
  };
  std::map<std::string, Total> totals;
  double all = 0;
  for (const DispatchTime& time : times) {
    Total& total = totals[shader_code(time.shader).name];
    total.ns += time.ns;
    total.bytes += static_cast<double>(time.cost.bytes);
    total.flops += static_cast<double>(time.cost.flops);
    ++total.count;
    all += time.ns;
  }
  std::vector<std::pair<std::string, Total>> sorted(totals.begin(), totals.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  std::printf("\n| operator                     | dispatches |      ms | share | GB/s     | GFLOP/s  |\n");
  std::printf("| ---------------------------- | ---------- | ------- | ----- | -------- | -------- |\n");
  for (const auto& [name, total] : sorted)
    std::printf("| %-28s | %10llu | %7.2f | %4.1f%% | %8.1f | %8.1f |\n", name.c_str(),
                static_cast<unsigned long long>(total.count), total.ns * 1e-6, 100 * total.ns / all, total.bytes / total.ns,
                total.flops / total.ns);
}

std::vector<uint8_t> gradient_picture(uint32_t width, uint32_t height) {
  std::vector<uint8_t> rgb(size_t{width} * height * 3);
  for (size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<uint8_t>((i * 7 + i / (size_t{width} * 3) * 3) & 255);
  return rgb;
}

}  // namespace

Status bench_command(const BenchOptions& options) {
  const auto load_start = Clock::now();
  VL2_ASSIGN(const auto engine, load_engine(options.model));
  const double load_seconds = seconds_since(load_start);
  VL2_ASSIGN(const auto session, Session::create(*engine));
  const LanguageConfig& language = engine->config().language;
  const uint32_t side = engine->config().vision.image_size;
  if (uint64_t{options.prompt} + options.generate > engine->context())
    return fail(Code::ContextFull, "bench: -p ", options.prompt, " and -n ", options.generate, " tokens, the context holds ",
                engine->context());
  session->recorder().enable_timing(options.ops);

  std::vector<uint32_t> ids(options.prompt);
  for (uint32_t i = 0; i < options.prompt; ++i)
    ids[i] = (i * 2654435761u) % language.vocab_size;
  std::printf("%s on %s (%s), tier %u: loaded %.2f GB in %.2f s\n", options.model.model.c_str(),
              engine->device().caps().name.c_str(), engine->device().caps().driver_info.c_str(), engine->device().tier(),
              static_cast<double>(engine->weights().device_bytes) * 1e-9, load_seconds);
  std::printf("| what                     | rate                | median ms  | least ms   | most ms    |\n");
  std::printf("| ------------------------ | ------------------- | ---------- | ---------- | ---------- |\n");

  VL2_ASSIGN(const Sample prefill, measure(options.repeats, [&]() -> Status {
               VL2_TRY(session->clear());
               return session->prefill(ids, {});
             }));
  print_row("pp" + std::to_string(options.prompt), prefill, options.prompt, "tok/s");
  VL2_ASSIGN(const Sample decode, measure(options.repeats, [&]() -> Status {
               session->rewind(0);
               VL2_TRY(session->prefill(std::span(ids).first(1), {}));
               return session->decode(options.generate, {}).status();
             }));
  print_row("tg" + std::to_string(options.generate), decode, options.generate, "tok/s");
  const std::vector<uint8_t> rgb = gradient_picture(side * options.tiles, side);
  VL2_ASSIGN(const Sample vision, measure(options.repeats, [&]() -> Status {
               return session->encode({side * options.tiles, side, rgb}, 1).status();
             }));
  print_row("vision, " + std::to_string(options.tiles + 1) + " views", vision, options.tiles + 1, "views/s");
  std::printf("device memory: peak %.3f GB, weights %.3f GB, cache of %u tokens %.3f GB\n",
              static_cast<double>(engine->device().memory().device_bytes_peak()) * 1e-9,
              static_cast<double>(engine->weights().device_bytes) * 1e-9, engine->context(),
              static_cast<double>(engine->plan().cache_bytes) * 1e-9);
  if (options.ops)
    print_ops(session->recorder().take_times());
  return {};
}

}  // namespace vl2
