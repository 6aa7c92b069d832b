#include "app/bench/plans.h"

#include <algorithm>

#include "app/bench/report.h"
#include "runtime/clock.h"
#include "runtime/half.h"
#include "runtime/ops/matmul.h"
#include "runtime/recorder.h"
#include "runtime/upload.h"

namespace vl2 {

namespace {
constexpr double kWarmUpSeconds = 0.5;  // as jobs.cpp
}  // namespace

std::vector<float> random_numbers(size_t count, float scale) {
  std::vector<float> values(count);
  uint64_t state = 0x2545f4914f6cdd1du;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = half_to_float(float_to_half(scale * (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f)));
  }
  return values;
}

Status upload_numbers(Device& device, const TensorView& view, const std::vector<float>& values) {
  if (view.dtype == DType::F32)
    return upload_bytes(device, *view.buffer, std::as_bytes(std::span(values)));
  std::vector<uint16_t> halves(values.size() + values.size() % 2);
  std::transform(values.begin(), values.end(), halves.begin(), float_to_half);
  return upload_bytes(device, *view.buffer, std::as_bytes(std::span(halves)));
}

std::string plan_name(const MatmulPlan& plan) {
  const auto by = [](uint32_t a, uint32_t b) { return std::to_string(a) + " x " + std::to_string(b); };
  std::string name;
  switch (plan.kernel) {
    case MatmulKernel::GemmCoopmat: {
      const MatrixTile& t = plan.matrix_tile;
      name = by(t.rows, t.columns) + " by " + by(t.subgroup_rows, t.subgroup_columns) + ", k " + std::to_string(t.k) +
             (t.stages > 1 ? " twice, " : ", ") + std::to_string(t.shape.m) + "x" + std::to_string(t.shape.n) + "x" +
             std::to_string(t.shape.k) + ", fetch " + std::to_string(plan.fetch_parts);
      break;
    }
    case MatmulKernel::GemmCoopmat2: name = by(plan.workgroup_tile.rows, plan.workgroup_tile.columns); break;
    case MatmulKernel::Gemv:
      name = std::to_string(plan.group.threads) + " threads, " + std::to_string(plan.group.columns) + " columns";
      break;
    case MatmulKernel::GemmTiled:
    case MatmulKernel::GemmDot:
    case MatmulKernel::GemmDirect:
      name = by(plan.tile.rows(), plan.tile.columns()) + " by " + by(plan.tile.rows_per_thread, plan.tile.columns_per_thread) +
             ", k " + std::to_string(plan.tile.k);
  }
  return name + (plan.slices > 1 ? ", slices " + std::to_string(plan.slices) : "");
}

std::vector<PlanRow> plans_of_models(const Device& device, const DeviceTuning& tuning) {
  const bool f16 = device.act() == DType::F16;
  std::vector<PlanRow> rows;
  const auto add = [&](const std::string& name, uint32_t m, uint32_t n, uint32_t k, bool sliced) {
    PlanRow row{.name = name, .problem = {.rows = m, .columns = n, .f16 = f16, .k = k, .sliced = sliced}};
    row.before = plan_matmul(device.caps(), device.quirks(), device.tier(), row.problem, known_tuning(device.caps()));
    row.after = plan_matmul(device.caps(), device.quirks(), device.tier(), row.problem, tuning);
    rows.push_back(row);
  };
  for (const uint32_t views : {10u, 2u}) {
    const std::string name = "vision " + std::to_string(views);
    add(name + ", up", 729 * views, 4304, 1152, true);
    add(name + ", down", 729 * views, 1152, 4304, true);
    add(name + ", qkv", 729 * views, 3456, 1152, true);
    add(name + ", out", 729 * views, 1152, 1152, true);
  }
  add("prompt 2048, q", 2048, 3072, 2048, false);
  add("prompt 2048, out", 2048, 2048, 2048, false);
  add("prompt 2048, kv_a", 2048, 576, 2048, false);
  add("prompt 512, out", 512, 2048, 2048, false);
  return rows;
}

Status time_plans(Device& device, std::vector<PlanRow>& rows) {
  constexpr size_t kLast = 9;  // of each plan's times: before, the clocks may not have been up
  std::erase_if(rows, [](const PlanRow& row) { return row.before == row.after; });
  uint64_t x_elements = 1, w_elements = 1, y_elements = 1, slices_elements = 4;
  for (const PlanRow& row : rows) {
    const MatmulProblem& p = row.problem;
    const uint64_t y = uint64_t{p.rows} * (p.columns + 3) / 4 * 4;
    x_elements = std::max(x_elements, uint64_t{p.rows} * p.k);
    w_elements = std::max(w_elements, uint64_t{p.columns} * p.k);
    y_elements = std::max(y_elements, y);
    for (const uint32_t slices : {row.before.slices, row.after.slices})
      slices_elements = std::max(slices_elements, slices > 1 ? (slices + 1) * y : 0);
  }
  const auto make = [&](uint64_t elements, DType dtype) {
    return device.memory().allocate((elements * dtype_bytes(dtype) + 3) / 4 * 4, MemoryKind::Device, "comparison");
  };
  VL2_ASSIGN(const auto x_buffer, make(x_elements, device.act()));
  VL2_ASSIGN(const auto w_buffer, make(w_elements, DType::F16));
  VL2_ASSIGN(const auto y_buffer, make(y_elements, DType::F32));
  VL2_ASSIGN(const auto slices_buffer, make(slices_elements, DType::F32));
  const auto flat = [](const Buffer& buffer, DType dtype, uint64_t elements) {
    return make_view(buffer, dtype, {static_cast<uint32_t>(elements)});
  };
  VL2_TRY(upload_numbers(device, flat(*x_buffer, device.act(), x_elements), random_numbers(x_elements, 0.1f)));
  VL2_TRY(upload_numbers(device, flat(*w_buffer, DType::F16, w_elements), random_numbers(w_elements, 0.1f)));
  Recorder rec(device);
  rec.enable_timing(true);
  for (PlanRow& row : rows) {
    const MatmulProblem& p = row.problem;
    const DType y_type = p.columns == 1152 || p.columns == 2048 ? DType::F32 : device.act();  // those are added to f32
    const TensorView x = make_view(*x_buffer, device.act(), {p.rows, p.k}),
                     w = make_view(*w_buffer, DType::F16, {p.columns, p.k}),
                     y = make_view(*y_buffer, y_type, {p.rows, p.columns}),
                     slices = make_view(*slices_buffer, DType::F32, {static_cast<uint32_t>(slices_elements)});
    const auto time = [&](const MatmulPlan& plan) -> Result<double> {
      const auto begin = Clock::now();
      VL2_TRY(matmul(rec, x, w, y, {.slices = plan.slices > 1 ? slices : TensorView{}, .plan = &plan}));
      VL2_TRY(rec.finish());
      double us = rec.timing() ? 0 : 1e6 * seconds_since(begin);
      for (const DispatchTime& dispatch : rec.take_times())
        us += 1e-3 * dispatch.ns;
      return us;
    };
    std::vector<double> before, after;
    for (const auto warm = Clock::now(); after.size() < kLast || seconds_since(warm) < kWarmUpSeconds;) {
      VL2_ASSIGN(const double a, time(row.before));
      VL2_ASSIGN(const double b, time(row.after));
      before.push_back(a);
      after.push_back(b);
    }
    const auto last = [](const std::vector<double>& all) { return median({all.end() - kLast, all.end()}); };
    row.before_us = last(before);
    row.after_us = last(after);
  }
  return {};
}

}  // namespace vl2
