// What `vl2 tune` does: measures how fast this device's kernels and launches are, and which of them it gets right.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/ops/matmul.h"
#include "runtime/recorder.h"
#include "runtime/status.h"
#include "runtime/tuning.h"

namespace vl2 {

/// y = x W^T by options.plan.
using Multiply = std::function<Status(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y,
                                      const MatmulOptions& options)>;

struct TuneOptions {
  double seconds = 20;  ///< in all; a pipeline whose compilation has begun is waited for
  size_t least = 1;     ///< candidates of a kernel that are measured whatever the time
  Multiply multiply;    ///< instead of matmul(), for tests: a kernel that is wrong. Empty: matmul()
};

/// One candidate.
struct TuneRow {
  std::string name;  ///< "matrix 128 x 128 by 64 x 64, k 64, 16x8x16, fetch 2"
  MatmulPlan plan;
  MatmulProblem problem;  ///< that it was measured with
  double us = 0;          ///< the median of its times; 0: there are none
  double error = 0;       ///< the largest difference from tier 0's result, in root mean squares of that
  std::string wrong;      ///< why it is never chosen; empty: it may be

  double tflop_s() const;
};

struct TuneResult {
  DeviceTuning tuning;
  std::vector<TuneRow> rows;  ///< of each kernel the fastest first, the wrong ones last
  size_t left_out = 0;        ///< candidates for which no time was left
  bool cores_told = false;    ///< by the driver; else measured
  double seconds = 0;
};

/// Whether the choices that a tuning decides exist on a device at all.
bool worth_tuning(const Device& device);

/// Measures; with small problems on a CPU driver. Each candidate first multiplies random numbers, and its result is compared with tier 0's on the same numbers: only
/// what is right is timed; what products would get must also be right for sizes that it does not divide. Clocks are warm, the order is another each time, and at least three times are taken.
///
/// Errors  DeviceLost, OutOfMemory, VulkanError. A candidate that fails otherwise is a row that is wrong
Result<TuneResult> tune_device(Device& device, const TuneOptions& options);

}  // namespace vl2
