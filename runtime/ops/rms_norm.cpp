#include "runtime/ops/rms_norm.h"

#include "runtime/device.h"
#include "shaders/interface/rms_norm.h"

namespace vl2 {

Status rms_norm(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y, float eps) {
  if (x.rank() != 2 || !same_shape(x, y) || x.stride(1) != 1 || y.stride(1) != 1)
    return fail(Code::BadShape, "rms_norm: x ", x, " and y ", y, " must be the same [rows, width], rows adjacent inside");
  if (weight.rank() != 1 || weight.dim(0) != x.dim(1) || weight.stride(0) != 1)
    return fail(Code::BadShape, "rms_norm: weight ", weight, " must be [", x.dim(1), "], the width of x");
  if (x.dtype != DType::F32 || weight.dtype != DType::F32 || (y.dtype != DType::F32 && y.dtype != DType::F16))
    return fail(Code::BadDType, "rms_norm: x and weight must be f32 and y f32 or f16, got ", x, ", ", weight, ", ", y);

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const RmsNormParams params{.width = x.dim(1),
                             .x_row_stride = x.stride(0),
                             .y_row_stride = y.stride(0),
                             .x_offset = x_bound.remainder,
                             .y_offset = y_bound.remainder,
                             .eps = eps};
  const Cost cost{.bytes = x.element_count() * (2 * 4 + dtype_bytes(y.dtype)), .flops = 4 * x.element_count()};
  const uint32_t one = rec.device().quirks().barriers_are_slow,
                 threads = one ? rec.device().caps().subgroup_size : RMS_NORM_THREADS;
  return rec.dispatch(act_variant(ShaderId::rms_norm_f32, y.dtype), {x_bound.view, weight, y_bound.view}, params,
                      Groups{.x = x.dim(0)}, cost, {threads, one});
}

}  // namespace vl2
