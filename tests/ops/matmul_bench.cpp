// Times the matmul kernels at the models' shapes, a table a shape with the best tile first: what runtime/tuning.cpp is tuned by.
//
//   VL2_VALIDATION=0 vl2_tests --no-skip --test-case="bench: matmul tiles"
//   VL2_VALIDATION=0 vl2_tests --no-skip --test-case="bench: matmul by bytes"
//
// The second: weights in blocks at Small's shapes, by floats (gemm_tiled) and by bytes (gemm_dot, the rounding of x included), in any tier.
//
// VL2_BENCH_SHAPE=TEXT leaves out shapes whose name has no TEXT in it, VL2_BENCH_TILE=TEXT likewise candidates; workgroup matrices, which
// subgroup matrices have always beaten, only with VL2_BENCH_TILE=coopmat2. Times are the device's own, medians;
// the card is kept busy first. Pipelines are compiled on all cores; where the driver tells how many registers they take, that is printed too.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <functional>
#include <numeric>
#include <string>
#include <thread>

#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/half.h"
#include "runtime/ops/expert_matmul.h"
#include "runtime/ops/matmul.h"
#include "runtime/ops/matmul_launch.h"
#include "runtime/ops/quantize_rows.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"
#include "tests/support/gemm_tiles.h"
#include "tests/support/random.h"

using namespace vl2;

namespace {

constexpr double kWarmSeconds = 0.5, kLimitSeconds = 55;
constexpr int kRepeats = 7;
constexpr uint32_t kNoiseBytes = 16u << 20;

struct Candidate {
  std::string name;
  MatmulPlan plan;
  std::vector<double> ns{};
};

bool wanted(const std::string& name, const char* variable) {
  const char* only = std::getenv(variable);
  return only == nullptr || name.find(only) != std::string::npos;
}

std::vector<Candidate> candidates(const Device& device, bool experts) {
  std::vector<Candidate> list;
  const auto text = [](auto... parts) { return ((std::to_string(parts) + " ") + ...); };
  const auto add = [&](const MatrixTile& t) {
    const std::string shape = std::to_string(t.shape.m) + "x" + std::to_string(t.shape.n) + "x" + std::to_string(t.shape.k);
    list.push_back({"coopmat  " + text(t.rows, t.columns, t.subgroup_rows, t.subgroup_columns, t.k, t.stages) + shape,
                    {.kernel = MatmulKernel::GemmCoopmat, .tile = {}, .group = {}, .matrix_tile = t}});
  };
  if (device.tier() >= 3)
    for (const MatrixTile& t : matrix_tiles(device.caps())) {
      add(t);
      if (t.rows != 128 || t.columns != 128 || t.subgroup_columns != 64)
        continue;
      for (const uint32_t parts : {2u, 4u}) {
        add(t);
        list.back().plan.fetch_parts = parts;
        list.back().name += " fetch " + std::to_string(parts);
      }
    }
  const char* only = std::getenv("VL2_BENCH_TILE");
  const bool workgroups = device.tier() >= 4 && !experts && only != nullptr && std::string(only) == "coopmat2";
  for (const WorkgroupTile& t : workgroups ? workgroup_tiles(device.caps()) : std::vector<WorkgroupTile>{})
    list.push_back({"coopmat2 " + text(t.rows, t.columns, t.k, t.threads),
                    {.kernel = MatmulKernel::GemmCoopmat2, .tile = {}, .group = {}, .matrix_tile = {}, .workgroup_tile = t}});
  std::erase_if(list, [](const Candidate& c) { return !wanted(c.name, "VL2_BENCH_TILE"); });
  return list;
}

// Every tile for a GEMM of the encoder, and in slices of K where the tiles alone do not fill a large card twice.
std::vector<Candidate> vision_candidates(const Device& device, uint32_t rows, uint32_t columns, uint32_t k) {
  std::vector<Candidate> list;
  for (const Candidate& c : candidates(device, false)) {
    const MatrixTile& t = c.plan.matrix_tile;
    const uint64_t tiles = uint64_t{(rows + t.rows - 1) / t.rows} * ((columns + t.columns - 1) / t.columns);
    for (const uint32_t slices : {1u, 2u, 3u, 4u, 6u}) {
      if (slices > 1 && (tiles > 264 || tiles * slices > 600 || k / slices < 256))
        continue;
      list.push_back(c);
      list.back().plan.slices = slices;
      if (slices > 1)
        list.back().name += " slices " + std::to_string(slices);
    }
  }
  return list;
}

// Registers of the pipeline of a plan, where the driver tells: the most of all pipelines with its constants but for the epilogue's.
double registers_of(const std::vector<PipelineStatistics>& all, const MatmulPlan& plan) {
  if (plan.kernel != MatmulKernel::GemmCoopmat)
    return 0;
  const MatrixTile& t = plan.matrix_tile;
  const uint32_t key[] = {t.threads(), t.rows,   t.columns, t.subgroup_rows, t.subgroup_columns, t.k,
                          0,           t.stages, t.shape.m, t.shape.n,       t.shape.k};
  double most = 0;
  for (const PipelineStatistics& pipeline : all) {
    const auto& constants = pipeline.key.constants;
    bool same = constants.size() > 15 && constants[15] == plan.fetch_parts;
    for (size_t i = 0; same && i < std::size(key); ++i)
      same = i == 6 || constants[i] == key[i];
    for (const auto& [name, value] : pipeline.values)
      if (same && (name == "Register Count" || name == "VGPRs"))
        most = std::max(most, value);
  }
  return most;
}

std::vector<Candidate> tiled_candidates(const Device& device) {
  std::vector<Candidate> list;
  for (const GemmTile& tile : shared_gemm_tiles(device.caps()))
    for (const uint32_t slices : {1u, 2u, 4u, 8u, 16u})
      list.push_back({gemm_tile_name(tile) + (slices > 1 ? " slices " + std::to_string(slices) : std::string()),
                      {.kernel = MatmulKernel::GemmTiled, .tile = tile, .group = {}, .slices = slices}});
  std::erase_if(list, [](const Candidate& c) { return !wanted(c.name, "VL2_BENCH_TILE"); });
  return list;
}

// What tier 2 may choose between for weights in blocks: products of floats as it has them without bytes, and all tiles of bytes.
std::vector<Candidate> byte_candidates(const MatmulPlan& floats, const DeviceCaps& caps) {
  std::vector<Candidate> list = {{gemm_tile_name(floats.tile), floats}};
  for (const GemmTile& tile : dot_tile_candidates(caps))
    list.push_back({gemm_tile_name(tile, "bytes"), {.kernel = MatmulKernel::GemmDot, .tile = tile, .group = {}}});
  std::erase_if(list, [](const Candidate& c) { return !wanted(c.name, "VL2_BENCH_TILE"); });
  return list;
}

class Bench {
 public:
  Bench(Device& target, bool statistics) : device(target), has_statistics(statistics), rec(target) {
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
        REQUIRE(
            rec.copy(make_view(*noise_.buffer, DType::F16, {count}), make_view(*view.buffer, DType::F16, {count}, at / 2)).ok());
      }
    else if (fill)
      REQUIRE(rec.fill(make_view(*view.buffer, DType::U32, {static_cast<uint32_t>(bytes / 4)}), 0).ok());
    return view;
  }

  // Random codes and scales.
  TensorView blocks(std::initializer_list<uint32_t> dims, DType format) {
    uint64_t count = 1;
    for (const uint32_t dim : dims)
      count *= dim;
    const TensorView noise = tensor({static_cast<uint32_t>(device_bytes(format, count) / 2)}, DType::F16);
    TensorView view = make_view(*noise.buffer, format, dims);
    view.scales = device_scales_offset(format, count);
    return view;
  }

  TensorView upload(const std::vector<uint32_t>& values) {
    const TensorView view = tensor({static_cast<uint32_t>(values.size())}, DType::U32, false);
    REQUIRE(upload_bytes(device, *view.buffer, std::as_bytes(std::span(values))).ok());
    return view;
  }

  using Operator = std::function<Status(Recorder&, const MatmulPlan*)>;

  // Makes the pipeline of a plan: recorded for a replay that never runs. Errors show when it is recorded again.
  void compile_one(const Operator& record, const MatmulPlan& plan) {
    Recorder compiler(device);
    if (compiler.begin_capture().ok() && record(compiler, &plan).ok())
      static_cast<void>(compiler.end_capture());
  }

  void run(const std::string& name, std::vector<Candidate> list, const Operator& record) {
    const auto compile = Clock::now();
    std::vector<std::thread> threads;
    std::atomic<size_t> next = 0;
    for (unsigned i = 0; i < std::max(std::thread::hardware_concurrency(), 1u); ++i)
      threads.emplace_back([&] {
        for (size_t at = next++; at < list.size(); at = next++)
          compile_one(record, list[at].plan);
      });
    for (std::thread& thread : threads)
      thread.join();
    std::erase_if(list, [&](const Candidate& c) {
      const Status status = record(rec, &c.plan);
      if (!status.ok())
        std::printf("%s: %s: %s\n", name.c_str(), c.name.c_str(), status.message().c_str());
      return !status.ok();
    });
    REQUIRE(rec.finish().ok());
    const double compiled = seconds_since(compile);
    for (const auto warm = Clock::now(); !list.empty() && seconds_since(warm) < kWarmSeconds;) {
      for (const Candidate& c : list)
        REQUIRE(record(rec, &c.plan).ok());
      REQUIRE(rec.finish().ok());
    }
    rec.take_times();
    double flops = 0;
    for (int repeat = 0; repeat < kRepeats; ++repeat)
      for (Candidate& c : list) {
        REQUIRE(record(rec, &c.plan).ok());
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
    std::vector<PipelineStatistics> statistics;
    if (auto all = has_statistics ? device.pipelines().statistics() : std::vector<PipelineStatistics>{}; all.ok())
      statistics = all.take();
    if (list.size() > shown_)
      list.resize(shown_);
    for (const Candidate& c : list)
      std::printf("  %-44s %9.1f us %8.2f TFLOP/s %4.0f registers\n", c.name.c_str(), median(c) / 1e3, flops / median(c) / 1e3,
                  registers_of(statistics, c.plan));
    std::fflush(stdout);
  }

  // Before any tensor is made: what fills them must not be recorded for nothing.
  bool selected(const std::string& name) const {
    return wanted(name, "VL2_BENCH_SHAPE") && seconds_since(start_) < kLimitSeconds;
  }

  void drop_tensors() {
    REQUIRE(rec.finish().ok());
    rec.take_times();
    buffers_.resize(1);
  }

  void dense(uint32_t m, uint32_t n, uint32_t k, DType y_type) {
    const std::string name = shape("dense", m, n, k);
    if (!selected(name))
      return;
    const TensorView x = tensor({m, k}, DType::F16), w = tensor({n, k}, DType::F16), y = tensor({m, n}, y_type);
    run(name, candidates(device, false),
        [&](Recorder& recorder, const MatmulPlan* plan) { return matmul(recorder, x, w, y, {.plan = plan}); });
    drop_tensors();
  }

  // A block's four, as the encoder has them: with a bias, what gives 1152 columns added to f32 rows, 4304 activated.
  void siglip(uint32_t rows) {
    for (const auto& [n, k] : {std::pair{4304u, 1152u}, {1152u, 4304u}, {3456u, 1152u}, {1152u, 1152u}}) {
      const std::string name = shape("siglip", rows, n, k);
      if (!selected(name))
        continue;
      const bool adds = n == 1152;
      const TensorView x = tensor({rows, k}, DType::F16), w = tensor({n, k}, DType::F16), bias = tensor({n}, DType::F32),
                       y = tensor({rows, n}, adds ? DType::F32 : DType::F16);
      MatmulOptions options{.bias = bias, .activation = n == 4304 ? Activation::GeluTanh : Activation::None};
      if (adds)
        options.residual = y;
      run(name, candidates(device, false), [&](Recorder& recorder, const MatmulPlan* plan) {
        MatmulOptions with = options;
        with.plan = plan;
        return matmul(recorder, x, w, y, with);
      });
      drop_tensors();
    }
  }

  void swiglu(uint32_t m, uint32_t n, uint32_t k) {
    const std::string name = shape("swiglu", m, n, k);
    if (!selected(name))
      return;
    const TensorView x = tensor({m, k}, DType::F16), w = tensor({2 * n, k}, DType::F16), y = tensor({m, n}, DType::F16);
    run(name, candidates(device, false),
        [&](Recorder& recorder, const MatmulPlan* plan) { return matmul_swiglu(recorder, x, w, {}, y, plan); });
    drop_tensors();
  }

  ExpertSchedule schedule_of(uint32_t slots, uint32_t count) {
    std::vector<uint32_t> ids(slots), slot_pair(slots), offsets(count + 1);
    const auto random = random_floats(slots, 5);
    for (uint32_t pair = 0; pair < slots; ++pair)  // the lower ones more often, as routers have it
      ids[pair] = std::min(count - 1, static_cast<uint32_t>(std::abs(random[pair]) * (0.6f + 0.4f * std::abs(random[pair])) *
                                                            static_cast<float>(count)));
    std::iota(slot_pair.begin(), slot_pair.end(), 0u);
    std::stable_sort(slot_pair.begin(), slot_pair.end(), [&](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });
    for (const uint32_t id : ids)
      ++offsets[id + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    return {upload(slot_pair), {}, upload(offsets)};
  }

  void experts(uint32_t tokens) {
    const uint32_t count = 64, top_k = 6, hidden = 2048, width = 1408, slots = tokens * top_k;
    const std::string up_name = shape("expert swiglu", tokens, width, hidden),
                      down_name = shape("expert down", tokens, hidden, width);
    if (!selected(up_name) && !selected(down_name))
      return;
    const ExpertSchedule schedule = schedule_of(slots, count);
    const TensorView x = tensor({tokens, hidden}, DType::F16), gated = tensor({slots, width}, DType::F16),
                     routed = tensor({slots, hidden}, DType::F32), gate_up = tensor({count, 2 * width, hidden}, DType::F16),
                     down = tensor({count, hidden, width}, DType::F16);
    run(up_name, candidates(device, true), [&](Recorder& recorder, const MatmulPlan* plan) {
      return expert_swiglu(recorder, x, gate_up, schedule, top_k, {}, gated, plan);
    });
    run(down_name, candidates(device, true), [&](Recorder& recorder, const MatmulPlan* plan) {
      return expert_matmul(recorder, gated, down, schedule, top_k, ExpertRows::Slots, routed, plan);
    });
    drop_tensors();
  }

  void dense_bytes(DType format, uint32_t m, uint32_t n, uint32_t k) {
    const std::string name = std::string(dtype_name(format)) + " " + shape("dense", m, n, k);
    if (!selected(name) || k % dtype_block(format) != 0)
      return;
    const TensorView x = tensor({m, k}, DType::F16), w = blocks({n, k}, format), y = tensor({m, n}, DType::F16),
                     bytes = tensor({static_cast<uint32_t>(byte_rows_words(m, k))}, DType::U32, false);
    const MatmulPlan floats = plan_matmul(device.caps(), device.quirks(), 1, matmul_problem(x, w, m, false), device.tuning());
    run(name, byte_candidates(floats, device.caps()),
        [&](Recorder& recorder, const MatmulPlan* plan) { return matmul(recorder, x, w, y, {.bytes = bytes, .plan = plan}); });
    drop_tensors();
  }

  void expert_bytes(DType format, uint32_t tokens, uint32_t n, uint32_t k, ExpertRows rows) {
    const uint32_t count = 64, top_k = 6, slots = tokens * top_k, x_rows = rows == ExpertRows::Tokens ? tokens : slots;
    const std::string name = std::string(dtype_name(format)) + " " + shape("experts", tokens, n, k);
    if (!selected(name) || k % dtype_block(format) != 0)
      return;
    const ExpertSchedule schedule = schedule_of(slots, count);
    const TensorView x = tensor({x_rows, k}, DType::F16), w = blocks({count, n, k}, format), y = tensor({slots, n}, DType::F16),
                     bytes = tensor({static_cast<uint32_t>(byte_rows_words(x_rows, k))}, DType::U32, false);
    const MatmulPlan floats =
        plan_expert_matmul(device.caps(), device.quirks(), 1, matmul_problem(x, w, slots, false), count, device.tuning());
    run(name, byte_candidates(floats, device.caps()), [&](Recorder& recorder, const MatmulPlan* plan) {
      return expert_matmul(recorder, x, w, schedule, top_k, rows, y, plan, bytes);
    });
    drop_tensors();
  }

  void router(uint32_t tokens) {
    const std::string name = shape("router", tokens, 64, 2048);
    if (!selected(name))
      return;
    const TensorView x = tensor({tokens, 2048}, DType::F32), w = tensor({64, 2048}, DType::F32),
                     y = tensor({tokens, 64}, DType::F32);
    const TensorView slices = tensor({16, tokens, 64}, DType::F32);
    run(name, tiled_candidates(device),
        [&](Recorder& recorder, const MatmulPlan* plan) { return matmul(recorder, x, w, y, {.slices = slices, .plan = plan}); });
    drop_tensors();
  }

  // The encoder's four GEMMs in every way worth a try; the best `shown` of each.
  void vision(uint32_t rows, size_t shown) {
    shown_ = shown;
    for (const auto& [n, k] : {std::pair{4304u, 1152u}, {1152u, 4304u}, {3456u, 1152u}, {1152u, 1152u}}) {
      const std::string name = shape("vision", rows, n, k);
      if (!selected(name))
        continue;
      const bool adds = n == 1152;
      const TensorView x = tensor({rows, k}, DType::F16), w = tensor({n, k}, DType::F16), bias = tensor({n}, DType::F32),
                       y = tensor({rows, n}, adds ? DType::F32 : DType::F16), slices = tensor({6, rows, n}, DType::F32);
      MatmulOptions options{.bias = bias, .activation = n == 4304 ? Activation::GeluTanh : Activation::None, .slices = slices};
      if (adds)
        options.residual = y;
      run(name, vision_candidates(device, rows, n, k), [&](Recorder& recorder, const MatmulPlan* plan) {
        MatmulOptions with = options;
        with.plan = plan;
        return matmul(recorder, x, w, y, with);
      });
      drop_tensors();
    }
    shown_ = SIZE_MAX;
  }

  static std::string shape(const char* what, uint32_t m, uint32_t n, uint32_t k) {
    return std::string(what) + " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  }

  Device& device;
  const bool has_statistics;

 private:
  std::vector<std::unique_ptr<Buffer>> buffers_;  // the noise first
  TensorView noise_;
  Clock::time_point start_ = Clock::now();
  size_t shown_ = SIZE_MAX;  // lines of a table

 public:
  Recorder rec;  // after the buffers: it must be gone before they are
};

// The device, with the pipelines' statistics where it has them.
std::unique_ptr<Device> bench_device(bool& statistics) {
  auto options = device_options_from_environment();
  REQUIRE(options.ok());
  options->pipeline_statistics = true;
  auto device = Device::create(*options);
  statistics = device.ok();
  if (!statistics) {
    options->pipeline_statistics = false;
    device = Device::create(*options);
  }
  REQUIRE_MESSAGE(device.ok(), device.message());
  std::printf("%s, tier %u; coopmat: rows columns, of a subgroup, k, stages, shape; coopmat2: rows columns, k, threads\n",
              (*device)->caps().name.c_str(), (*device)->tier());
  return device.take();
}

}  // namespace

TEST_CASE("bench: matmul tiles" * doctest::skip()) {
  bool statistics = false;
  const auto device = bench_device(statistics);
  Bench bench(*device, statistics);
  if (std::getenv("VL2_BENCH_SMALL") != nullptr) {  // does it run at all: for a CPU driver
    bench.dense(200, 136, 64, DType::F32);
    bench.swiglu(200, 64, 64);
    bench.router(64);
    return;
  }
  bench.siglip(7290);
  bench.siglip(1458);
  bench.experts(2048);
  bench.router(2048);
  bench.dense(2048, 2048, 2048, DType::F16);
  bench.dense(2048, 3072, 2048, DType::F16);
  bench.dense(2048, 576, 2048, DType::F16);
  bench.dense(7290, 1152, 4304, DType::F16);
  bench.swiglu(2048, 10944, 2048);
  bench.dense(2048, 2048, 10944, DType::F16);
  bench.dense(4096, 4096, 4096, DType::F32);
  bench.dense(4096, 512, 14336, DType::F32);
}

TEST_CASE("bench: matmul by bytes" * doctest::skip()) {
  bool statistics = false;
  const auto device = bench_device(statistics);
  if (!device->caps().packed_dot || !device->caps().float16 || !device->caps().storage16) {
    std::printf("this device has no dot products of bytes, or no f16\n");
    return;
  }
  Bench bench(*device, statistics);
  const bool small = std::getenv("VL2_BENCH_SMALL") != nullptr;  // does it run at all: for a CPU driver
  const uint32_t tokens = small ? 32 : 2048;
  for (const DType format : {DType::Q4_K, DType::Q8_0, DType::Q4_0, DType::Q6_K}) {
    bench.dense_bytes(format, tokens, small ? 64 : 2048, small ? 256 : 2048);
    if (small)
      continue;
    bench.expert_bytes(format, tokens, 2816, 2048, ExpertRows::Tokens);
    bench.expert_bytes(format, tokens, 2048, 1408, ExpertRows::Slots);
    bench.dense_bytes(format, tokens, 3072, 2048);
    bench.dense_bytes(format, tokens, 576, 2048);
    bench.dense_bytes(format, tokens, 21888, 2048);
    bench.dense_bytes(format, tokens, 2048, 10944);
  }
}

TEST_CASE("bench: vision matmul" * doctest::skip()) {
  bool statistics = false;
  const auto device = bench_device(statistics);
  Bench bench(*device, statistics);
  const uint32_t divisor = std::getenv("VL2_BENCH_SMALL") != nullptr ? 64 : 1;
  for (const uint32_t rows : {7290u, 1458u})
    bench.vision(rows / divisor, 16);
  bench.router(2048 / divisor);
}
