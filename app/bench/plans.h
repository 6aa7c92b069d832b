// What is chosen for the products of the models, before and after a tuning.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/tuning.h"

namespace vl2 {

/// A product of the models, and what is chosen for it.
struct PlanRow {
  std::string name;
  MatmulProblem problem;
  MatmulPlan before, after;            ///< by what is known of such devices, and by the tuning
  double before_us = 0, after_us = 0;  ///< 0: not measured, or the plans are the same
};

/// The plans for products of encoder and decoder, before a tuning and by it. Pure.
std::vector<PlanRow> plans_of_models(const Device& device, const DeviceTuning& tuning);

/// Times both plans of the rows where they differ, in turn and with warm clocks; the other rows go.
Status time_plans(Device& device, std::vector<PlanRow>& rows);

/// Numbers from -scale to scale that f16 holds: the same ones each time.
std::vector<float> random_numbers(size_t count, float scale);

/// Numbers into a f32 or f16 tensor, contiguous at the start of its buffer; waits.
Status upload_numbers(Device& device, const TensorView& view, const std::vector<float>& values);

/// "128 x 128 by 64 x 64, k 64, 16x8x16, fetch 2, slices 2".
std::string plan_name(const MatmulPlan& plan);

}  // namespace vl2
