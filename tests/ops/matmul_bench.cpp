// Times the matmul kernels at the models' shapes, a table a shape with the best tile first: what runtime/tuning.cpp is tuned by.
//
//   VL2_VALIDATION=0 vl2_tests --no-skip --test-case="bench: matmul tiles"
//
// VL2_BENCH_SHAPE=TEXT leaves out shapes whose name has no TEXT in it. Times are the device's own, medians; the card is kept busy first.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <functional>
#include <numeric>
#include <string>

#include "runtime/device.h"
#include "runtime/half.h"
#include "runtime/ops/expert_matmul.h"
#include "runtime/ops/matmul.h"
#include "runtime/upload.h"
#include "tests/support/random.h"

using namespace vl2;

namespace {

constexpr double kWarmSeconds = 0.5, kLimitSeconds = 55;
constexpr int kRepeats = 7;
constexpr uint32_t kNoiseBytes = 16u << 20;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Candidate {
  std::string name;
  MatmulPlan plan;
  std::vector<double> ns{};
};

std::vector<Candidate> candidates(const Device& device, bool experts) {
  std::vector<Candidate> list;
  const auto text = [](auto... parts) { return ((std::to_string(parts) + " ") + ...); };
  for (const MatrixTile& t : device.tier() >= 3 ? matrix_tiles(device.caps()) : std::vector<MatrixTile>{})
    list.push_back({"coopmat  " + text(t.rows, t.columns, t.subgroup_rows, t.subgroup_columns, t.k, t.stages),
                    {.kernel = MatmulKernel::GemmCoopmat, .tile = {}, .group = {}, .matrix_tile = t}});
  for (const WorkgroupTile& t : device.tier() >= 4 && !experts ? workgroup_tiles(device.caps()) : std::vector<WorkgroupTile>{})
    list.push_back({"coopmat2 " + text(t.rows, t.columns, t.k, t.threads),
                    {.kernel = MatmulKernel::GemmCoopmat2, .tile = {}, .group = {}, .matrix_tile = {}, .workgroup_tile = t}});
  return list;
}

std::vector<Candidate> tiled_candidates() {
  std::vector<Candidate> list;
  for (const uint32_t rows : {4u, 2u, 1u})
    for (const uint32_t columns : {4u, 2u})
      list.push_back({"tiled " + std::to_string(16 * rows) + " " + std::to_string(16 * columns),
                      {.kernel = MatmulKernel::GemmTiled,
                       .tile = {.threads_along_columns = 16,
                                .threads_along_rows = 16,
                                .rows_per_thread = rows,
                                .columns_per_thread = columns},
                       .group = {}}});
  return list;
}

class Bench {
 public:
  explicit Bench(Device& target) : device(target), rec(target) {
    std::vector<uint16_t> noise(kNoiseBytes / 2);
    const auto values = random_floats(noise.size(), 1, 0.05f);
    std::transform(values.begin(), values.end(), noise.begin(), float_to_half);
    noise_ = tensor({kNoiseBytes / 2}, DType::F16, false);
    REQUIRE(upload_bytes(device, *noise_.buffer, std::as_bytes(std::span(noise))).ok());
    rec.enable_timing(true);
  }

  // Filled with random numbers when f16 (constants would cost the units less power), with zeros otherwise.
  TensorView tensor(std::initializer_list<uint32_t> dims, DType dtype, bool fill = true) {
    uint64_t bytes = dtype_bytes(dtype);
    for (const uint32_t dim : dims)
      bytes *= dim;
    auto buffer = device.memory().allocate((bytes + 3) / 4 * 4, MemoryKind::Device, "bench");
    REQUIRE_MESSAGE(buffer.ok(), buffer.message());
    buffers_.push_back(buffer.take());
    const TensorView view = make_view(*buffers_.back(), dtype, dims);
    if (fill && dtype == DType::F16)
      for (uint64_t at = 0; at < bytes; at += kNoiseBytes) {
        const auto count = static_cast<uint32_t>(std::min<uint64_t>(kNoiseBytes, bytes - at) / 2);
        REQUIRE(rec.copy(make_view(*noise_.buffer, DType::F16, {count}), make_view(*view.buffer, DType::F16, {count}, at / 2)).ok());
      }
    else if (fill)
      REQUIRE(rec.fill(make_view(*view.buffer, DType::U32, {static_cast<uint32_t>(bytes / 4)}), 0).ok());
    return view;
  }

  TensorView upload(const std::vector<uint32_t>& values) {
    const TensorView view = tensor({static_cast<uint32_t>(values.size())}, DType::U32, false);
    REQUIRE(upload_bytes(device, *view.buffer, std::as_bytes(std::span(values))).ok());
    return view;
  }

  void run(const std::string& name, std::vector<Candidate> list, const std::function<Status(const MatmulPlan*)>& record) {
    const char* only = std::getenv("VL2_BENCH_SHAPE");
    if ((only != nullptr && name.find(only) == std::string::npos) || seconds_since(start_) > kLimitSeconds)
      return;
    const auto compile = Clock::now();
    std::erase_if(list, [&](const Candidate& c) {
      const Status status = record(&c.plan);  // compiles
      if (!status.ok())
        std::printf("%s: %s: %s\n", name.c_str(), c.name.c_str(), status.message().c_str());
      return !status.ok();
    });
    REQUIRE(rec.finish().ok());
    const double compiled = seconds_since(compile);
    for (const auto warm = Clock::now(); !list.empty() && seconds_since(warm) < kWarmSeconds;) {
      for (const Candidate& c : list)
        REQUIRE(record(&c.plan).ok());
      REQUIRE(rec.finish().ok());
    }
    rec.take_times();
    double flops = 0;
    for (int repeat = 0; repeat < kRepeats; ++repeat)
      for (Candidate& c : list) {
        REQUIRE(record(&c.plan).ok());
        REQUIRE(rec.finish().ok());
        double ns = 0;
        flops = 0;
        for (const DispatchTime& time : rec.take_times()) {
          ns += time.ns;
          flops += static_cast<double>(time.cost.flops);
        }
        c.ns.push_back(ns);
      }
    for (Candidate& c : list)
      std::sort(c.ns.begin(), c.ns.end());
    const auto median = [](const Candidate& c) { return c.ns[c.ns.size() / 2]; };
    std::sort(list.begin(), list.end(), [&](const Candidate& a, const Candidate& b) { return median(a) < median(b); });
    std::printf("\n%s (pipelines %.1f s)\n", name.c_str(), compiled);
    for (const Candidate& c : list)
      std::printf("  %-34s %9.1f us %8.2f TFLOP/s\n", c.name.c_str(), median(c) / 1e3, flops / median(c) / 1e3);
    std::fflush(stdout);
  }

  void dense(uint32_t m, uint32_t n, uint32_t k, DType y_type, const MatmulOptions& options = {}) {
    const TensorView x = tensor({m, k}, DType::F16), w = tensor({n, k}, DType::F16), y = tensor({m, n}, y_type);
    MatmulOptions with = options;
    run(shape("dense", m, n, k), candidates(device, false), [&](const MatmulPlan* plan) {
      with.plan = plan;
      return matmul(rec, x, w, y, with);
    });
    buffers_.resize(1);
  }

  void swiglu(uint32_t m, uint32_t n, uint32_t k) {
    const TensorView x = tensor({m, k}, DType::F16), w = tensor({2 * n, k}, DType::F16), y = tensor({m, n}, DType::F16);
    run(shape("swiglu", m, n, k), candidates(device, false),
        [&](const MatmulPlan* plan) { return matmul_swiglu(rec, x, w, {}, y, plan); });
    buffers_.resize(1);
  }

  void experts(uint32_t tokens) {
    const uint32_t count = 64, top_k = 6, hidden = 2048, width = 1408, slots = tokens * top_k;
    std::vector<uint32_t> ids(slots), slot_pair(slots), offsets(count + 1);
    const auto random = random_floats(slots, 5);
    for (uint32_t pair = 0; pair < slots; ++pair)  // the lower ones more often, as routers have it
      ids[pair] = std::min(count - 1, static_cast<uint32_t>(std::abs(random[pair]) * (0.6f + 0.4f * std::abs(random[pair])) * count));
    std::iota(slot_pair.begin(), slot_pair.end(), 0u);
    std::stable_sort(slot_pair.begin(), slot_pair.end(), [&](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });
    for (const uint32_t id : ids)
      ++offsets[id + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    const ExpertSchedule schedule{upload(slot_pair), {}, upload(offsets)};
    const TensorView x = tensor({tokens, hidden}, DType::F16), gated = tensor({slots, width}, DType::F16),
                     routed = tensor({slots, hidden}, DType::F32), gate_up = tensor({count, 2 * width, hidden}, DType::F16),
                     down = tensor({count, hidden, width}, DType::F16);
    run(shape("expert swiglu", tokens, width, hidden), candidates(device, true),
        [&](const MatmulPlan* plan) { return expert_swiglu(rec, x, gate_up, schedule, top_k, {}, gated, plan); });
    run(shape("expert down", tokens, hidden, width), candidates(device, true), [&](const MatmulPlan* plan) {
      return expert_matmul(rec, gated, down, schedule, top_k, ExpertRows::Slots, routed, plan);
    });
    buffers_.resize(1);
  }

  void router(uint32_t tokens) {
    const TensorView x = tensor({tokens, 2048}, DType::F32), w = tensor({64, 2048}, DType::F32), y = tensor({tokens, 64}, DType::F32);
    run(shape("router", tokens, 64, 2048), tiled_candidates(),
        [&](const MatmulPlan* plan) { return matmul(rec, x, w, y, {.plan = plan}); });
    buffers_.resize(1);
  }

  static std::string shape(const char* what, uint32_t m, uint32_t n, uint32_t k) {
    return std::string(what) + " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  }

  Device& device;

 private:
  std::vector<std::unique_ptr<Buffer>> buffers_;  // the noise first
  TensorView noise_;
  Clock::time_point start_ = Clock::now();

 public:
  Recorder rec;  // after the buffers: it must be gone before they are
};

}  // namespace

TEST_CASE("bench: matmul tiles" * doctest::skip()) {
  auto options = device_options_from_environment();
  REQUIRE(options.ok());
  auto device = Device::create(*options);
  REQUIRE_MESSAGE(device.ok(), device.message());
  std::printf("%s, tier %u; coopmat: rows columns, of a subgroup, k, stages; coopmat2: rows columns, k, threads\n",
              (*device)->caps().name.c_str(), (*device)->tier());
  Bench bench(**device);
  if (std::getenv("VL2_BENCH_SMALL") != nullptr) {  // does it run at all: for a CPU driver
    bench.dense(200, 136, 64, DType::F32);
    bench.swiglu(200, 64, 64);
    bench.router(64);
    return;
  }
  bench.dense(2048, 2048, 2048, DType::F16);
  bench.experts(2048);
  bench.dense(7290, 4304, 1152, DType::F16, {.activation = Activation::GeluTanh});
  bench.dense(7290, 1152, 4304, DType::F16);
  bench.swiglu(2048, 10944, 2048);
  bench.router(2048);
  bench.dense(4096, 4096, 4096, DType::F32);
  bench.dense(4096, 512, 14336, DType::F32);
  bench.dense(7290, 3456, 1152, DType::F16);
  bench.dense(7290, 1152, 1152, DType::F16);
  bench.dense(2048, 3072, 2048, DType::F16);
  bench.dense(729, 1152, 1152, DType::F16);
}
