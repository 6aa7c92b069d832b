#include <cstdio>
#include <utility>

#include "app/bench/plans.h"
#include "app/bench/tuner.h"
#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "runtime/tuning_file.h"

namespace vl2 {

namespace {

// Whether any product gets this very plan.
bool is_chosen(const TuneRow& row, const std::vector<PlanRow>& plans, const DeviceTuning& tuning) {
  if (row.plan.kernel == MatmulKernel::Gemv)
    return tuning.gemv_group == row.plan.group;
  if (row.plan.kernel == MatmulKernel::GemmDot)
    return tuning.dots && tuning.dot_tile == row.plan.tile;
  if (row.plan.kernel == MatmulKernel::GemmTiled)
    return tuning.gemm_tile == row.plan.tile;
  for (const PlanRow& plan : plans)
    if (plan.after.matrix_tile == row.plan.matrix_tile && plan.after.fetch_parts == row.plan.fetch_parts)
      return true;
  return false;
}

void print_rows(const TuneResult& result, const std::vector<PlanRow>& plans) {
  std::printf("%-58s %10s %9s  %s\n", "kernel", "TFLOP/s", "error", "chosen");
  for (const TuneRow& row : result.rows)
    if (row.wrong.empty())
      std::printf("%-58s %10.3g %9.1e  %s\n", row.name.c_str(), row.tflop_s(), row.error,
                  is_chosen(row, plans, result.tuning) ? "yes" : "");
    else
      std::printf("%-58s %10s %9.1e  wrong, never chosen: %s\n", row.name.c_str(), "-", row.error, row.wrong.c_str());
  if (result.left_out > 0)
    std::printf("%zu more kernels were left out: the time was up\n", result.left_out);
}

void print_plans(const std::vector<PlanRow>& plans) {
  std::printf("\n%-18s %-52s %s\n", "product", "before", "now");
  for (const PlanRow& row : plans)
    std::printf("%-18s %-52s %s\n", row.name.c_str(), plan_name(row.before).c_str(),
                row.before == row.after ? "the same" : plan_name(row.after).c_str());
}

void print_times(const std::vector<PlanRow>& plans) {
  std::printf("\n%zu plans changed\n", plans.size());
  for (const PlanRow& row : plans)
    std::printf("%-18s %.1f us before, %.1f us now, %+.1f %%\n", row.name.c_str(), row.before_us, row.after_us,
                100 * (row.after_us / row.before_us - 1));
}

}  // namespace

Status tune_command(const TuneCommandOptions& options) {
  VL2_ASSIGN(DeviceOptions device_wanted, device_options(options.device));
  device_wanted.tuned = false;  // what an earlier run found must not decide what this one finds
  const std::string folder = std::exchange(device_wanted.cache_dir, "");  // few of these pipelines will ever run again
  VL2_ASSIGN(const auto device, Device::create(device_wanted));
  const DeviceCaps& caps = device->caps();
  std::printf("%s, %s %s, tier %u\n", caps.name.c_str(), caps.driver_name.c_str(), caps.driver_info.c_str(), device->tier());
  if (!worth_tuning(*device) && !(options.force && device->executes())) {
    std::printf("nothing to tune: this driver runs on the CPU, where there is no choice to make\n");
    return {};
  }
  VL2_ASSIGN(const TuneResult result, tune_device(*device, {.seconds = options.seconds}));
  std::vector<PlanRow> plans = plans_of_models(*device, result.tuning);
  print_rows(result, plans);
  print_plans(plans);
  std::printf("\n%.0f cores (%s), %.2f us a dependent dispatch, %.0f GB/s for slices of K; %.1f s\n", result.tuning.cores,
              result.cores_told ? "the driver's word" : "measured", result.tuning.dispatch_us,
              1e-3 * result.tuning.cache_bytes_per_us, result.seconds);
  if (folder.empty()) {
    std::printf("not kept: there is no cache folder (VL2_CACHE_DIR is empty)\n");
  } else {
    const std::string path = tuning_path(folder, caps);
    VL2_TRY(write_tuning(path, caps, result.tuning));
    std::printf("kept in %s\n", path.c_str());
  }
  if (!options.compare)
    return {};
  VL2_TRY(time_plans(*device, plans));
  print_times(plans);
  return {};
}

}  // namespace vl2
