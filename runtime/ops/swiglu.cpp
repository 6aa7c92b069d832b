#include "runtime/ops/swiglu.h"

#include <algorithm>

#include "runtime/device.h"
#include "shaders/interface/swiglu.h"

namespace vl2 {

Status swiglu(Recorder& rec, const TensorView& x, const TensorView& y) {
  if (x.rank() != 2 || y.rank() != 2 || x.dim(0) != y.dim(0) || x.dim(1) != 2 * uint64_t{y.dim(1)} || x.stride(1) != 1 ||
      y.stride(1) != 1)
    return fail(Code::BadShape, "swiglu: x ", x, " must be [rows, 2 I] and y ", y, " [rows, I], the elements of a row adjacent");
  if (y.dtype != DType::F32 && y.dtype != DType::F16)
    return fail(Code::BadDType, "swiglu: y ", y, " must be f32 or f16");
  if (x.dtype != DType::F32 && x.dtype != y.dtype)
    return fail(Code::BadDType, "swiglu: x ", x, " must be f32 or have the dtype of y ", y);
  const uint64_t count = y.element_count();
  if (count == 0)
    return {};
  const uint64_t groups = (count + SWIGLU_THREADS - 1) / SWIGLU_THREADS, groups_x = std::min<uint64_t>(groups, 65535);
  if (count > UINT32_MAX - 65536ull * SWIGLU_THREADS)
    return fail(Code::BadShape, "swiglu: y ", y, " has more elements than one dispatch indexes");

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const SwigluParams params{.rows = y.dim(0),
                            .width = y.dim(1),
                            .x_row_stride = x.stride(0),
                            .y_row_stride = y.stride(0),
                            .x_offset = x_bound.remainder,
                            .y_offset = y_bound.remainder,
                            .x_is_f32 = x.dtype == DType::F32};
  const Cost cost{.bytes = count * (2 * dtype_bytes(x.dtype) + dtype_bytes(y.dtype)), .flops = 6 * count};
  return rec.dispatch(
      act_variant(ShaderId::swiglu_f32, y.dtype), {x_bound.view, y_bound.view}, params,
      Groups{.x = static_cast<uint32_t>(groups_x), .y = static_cast<uint32_t>((groups + groups_x - 1) / groups_x)}, cost);
}

}  // namespace vl2
