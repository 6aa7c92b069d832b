#include "app/bench/tuner.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <thread>

#include "app/bench/plans.h"
#include "app/bench/report.h"
#include "app/selftest/bed.h"
#include "runtime/clock.h"
#include "runtime/ops/matmul.h"
#include "runtime/ops/quantize_rows.h"
#include "runtime/ops/rms_norm.h"

namespace vl2 {

namespace {

constexpr double kWarmUpSeconds = 0.5;                                  // as jobs.cpp
constexpr double kReferenceUs = 50e3;                                   // that tier 0 may take for the large problem
constexpr uint32_t kRows = 7290, kColumns = 3456, kDepth = 1152;        // the encoder's, ten views
constexpr uint32_t kCpuRows = 150, kCpuColumns = 264, kCpuDepth = 192;  // a CPU driver's: seconds, not minutes
constexpr uint32_t kSmallShare = 5;       // the small problem has so many times fewer rows: two views
constexpr uint32_t kSmallTile = 64 * 64;  // results of tiles that are for small problems
constexpr uint32_t kCheckedRows = 256;    // from the beginning, the middle and the end of a result
constexpr int kLeastRounds = 3, kRounds = 7;
// Shares of the time after which no more pipelines are made, candidates compared, and times taken.
constexpr double kCompileShare = 0.45, kCheckShare = 0.65, kTimeShare = 0.8;
constexpr double kWorthIt = 1.02;  // times as fast as the default before another tile or group takes its place: noise is 1 %
// Of a result, in root mean squares of tier 0's: both sum their products in f32, in another order. Seen, lavapipe 25 and 26: 6.3e-6
// by gemm_tiled and gemv, 4.7e-6 on matrix units. Planted: one element of 192 left out 0.16.
constexpr double kTolerance = 4e-3;
// Of products of bytes, which round x. Seen, lavapipe: 1.3e-2. Worked out: a block of 32 left out 0.41 of 192, 0.17 of 1152.
constexpr double kByteTolerance = 4e-2;

struct Problem {
  TensorView x, weight, y;
  std::span<const float> expected;  // of y, contiguous
  TensorView bytes{};               // MatmulOptions::bytes
};

struct Candidate {
  TuneRow row;
  const Problem* problem = nullptr;
  std::vector<double> us{};
  bool compiled = false;
};

MatmulProblem described(const Problem& p, bool f16) {
  return {.rows = p.x.dim(0),
          .columns = p.weight.dim(0),
          .f16 = f16,
          .blocks = dtype_block(p.weight.dtype) > 1,
          .k = p.x.dim(1),
          .bytes = !p.bytes.empty()};
}

bool is_fatal(const Status& status) {
  return status.code() == Code::DeviceLost || status.code() == Code::OutOfMemory;
}

class Tuner {
 public:
  Tuner(Device& target, const TuneOptions& wanted)
      : device(target), options(wanted), cpu(target.caps().type == DeviceType::Cpu), bed(target), rec(target) {}

  Result<TuneResult> run();

 private:
  Result<TensorView> allocate(DType dtype, std::initializer_list<uint32_t> dims);
  Status prepare();
  Status prepare_odd();
  Status confirm_matrix_tiles(std::vector<Candidate>& list);
  Result<bool> confirm(Candidate& candidate, const Problem& uneven);
  Status make_reference(const Problem& from, std::vector<float>& expected);
  Status measure_dispatch();
  Status measure_matrix_tiles();
  Result<std::optional<Candidate>> best_tile(MatmulKernel kernel, const Problem& whole, const Problem& uneven);
  Status measure_gemm_tiles();
  Status prepare_bytes(uint32_t rows, uint32_t columns, uint32_t k, Problem& p, std::vector<float>& values);
  Status measure_dot_tiles();
  Status measure_gemv_groups();
  Status measure_cores(const Candidate& best);
  Status measure_cache(const MatmulPlan& best);
  Status measure(std::vector<Candidate>& list);
  void compile(std::vector<Candidate>& list);
  Status check(Candidate& candidate);
  Result<double> time(const Problem& problem, const MatmulPlan& plan);
  void keep(const std::vector<Candidate>& list);

  Status multiply(Recorder& recorder, const Problem& p, const MatmulPlan& plan) const {
    const MatmulOptions how{.bytes = p.bytes, .plan = &plan};
    return options.multiply ? options.multiply(recorder, p.x, p.weight, p.y, how) : matmul(recorder, p.x, p.weight, p.y, how);
  }
  bool time_is_left(double share) const { return seconds_since(start) < share * options.seconds; }

  Device& device;
  const TuneOptions& options;
  const bool cpu;
  const Clock::time_point start = Clock::now();
  std::vector<std::unique_ptr<Buffer>> buffers;
  TestBed bed;                   // of weights in blocks
  Problem large, small;          // f16 on matrix units, else the device's type of activations
  Problem odd;                   // rows, columns and depth that no tile divides
  Problem large_dots, odd_dots;  // the same by a weight in blocks
  TensorView x_f32;
  std::vector<float> expected, odd_expected, gemv_expected, dots_expected, odd_dots_expected;
  std::minstd_rand order{1};
  double tiled_us = 0;  // of the large problem by the best of GemmTiled
  TuneResult result;
  Recorder rec;  // after the buffers: it must be gone before they are
};

Result<TensorView> Tuner::allocate(DType dtype, std::initializer_list<uint32_t> dims) {
  uint64_t bytes = dtype_bytes(dtype);
  for (const uint32_t dim : dims)
    bytes *= dim;
  VL2_ASSIGN(auto buffer, device.memory().allocate((bytes + 3) / 4 * 4, MemoryKind::Device, "tuning"));
  buffers.push_back(std::move(buffer));
  return make_view(*buffers.back(), dtype, dims);
}

// Microseconds of one product: the device's own where it tells. Its results are stored as the encoder has most of them, which is
// no other pipeline than the one whose f32 results were compared.
Result<double> Tuner::time(const Problem& problem, const MatmulPlan& plan) {
  const int count = rec.timing() ? 1 : 8;
  Problem timed = problem;
  if (plan.kernel != MatmulKernel::Gemv)
    timed.y = make_view(*problem.y.buffer, problem.x.dtype, {problem.y.dim(0), problem.y.dim(1)});
  for (int i = 0; i < count; ++i)
    VL2_TRY(multiply(rec, timed, plan));
  const auto begin = Clock::now();
  VL2_TRY(rec.finish());
  double us = 1e6 * seconds_since(begin) / count;
  if (rec.timing()) {
    us = 0;
    for (const DispatchTime& dispatch : rec.take_times())
      us += 1e-3 * dispatch.ns;
  }
  return us;
}

// The numbers, the problems' sizes (what tier 0 multiplies in a moment), and tier 0's results.
Status Tuner::prepare() {
  rec.enable_timing(true);
  const uint32_t columns = cpu ? kCpuColumns : kColumns, k = cpu ? kCpuDepth : kDepth;
  const uint64_t row_bytes = uint64_t{columns} * 4 + uint64_t{k} * 6;
  const uint64_t room = device.memory().available_bytes() / 4 / row_bytes;
  auto rows = static_cast<uint32_t>(std::clamp<uint64_t>(room, 150, cpu ? kCpuRows : kRows));
  VL2_ASSIGN(x_f32, allocate(DType::F32, {rows, k}));
  VL2_ASSIGN(large.weight, allocate(DType::F16, {columns, k}));
  VL2_ASSIGN(large.y, allocate(DType::F32, {rows, columns}));
  VL2_ASSIGN(large.x, allocate(device.act(), {rows, k}));
  const std::vector<float> numbers = random_numbers(size_t{rows} * k, 1);
  VL2_TRY(upload_numbers(device, x_f32, numbers));
  VL2_TRY(upload_numbers(device, large.x, numbers));
  VL2_TRY(upload_numbers(device, large.weight, random_numbers(size_t{columns} * k, 0.05f)));

  const uint32_t few = std::min(rows, 128u);
  Problem first{x_f32.rows(0, few), large.weight, large.y.rows(0, few), {}};
  const MatmulPlan plan = plan_matmul(device.caps(), device.quirks(), 0, described(first, false));
  double us = 0;
  for (int i = 0; i < 2; ++i) {  // the first makes the pipeline
    VL2_TRY(matmul(rec, first.x, first.weight, first.y, {.plan = &plan}));
    const auto begin = Clock::now();
    VL2_TRY(rec.finish());
    us = 1e6 * seconds_since(begin);
  }
  if (!cpu)
    rows = std::clamp(static_cast<uint32_t>(kReferenceUs / us * few), std::min(rows, 300u), rows);
  rec.take_times();
  large.x = large.x.rows(0, rows);
  large.y = large.y.rows(0, rows);
  VL2_TRY(make_reference({x_f32.rows(0, rows), large.weight, large.y, {}}, expected));
  large.expected = expected;
  const uint32_t small_rows = std::max(rows / kSmallShare, std::min(rows, 150u));
  small = {large.x.rows(0, small_rows), large.weight, large.y.rows(0, small_rows),
           large.expected.first(size_t{small_rows} * columns)};
  return {};
}

Status Tuner::prepare_odd() {
  const uint32_t rows = std::min(large.x.dim(0), cpu ? 77u : 301u), columns = cpu ? 75 : 299, depth = large.x.dim(1),
                 k = depth - 43;
  std::vector<float> weight = random_numbers(size_t{columns} * depth, 0.05f);
  for (size_t i = 0; i < weight.size(); ++i)
    weight[i] = i % depth < k ? weight[i] : 0;  // as the loader pads rows
  VL2_ASSIGN(odd.weight, allocate(DType::F16, {columns, depth}));
  VL2_ASSIGN(odd.y, allocate(DType::F32, {rows, columns}));
  VL2_TRY(upload_numbers(device, odd.weight, weight));
  odd.x = large.x.rows(0, rows);
  TensorView x = x_f32.rows(0, rows);
  odd.x.dims[1] = x.dims[1] = odd.weight.dims[1] = k;
  VL2_TRY(make_reference({x, odd.weight, odd.y, {}}, odd_expected));
  odd.expected = odd_expected;
  return {};
}

// By the tiles that every device has, in f32.
Status Tuner::make_reference(const Problem& from, std::vector<float>& values) {
  MatmulPlan plan = plan_matmul(device.caps(), device.quirks(), 0, described(from, false));
  if (plan.kernel == MatmulKernel::Gemv)
    plan.kernel = MatmulKernel::GemmTiled;
  VL2_TRY(matmul(rec, from.x, from.weight, from.y, {.plan = &plan}));
  values.resize(from.y.element_count());
  VL2_TRY(rec.download(from.y, std::as_writable_bytes(std::span(values))));
  rec.take_times();
  return {};
}

// What a dispatch costs that waits for the one before: the difference between a long chain of them and a short one.
Status Tuner::measure_dispatch() {
  constexpr uint32_t kWidth = 64;
  VL2_ASSIGN(const TensorView rows, allocate(DType::F32, {2, kWidth}));
  VL2_TRY(rec.fill(rows, 0x3f800000u));
  VL2_TRY(rec.finish());
  const auto chain = [&](uint32_t length) -> Result<double> {
    for (uint32_t i = 0; i < length; ++i)
      VL2_TRY(rms_norm(rec, rows.rows(0, 1), rows.rows(1, 1).reshaped({kWidth}), rows.rows(0, 1), 1e-6f));
    const auto begin = Clock::now();
    VL2_TRY(rec.finish());
    return 1e6 * seconds_since(begin);
  };
  rec.enable_timing(false);
  const uint32_t few = 32, many = cpu ? 160 : 1056;
  std::vector<double> us;
  for (int i = 0; i < 6; ++i) {
    VL2_ASSIGN(const double begin, chain(few));
    VL2_ASSIGN(const double whole, chain(many));
    if (i > 0)  // the first makes the pipeline
      us.push_back((whole - begin) / (many - few));
  }
  rec.enable_timing(true);
  if (const double middle = median(us); middle > 0)
    result.tuning.dispatch_us = middle;
  return {};
}

// Makes pipelines on all cores, in the order of the list: recorded for a replay that never runs. What is wrong with one shows when
// it is recorded again.
void Tuner::compile(std::vector<Candidate>& list) {
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  const size_t count = std::min<size_t>(std::max(std::thread::hardware_concurrency(), 1u), list.size());
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back([&] {
      for (size_t at = next++; at < list.size() && (at < options.least || time_is_left(kCompileShare)); at = next++) {
        Recorder recorder(device);
        if (recorder.begin_capture().ok() && multiply(recorder, *list[at].problem, list[at].row.plan).ok())
          static_cast<void>(recorder.end_capture());
        list[at].compiled = true;
      }
    });
  for (std::thread& thread : threads)
    thread.join();
}

// Compares what a candidate makes of the numbers with tier 0's; y holds no number before.
Status Tuner::check(Candidate& candidate) {
  const Problem& p = *candidate.problem;
  TuneRow& row = candidate.row;
  const uint32_t rows = p.y.dim(0), columns = p.y.dim(1), count = std::min(rows, kCheckedRows);
  VL2_TRY(rec.fill(p.y, 0xffffffffu));
  if (const Status status = multiply(rec, p, row.plan); is_fatal(status))
    return status;
  else if (!status.ok())
    row.wrong = status.message();
  VL2_TRY(rec.finish());
  rec.take_times();
  double squares = 0;
  for (const float value : p.expected.first(columns))
    squares += double{value} * value;
  const double unit = std::sqrt(squares / columns);
  std::vector<float> values(size_t{count} * columns);
  if (!row.wrong.empty())
    return {};
  for (const uint32_t first : {0u, (rows - count) / 2, rows - count}) {
    VL2_TRY(rec.download(p.y.rows(first, count), std::as_writable_bytes(std::span(values))));
    const auto wanted = p.expected.subspan(size_t{first} * columns, values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      double error = std::abs(double{values[i]} - wanted[i]) / unit;
      error = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
      row.error = std::max(row.error, error);
      if (error > (row.plan.kernel == MatmulKernel::GemmDot ? kByteTolerance : kTolerance) && row.wrong.empty())
        row.wrong = fail(Code::VulkanError, "row ", first + i / columns, ", column ", i % columns, " is ", values[i],
                         ", tier 0 makes ", wanted[i])
                        .message();
    }
  }
  return {};
}

// Compiles, compares and times what the time allows. What it does not allow goes from the list.
Status Tuner::measure(std::vector<Candidate>& list) {
  compile(list);
  size_t checked = 0;
  for (Candidate& candidate : list) {
    if (!candidate.compiled || (checked >= options.least && !time_is_left(kCheckShare)))
      break;
    VL2_TRY(check(candidate));
    ++checked;
  }
  result.left_out += list.size() - checked;
  list.resize(checked);
  std::vector<Candidate*> right;
  for (Candidate& candidate : list)
    if (candidate.row.wrong.empty())
      right.push_back(&candidate);
  const double unit = right.empty() || cpu ? 0 : kWarmUpSeconds;
  for (const auto warm = Clock::now(); seconds_since(warm) < unit;)
    for (int i = 0; i < 4; ++i)
      VL2_TRY(time(*right[0]->problem, right[0]->row.plan).status());
  for (int round = 0; round < kRounds && (round < kLeastRounds || time_is_left(kTimeShare)); ++round) {
    std::shuffle(right.begin(), right.end(), order);
    for (Candidate* candidate : right) {
      VL2_ASSIGN(const double us, time(*candidate->problem, candidate->row.plan));
      candidate->us.push_back(us);
    }
  }
  for (Candidate* candidate : right)
    candidate->row.us = median(candidate->us);
  return {};
}

// The rows for the table: the fastest first, the wrong ones last.
void Tuner::keep(const std::vector<Candidate>& list) {
  std::vector<TuneRow> rows;
  for (const Candidate& candidate : list)
    rows.push_back(candidate.row);
  std::stable_sort(rows.begin(), rows.end(), [](const TuneRow& a, const TuneRow& b) { return a.tflop_s() > b.tflop_s(); });
  result.rows.insert(result.rows.end(), rows.begin(), rows.end());
}

// Where the driver does not tell: how many times longer one workgroup takes alone than its share of the whole. From the difference
// of two depths, which leaves the launch out.
Status Tuner::measure_cores(const Candidate& best) {
  result.cores_told = device.caps().cores > 0;
  if (result.cores_told) {
    result.tuning.cores = device.caps().cores;
    return {};
  }
  const MatmulPlan& plan = best.row.plan;
  const bool matrix = plan.kernel == MatmulKernel::GemmCoopmat;
  const uint32_t rows = matrix ? plan.matrix_tile.rows : plan.tile.rows(),
                 columns = matrix ? plan.matrix_tile.columns : plan.tile.columns(), k = large.x.dim(1);
  const Problem& whole = *best.problem;
  if (rows > whole.x.dim(0) || columns > whole.weight.dim(0))
    return {};
  Problem one{whole.x.rows(0, rows), whole.weight.rows(0, columns), whole.y.rows(0, rows), {}};
  one.y.dims[1] = columns;
  Problem half = one;
  half.x.dims[1] = half.weight.dims[1] = k / 2 / 64 * 64;
  const double share = static_cast<double>(k) / (k - half.x.dim(1));
  std::vector<double> us;
  for (int i = 0; i < 8; ++i) {
    VL2_ASSIGN(const double long_us, time(one, plan));
    VL2_ASSIGN(const double short_us, time(half, plan));
    if (i > 0)
      us.push_back(share * (long_us - short_us));
  }
  const double alone = median(us) / (matrix ? matrix_tile_alone(plan.matrix_tile) : 1);
  const double tiles =
      std::ceil(whole.x.dim(0) / static_cast<double>(rows)) * std::ceil(whole.weight.dim(0) / static_cast<double>(columns));
  if (alone > 0 && best.row.us > 0)
    result.tuning.cores = std::clamp(std::round(alone / (best.row.us / tiles)), 1.0, tiles);
  return {};
}

// What adding the slices of K reads in a microsecond, of as many results as the encoder has for two views.
Status Tuner::measure_cache(const MatmulPlan& best) {
  if (!rec.timing() || options.multiply)
    return {};
  constexpr uint32_t kSlices = 4;
  MatmulPlan plan = best;
  plan.slices = kSlices;
  const uint32_t rows = small.x.dim(0), columns = std::min(1152u, small.weight.dim(0));
  TensorView y = make_view(*large.y.buffer, DType::F32, {rows, columns});
  VL2_ASSIGN(const TensorView slices, allocate(DType::F32, {kSlices + 1, rows, columns}));
  std::vector<double> us;
  double moved = 0;
  for (int i = 0; i < 6; ++i) {
    VL2_TRY(matmul(rec, small.x, small.weight.rows(0, columns), y, {.slices = slices, .plan = &plan}));
    VL2_TRY(rec.finish());
    const std::vector<DispatchTime> times = rec.take_times();
    if (times.size() != 2)
      return {};                                           // K is too short to be cut
    moved = static_cast<double>(times[1].cost.flops) * 4;  // a sum is an f32 read
    if (i > 0)
      us.push_back(1e-3 * times[1].ns);
  }
  if (const double middle = median(us); middle > 0)
    result.tuning.cache_bytes_per_us = moved / middle;
  return {};
}

// Whether a candidate is right for sizes that it does not divide too, by other pipelines than those that were timed.
Result<bool> Tuner::confirm(Candidate& candidate, const Problem& uneven) {
  Candidate again{.row = candidate.row, .problem = &uneven};
  VL2_TRY(check(again));
  candidate.row.error = std::max(candidate.row.error, again.row.error);
  candidate.row.wrong = again.row.wrong;
  return again.row.wrong.empty();
}

// The tiles that products get, until all of them are right.
Status Tuner::confirm_matrix_tiles(std::vector<Candidate>& list) {
  std::vector<MatrixTile> confirmed;
  const auto next = [&]() -> Candidate* {
    for (const PlanRow& row : plans_of_models(device, result.tuning))
      for (Candidate& c : list)
        if (c.row.plan.matrix_tile == row.after.matrix_tile && row.after.kernel == MatmulKernel::GemmCoopmat &&
            c.row.wrong.empty() && std::find(confirmed.begin(), confirmed.end(), c.row.plan.matrix_tile) == confirmed.end())
          return &c;
    return nullptr;
  };
  while (Candidate* candidate = next()) {
    const MatrixTile tile = candidate->row.plan.matrix_tile;
    VL2_ASSIGN(const bool right, confirm(*candidate, odd));
    if (right) {
      confirmed.push_back(tile);
      continue;
    }
    for (Candidate& c : list)
      if (c.row.plan.matrix_tile == tile) {
        c.row.wrong = candidate->row.wrong;
        c.row.us = 0;
      }
    for (TileRate& rate : result.tuning.matrix_tiles)
      if (rate.tile == tile)
        rate.tflop_s = 0;
  }
  return {};
}

Status Tuner::measure_matrix_tiles() {
  std::vector<Candidate> list;
  const auto add = [&](const MatrixTile& tile, uint32_t fetch_parts) {
    Candidate c{.row = {.plan = {.kernel = MatmulKernel::GemmCoopmat, .tile = {}, .group = {}, .matrix_tile = tile}}};
    c.row.plan.fetch_parts = fetch_parts;
    c.problem = tile.rows * tile.columns <= kSmallTile ? &small : &large;
    c.row.problem = described(*c.problem, true);
    c.row.name = "matrix " + plan_name(c.row.plan);
    list.push_back(c);
  };
  for (const MatrixShape& shape : gemm_shapes(device.caps())) {
    std::vector<MatrixTile> tiles = matrix_tiles(device.caps(), shape);
    if (cpu)  // each of its products takes a CPU driver hundreds of instructions
      std::erase_if(tiles, [](const MatrixTile& t) { return t.subgroup_rows * t.subgroup_columns > 4 * t.shape.m * t.shape.n; });
    // Every third, then the others: if time runs out, there are some of each size.
    for (const size_t first : {0u, 2u, 1u})
      for (size_t i = first; i < tiles.size(); i += 3)
        add(tiles[i], 2);
  }
  VL2_TRY(measure(list));
  // The fastest again with their loads in other parts.
  std::vector<Candidate> done = std::move(list);
  std::stable_sort(done.begin(), done.end(),
                   [](const Candidate& a, const Candidate& b) { return a.row.tflop_s() > b.row.tflop_s(); });
  list.clear();
  for (size_t i = 0; i < std::min<size_t>(3, done.size()); ++i)
    for (const uint32_t parts : {1u, 4u})
      if (done[i].row.us > 0 && time_is_left(kCompileShare))
        add(done[i].row.plan.matrix_tile, parts);
  if (!list.empty())
    VL2_TRY(measure(list));
  done.insert(done.end(), list.begin(), list.end());
  std::stable_sort(done.begin(), done.end(),
                   [](const Candidate& a, const Candidate& b) { return a.row.tflop_s() > b.row.tflop_s(); });
  if (!done.empty() && done[0].row.us > 0) {
    VL2_TRY(measure_cores(done[0]));
    VL2_TRY(measure_cache(done[0].row.plan));
  }
  for (const Candidate& c : done) {
    const MatrixTile& tile = c.row.plan.matrix_tile;
    const double rate = matrix_tile_rate(tile, c.row.problem, c.row.us, result.tuning);
    auto& tiles = result.tuning.matrix_tiles;
    const auto known = std::find_if(tiles.begin(), tiles.end(), [&](const TileRate& t) { return t.tile == tile; });
    if (known == tiles.end())
      tiles.push_back({tile, c.row.plan.fetch_parts, rate});
    else if (rate > known->tflop_s)
      *known = {tile, c.row.plan.fetch_parts, rate};
  }
  VL2_TRY(confirm_matrix_tiles(done));
  keep(done);
  return {};
}

// The best tile of GemmTiled or GemmDot, the kernel's default unless another is worth it; nothing where none is right.
Result<std::optional<Candidate>> Tuner::best_tile(MatmulKernel kernel, const Problem& whole, const Problem& uneven) {
  const bool dots = kernel == MatmulKernel::GemmDot;
  std::vector<Candidate> list;
  for (const GemmTile& tile : dots ? dot_tile_candidates(device.caps()) : gemm_tile_candidates(device.caps())) {
    Candidate c{.row = {.plan = {.kernel = kernel, .tile = tile, .group = {}}}, .problem = &whole};
    c.row.problem = described(whole, false);
    c.row.name = (dots ? "bytes " : "tiles ") + plan_name(c.row.plan);
    list.push_back(c);
  }
  VL2_TRY(measure(list));
  Candidate* best = nullptr;
  for (bool found = false; !found;) {
    best = nullptr;
    for (Candidate& c : list)
      if (c.row.us > 0 && (best == nullptr || c.row.us * (best == &list[0] ? kWorthIt : 1) < best->row.us))
        best = &c;
    if (best == nullptr)
      break;
    VL2_ASSIGN(found, confirm(*best, uneven));
    if (!found)
      best->row.us = 0;
  }
  keep(list);
  return best != nullptr ? std::optional(*best) : std::nullopt;
}

// Where there are no matrix units, or none that is right.
Status Tuner::measure_gemm_tiles() {
  VL2_ASSIGN(const std::optional<Candidate> best, best_tile(MatmulKernel::GemmTiled, large, odd));
  if (!best)
    return {};
  tiled_us = best->row.us;
  result.tuning.gemm_tile = best->row.plan.tile;
  VL2_TRY(measure_cores(*best));
  return measure_cache(best->row.plan);
}

// The first rows of x by a weight in Q4_0.
Status Tuner::prepare_bytes(uint32_t rows, uint32_t columns, uint32_t k, Problem& p, std::vector<float>& values) {
  std::vector<float> weight = random_numbers(size_t{columns} * k, 0.05f);
  VL2_ASSIGN(p.weight, bed.weight(DType::Q4_0, {columns, k}, weight));
  VL2_ASSIGN(p.y, allocate(DType::F32, {rows, columns}));
  p.x = large.x.rows(0, rows);
  TensorView x = x_f32.rows(0, rows);
  p.x.dims[1] = x.dims[1] = k;
  VL2_TRY(make_reference({x, p.weight, p.y, {}}, values));
  p.expected = values;
  VL2_ASSIGN(p.bytes, allocate(DType::U32, {static_cast<uint32_t>(byte_rows_words(rows, k))}));
  return {};
}

// Where tiles multiply bytes: which, and whether that is faster at all.
Status Tuner::measure_dot_tiles() {
  const uint32_t rows = large.x.dim(0), k = large.x.dim(1);
  VL2_TRY(prepare_bytes(rows, large.weight.dim(0), k, large_dots, dots_expected));
  VL2_TRY(prepare_bytes(odd.x.dim(0), odd.weight.dim(0), k - 32, odd_dots, odd_dots_expected));
  VL2_ASSIGN(const std::optional<Candidate> best, best_tile(MatmulKernel::GemmDot, large_dots, odd_dots));
  result.tuning.dots = best && (tiled_us == 0 || best->row.us < tiled_us);
  if (best)
    result.tuning.dot_tile = best->row.plan.tile;
  return {};
}

// One row by a weight that no cache holds.
Status Tuner::measure_gemv_groups() {
  const uint32_t k = large.weight.dim(1), block = large.weight.dim(0);
  const auto blocks = static_cast<uint32_t>(large.y.element_count() * 2 / k / block);
  if (blocks == 0)
    return {};
  Problem p;
  p.x = large.x.rows(0, 1);
  p.weight = make_view(*large.y.buffer, DType::F16, {blocks * block, k});
  for (uint32_t i = 0; i < blocks; ++i)
    VL2_TRY(rec.copy(large.weight, p.weight.rows(i * block, block)));
  VL2_ASSIGN(p.y, allocate(DType::F32, {1, blocks * block}));
  VL2_TRY(make_reference({x_f32.rows(0, 1), p.weight, p.y, {}}, gemv_expected));
  p.expected = gemv_expected;
  std::vector<Candidate> list;
  for (const GemvGroup& group : gemv_group_candidates(device.caps())) {
    Candidate c{.row = {.plan = {.kernel = MatmulKernel::Gemv, .tile = {}, .group = group}}, .problem = &p};
    c.row.problem = described(p, false);
    c.row.name = "gemv " + plan_name(c.row.plan);
    list.push_back(c);
  }
  VL2_TRY(measure(list));
  const Candidate* best = nullptr;
  for (const Candidate& c : list)
    if (c.row.us > 0 && (best == nullptr || c.row.us * (best == &list[0] ? kWorthIt : 1) < best->row.us))
      best = &c;
  if (best != nullptr)
    result.tuning.gemv_group = best->row.plan.group;
  keep(list);
  return {};
}

Result<TuneResult> Tuner::run() {
  result.tuning = known_tuning(device.caps());
  result.tuning.matrix_tiles.clear();
  VL2_TRY(prepare());
  VL2_TRY(prepare_odd());
  if (device.tier() >= 3 && large.x.dtype == DType::F16)
    VL2_TRY(measure_matrix_tiles());
  const auto& tiles = result.tuning.matrix_tiles;
  if (std::none_of(tiles.begin(), tiles.end(), [](const TileRate& t) { return t.tflop_s > 0; }))
    VL2_TRY(measure_gemm_tiles());
  if (device.tier() == 2)
    VL2_TRY(measure_dot_tiles());
  VL2_TRY(measure_dispatch());  // while the clocks are up
  VL2_TRY(measure_gemv_groups());
  VL2_TRY(rec.finish());
  result.seconds = seconds_since(start);
  return std::move(result);
}

}  // namespace

double TuneRow::tflop_s() const {
  return us > 0 ? 2e-6 * problem.rows * problem.columns * problem.k / us : 0;
}

bool worth_tuning(const Device& device) {
  return !device.quirks().barriers_are_slow && device.executes();
}

Result<TuneResult> tune_device(Device& device, const TuneOptions& options) {
  return Tuner(device, options).run();
}

}  // namespace vl2
