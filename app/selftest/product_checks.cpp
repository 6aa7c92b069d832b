// Products with weights: prefill's, experts', and decode's.
#include <cmath>

#include "app/selftest/checks.h"
#include "runtime/ops/decode_gemv.h"
#include "runtime/ops/decode_router.h"
#include "runtime/ops/expert_matmul.h"
#include "runtime/ops/expert_schedule.h"
#include "runtime/ops/matmul.h"

namespace vl2 {

namespace {

// Sums in f32 in another order, and, on matrix units, weights in blocks rounded to f16: seen 1.5e-6 and 9.2e-4 (lavapipe 25 and 26).
// Planted fault: the last of 256 or 512 products left out, 6.3e-2 at the least.
constexpr double kProductLimit = 8e-3;
// Of decode's products with weights in blocks: x is rounded to bytes on devices that multiply these fast. Seen on an H200: 3.8e-2 after
// two products of experts, less than 3e-2 after one; without rounding 6.4e-7. The fault is the same.
constexpr double kByteProductLimit = 5e-2;
// And of prompts' in tier 2.
double limit_of(const MatmulPlan& plan) {
  return plan.kernel == MatmulKernel::GemmDot ? kByteProductLimit : kProductLimit;
}

struct Shape {
  uint32_t rows, columns, k;
};

// Row `row` of x times row `column` of w.
double dot(const std::vector<float>& x, size_t row, const std::vector<float>& w, size_t column, size_t k) {
  double sum = 0;
  for (size_t i = 0; i < k; ++i)
    sum += static_cast<double>(x[row * k + i]) * static_cast<double>(w[column * k + i]);
  return sum;
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

const char* kernel_name(MatmulKernel kernel) {
  switch (kernel) {
    case MatmulKernel::GemmTiled: return "gemm_tiled";
    case MatmulKernel::GemmDirect: return "gemm_direct";
    case MatmulKernel::Gemv: return "gemv";
    case MatmulKernel::GemmCoopmat: return "gemm_coopmat";
    case MatmulKernel::GemmCoopmat2: return "gemm_coopmat2";
    case MatmulKernel::GemmDot: return "gemm_dot";
  }
  return "";
}

// y = x W^T; in tier 0 with its kernel and in f32, else as the model would.
Result<CheckedNumbers> multiply(TestBed& bed, const Shape& s, DType format, bool tier0) {
  const DType act = tier0 ? DType::F32 : bed.device.act();
  const std::vector<float> x = some_numbers(size_t{s.rows} * s.k, 1, 1);
  std::vector<float> w = some_numbers(size_t{s.columns} * s.k, 0.1f, 2);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(act, {s.rows, s.k}, x));
  VL2_ASSIGN(const TensorView w_view, bed.weight(format, {s.columns, s.k}, w));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {s.rows, s.columns}));
  const MatmulPlan plan =
      plan_matmul(bed.device.caps(), bed.device.quirks(), 0,
                  {.rows = s.rows, .columns = s.columns, .f16 = false, .blocks = dtype_block(format) > 1, .k = s.k});
  TensorView bytes;
  if (const uint32_t words = tier0 ? 0 : matmul_bytes_words(bed.rec, x_view, w_view); words > 0) {
    VL2_ASSIGN(bytes, bed.result(DType::U32, {words}));
  }
  VL2_TRY(matmul(bed.rec, x_view, w_view, y, {.bytes = bytes, .plan = tier0 ? &plan : nullptr}));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t row = 0; row < s.rows; ++row)
    for (size_t column = 0; column < s.columns; ++column)
      numbers.wanted.push_back(dot(x, row, w, column, s.k));
  return numbers;
}

// Tokens with the experts that they go to, and the order of the pairs by expert.
struct Routing {
  static constexpr uint32_t kTokens = 45, kTopK = 3, kExperts = 7, kPairs = kTokens * kTopK;
  static constexpr uint32_t kColumns = 72, kK = 256;  // of an expert's weight
  std::vector<uint32_t> ids, slot_pair, offsets;

  Routing() : offsets(kExperts + 1) {
    for (uint32_t pair = 0; pair < kPairs; ++pair)  // of a token all different; expert 6 gets none
      ids.push_back((pair / kTopK * (pair / kTopK) + pair % kTopK * 2) % (kExperts - 1));
    for (uint32_t expert = 0; expert < kExperts; ++expert) {
      for (uint32_t pair = 0; pair < kPairs; ++pair)
        if (ids[pair] == expert)
          slot_pair.push_back(pair);
      offsets[expert + 1] = static_cast<uint32_t>(slot_pair.size());
    }
  }
};

Result<ExpertSchedule> record_schedule(TestBed& bed, const Routing& routing) {
  ExpertSchedule schedule;
  VL2_ASSIGN(const TensorView ids, bed.words({Routing::kTokens, Routing::kTopK}, routing.ids));
  VL2_ASSIGN(schedule.slot_pair, bed.result(DType::U32, {Routing::kPairs}));
  VL2_ASSIGN(schedule.pair_slot, bed.result(DType::U32, {Routing::kPairs}));
  VL2_ASSIGN(schedule.offsets, bed.result(DType::U32, {Routing::kExperts + 1}));
  VL2_TRY(expert_schedule(bed.rec, ids, Routing::kExperts, schedule));
  return schedule;
}

Result<CheckedNumbers> sort_by_expert(TestBed& bed) {
  const Routing routing;
  VL2_ASSIGN(const ExpertSchedule schedule, record_schedule(bed, routing));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(schedule.slot_pair));
  VL2_ASSIGN(const std::vector<float> inverse, bed.read(schedule.pair_slot));
  VL2_ASSIGN(const std::vector<float> offsets, bed.read(schedule.offsets));
  numbers.got.insert(numbers.got.end(), inverse.begin(), inverse.end());
  numbers.got.insert(numbers.got.end(), offsets.begin(), offsets.end());
  numbers.wanted.assign(routing.slot_pair.begin(), routing.slot_pair.end());
  std::vector<double> slots(Routing::kPairs);
  for (size_t slot = 0; slot < slots.size(); ++slot)
    slots[routing.slot_pair[slot]] = static_cast<double>(slot);
  numbers.wanted.insert(numbers.wanted.end(), slots.begin(), slots.end());
  numbers.wanted.insert(numbers.wanted.end(), routing.offsets.begin(), routing.offsets.end());
  return numbers;
}

Result<CheckedNumbers> multiply_experts(TestBed& bed, DType format) {
  constexpr uint32_t kColumns = Routing::kColumns, kK = Routing::kK;
  const Routing routing;
  VL2_ASSIGN(const ExpertSchedule schedule, record_schedule(bed, routing));
  const std::vector<float> x = some_numbers(size_t{Routing::kTokens} * kK, 1, 3);
  std::vector<float> w = some_numbers(size_t{Routing::kExperts} * kColumns * kK, 0.1f, 4);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(bed.device.act(), {Routing::kTokens, kK}, x));
  VL2_ASSIGN(const TensorView w_view, bed.weight(format, {Routing::kExperts, kColumns, kK}, w));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {Routing::kPairs, kColumns}));
  TensorView bytes;
  if (const uint32_t words = expert_bytes_words(bed.rec, x_view, w_view, Routing::kPairs); words > 0) {
    VL2_ASSIGN(bytes, bed.result(DType::U32, {words}));
  }
  VL2_TRY(expert_matmul(bed.rec, x_view, w_view, schedule, Routing::kTopK, ExpertRows::Tokens, y, nullptr, bytes));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (const uint32_t pair : routing.slot_pair)
    for (size_t column = 0; column < kColumns; ++column)
      numbers.wanted.push_back(dot(x, pair / Routing::kTopK, w, size_t{routing.ids[pair]} * kColumns + column, kK));
  return numbers;
}

// ---- Decode ----------------------------------------------------------------------------------------------------------------------

Status record_gemv(TestBed& bed, const DecodeGemv& op, uint32_t rows, uint32_t k) {
  const Device& device = bed.device;
  const DType format = op.weight.dtype;
  if (const auto group = decode_dot_group(device.caps(), device.tier(), rows, k, format, op.pairs))
    return decode_gemv(bed.rec, op, *group);
  return decode_gemv(bed.rec, op, decode_gemv_group(device.caps(), device.quirks(), rows, k, format, op.pairs));
}

std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& norm, double eps) {
  double squares = 0;
  for (const float value : x)
    squares += static_cast<double>(value) * static_cast<double>(value);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = static_cast<float>(static_cast<double>(x[i]) * factor * static_cast<double>(norm[i]));
  return y;
}

constexpr uint32_t kHidden = 512, kDecodeRows = 176;

// y += W norm(x)
Result<CheckedNumbers> decode_normed(TestBed& bed, DType format) {
  const std::vector<float> x = some_numbers(kHidden, 2, 5), norm = some_numbers(kHidden, 1, 6),
                           before = some_numbers(kDecodeRows, 1, 7);
  std::vector<float> w = some_numbers(size_t{kDecodeRows} * kHidden, 0.1f, 8);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(DType::F32, {kHidden}, x));
  VL2_ASSIGN(const TensorView norm_view, bed.numbers(DType::F32, {kHidden}, norm));
  VL2_ASSIGN(const TensorView w_view, bed.weight(format, {kDecodeRows, kHidden}, w));
  VL2_ASSIGN(const TensorView y, bed.numbers(DType::F32, {kDecodeRows}, before));
  VL2_TRY(record_gemv(bed, {.x = x_view, .norm = norm_view, .weight = w_view, .y = y, .accumulate = true, .eps = 1e-6f},
                      kDecodeRows, kHidden));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  const std::vector<float> input = normed(x, norm, 1e-6);
  for (size_t row = 0; row < kDecodeRows; ++row)
    numbers.wanted.push_back(static_cast<double>(before[row]) + dot(input, 0, w, row, kHidden));
  return numbers;
}

// The chosen experts' gates and ups, then the sum of their downs.
Result<CheckedNumbers> decode_experts(TestBed& bed, DType format) {
  constexpr uint32_t kExperts = 5, kInner = 256;
  const std::vector<uint32_t> ids = {3, 0, 4};
  const std::vector<float> shares = {0.5f, 0.25f, 0.75f}, x = some_numbers(kHidden, 1, 9);
  const auto chosen = static_cast<uint32_t>(ids.size());
  std::vector<float> gate_up = some_numbers(size_t{kExperts} * 2 * kInner * kHidden, 0.1f, 10),
                     down = some_numbers(size_t{kExperts} * kDecodeRows * kInner, 0.1f, 11);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(DType::F32, {kHidden}, x));
  VL2_ASSIGN(const TensorView gate_up_view, bed.weight(format, {kExperts, 2 * kInner, kHidden}, gate_up));
  VL2_ASSIGN(const TensorView down_view, bed.weight(format, {kExperts, kDecodeRows, kInner}, down));
  VL2_ASSIGN(const TensorView ids_view, bed.words({chosen}, ids));
  VL2_ASSIGN(const TensorView shares_view, bed.numbers(DType::F32, {chosen}, shares));
  VL2_ASSIGN(const TensorView gated, bed.result(DType::F32, {chosen, kInner}));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {kDecodeRows}));
  VL2_TRY(record_gemv(
      bed, {.x = x_view, .weight = gate_up_view, .ids = ids_view, .expert_weights = shares_view, .y = gated, .pairs = true},
      2 * kInner * chosen, kHidden));
  VL2_TRY(record_gemv(bed, {.x = gated, .weight = down_view, .ids = ids_view, .y = y}, kDecodeRows, kInner * chosen));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  numbers.wanted.assign(kDecodeRows, 0);
  for (size_t i = 0; i < chosen; ++i) {
    const size_t expert = ids[i];
    std::vector<float> inner(kInner);
    for (size_t row = 0; row < kInner; ++row)
      inner[row] =
          static_cast<float>(static_cast<double>(shares[i]) * silu(dot(x, 0, gate_up, expert * 2 * kInner + row, kHidden)) *
                             dot(x, 0, gate_up, (expert * 2 + 1) * kInner + row, kHidden));
    for (size_t row = 0; row < kDecodeRows; ++row)
      numbers.wanted[row] += dot(inner, 0, down, expert * kDecodeRows + row, kInner);
  }
  return numbers;
}

}  // namespace

void add_product_checks(const Device& device, std::vector<Check>& checks) {
  const auto name_of = [](const Shape& s, DType format) {
    return std::to_string(s.rows) + " x " + std::to_string(s.columns) + " x " + std::to_string(s.k) + ", weights " +
           dtype_name(format);
  };
  const auto add = [&](const Shape& s, DType format, bool tier0) {
    const MatmulProblem problem{.rows = s.rows,
                                .columns = s.columns,
                                .f16 = !tier0 && device.act() == DType::F16,
                                .blocks = dtype_block(format) > 1,
                                .k = s.k,
                                .bytes = true};
    const MatmulPlan plan = tier0 ? plan_matmul(device.caps(), device.quirks(), 0, problem)
                                  : plan_matmul(device.caps(), device.quirks(), device.tier(), problem, device.tuning());
    checks.push_back({std::string("matmul ") + kernel_name(plan.kernel) + (tier0 ? " of tier 0 " : " ") + name_of(s, format),
                      limit_of(plan), [=](TestBed& bed) { return multiply(bed, s, format, tier0); }});
  };
  add({77, 136, 256}, DType::F16, true);
  add({77, 136, 256}, DType::F16, false);
  add({300, 264, 256}, DType::F16, false);
  add({1, 136, 512}, DType::F16, false);
  for (const DType format : {DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K})
    add({45, 136, 256}, format, false);
  checks.push_back({"expert_schedule 45 tokens, 3 of 7 experts", 0, sort_by_expert});
  for (const DType format : {DType::F16, DType::Q4_K}) {
    const MatmulProblem problem{.rows = Routing::kPairs,
                                .columns = Routing::kColumns,
                                .f16 = device.act() == DType::F16,
                                .blocks = dtype_block(format) > 1,
                                .k = Routing::kK,
                                .bytes = true};
    const MatmulPlan plan =
        plan_expert_matmul(device.caps(), device.quirks(), device.tier(), problem, Routing::kExperts, device.tuning());
    checks.push_back({std::string("expert_matmul 45 tokens, 3 of 7 experts, weights ") + dtype_name(format), limit_of(plan),
                      [=](TestBed& bed) { return multiply_experts(bed, format); }});
  }
  for (const DType format : {DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K}) {
    const double limit = dtype_block(format) > 1 ? kByteProductLimit : kProductLimit;
    checks.push_back({std::string("decode_gemv with norm, weights ") + dtype_name(format), limit,
                      [=](TestBed& bed) { return decode_normed(bed, format); }});
  }
  for (const DType format : {DType::F16, DType::Q4_0})
    checks.push_back({std::string("decode_gemv of 3 experts, weights ") + dtype_name(format),
                      dtype_block(format) > 1 ? kByteProductLimit : kProductLimit,
                      [=](TestBed& bed) { return decode_experts(bed, format); }});
}

}  // namespace vl2
