#include "runtime/ops/layer_norm.h"

#include "runtime/device.h"
#include "runtime/ops/flat_groups.h"
#include "runtime/ops/matmul_launch.h"
#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/layer_norm.h"

namespace vl2 {

namespace {

// Of a row 1152 wide an invocation keeps three quads, and three subgroups of 32 make a workgroup.
constexpr uint32_t kQuadsKept = 3, kMostThreads = 256;

}  // namespace

Status layer_norm(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& bias, const TensorView& y,
                  float eps) {
  if (x.rank() != 2 || !same_shape(x, y) || x.stride(1) != 1 || y.stride(1) != 1)
    return fail(Code::BadShape, "layer_norm: x ", x, " and y ", y, " must be the same [rows, width], rows adjacent inside");
  if (weight.rank() != 1 || weight.dim(0) != x.dim(1) || weight.stride(0) != 1)
    return fail(Code::BadShape, "layer_norm: weight ", weight, " must be [", x.dim(1), "], the width of x");
  if (bias.rank() != 1 || bias.dim(0) != x.dim(1) || bias.stride(0) != 1)
    return fail(Code::BadShape, "layer_norm: bias ", bias, " must be [", x.dim(1), "], the width of x");
  if (x.dtype != DType::F32 || weight.dtype != DType::F32 || bias.dtype != DType::F32 ||
      (y.dtype != DType::F32 && y.dtype != DType::F16))
    return fail(Code::BadDType, "layer_norm: x, weight and bias must be f32 and y f32 or f16, got ", x, ", ", weight, ", ", bias,
                ", ", y);
  if (x.element_count() == 0)
    return {};

  const AlignedView x_bound = rec.aligned(x), weight_bound = rec.aligned(weight), bias_bound = rec.aligned(bias),
                    y_bound = rec.aligned(y);
  const LayerNormParams params{.rows = x.dim(0),
                               .width = x.dim(1),
                               .x_row_stride = x.stride(0),
                               .y_row_stride = y.stride(0),
                               .x_offset = x_bound.remainder,
                               .weight_offset = weight_bound.remainder,
                               .bias_offset = bias_bound.remainder,
                               .y_offset = y_bound.remainder,
                               .eps = eps};
  const Cost cost{.bytes = x.element_count() * (4 + dtype_bytes(y.dtype)), .flops = 8 * x.element_count()};
  const DeviceCaps& caps = rec.device().caps();
  const uint32_t one = rec.device().quirks().barriers_are_slow;
  const bool quads = x.dim(1) % 4 == 0 && starts_quads(x, x_bound.remainder) && starts_quads(y, y_bound.remainder) &&
                     weight_bound.remainder % 4 == 0 && bias_bound.remainder % 4 == 0;
  uint32_t threads = one ? caps.subgroup_size : LAYER_NORM_THREADS, kept = 0;
  if (!one && quads && x.dim(1) <= 4 * kQuadsKept * kMostThreads) {
    const uint32_t wanted = groups_of(x.dim(1) / 4, kQuadsKept);
    threads = groups_of(wanted, caps.subgroup_size) * caps.subgroup_size;
    kept = groups_of(x.dim(1) / 4, threads);
  }
  return rec.dispatch(act_variant(ShaderId::layer_norm_f32, y.dtype),
                      {x_bound.view, weight_bound.view, bias_bound.view, y_bound.view}, params, flat_groups(x.dim(0)), cost,
                      {threads, one, kept});
}

}  // namespace vl2
