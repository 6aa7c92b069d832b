#include "runtime/ops/rope.h"

#include <cmath>

#include "runtime/ops/flat_groups.h"
#include "shaders/interface/rope.h"

namespace vl2 {

std::vector<float> rope_table(uint32_t capacity, uint32_t dims, double theta) {
  std::vector<double> frequencies;
  for (uint32_t i = 0; i < dims / 2; ++i)
    frequencies.push_back(std::pow(theta, -2.0 * i / dims));
  return rope_table(capacity, frequencies, 1);
}

std::vector<float> rope_table(uint32_t capacity, std::span<const double> frequencies, double scale) {
  std::vector<float> table;
  table.reserve(size_t{capacity} * frequencies.size() * 2);
  for (uint32_t position = 0; position < capacity; ++position)
    for (const double frequency : frequencies) {
      const double angle = position * frequency;
      table.push_back(static_cast<float>(scale * std::cos(angle)));
      table.push_back(static_cast<float>(scale * std::sin(angle)));
    }
  return table;
}

Status rope(Recorder& rec, const TensorView& x, const TensorView& table, const TensorView& y, const RopeOptions& options) {
  if (x.rank() != 3 || !same_shape(x, y) || x.stride(2) != 1 || y.stride(2) != 1)
    return fail(Code::BadShape, "rope: x ", x, " and y ", y, " must be the same [rows, heads, D], elements of a head adjacent");
  if (x.dim(2) % 2 != 0)
    return fail(Code::BadShape, "rope: x ", x, " must have an even number of elements a head");
  if (table.rank() != 3 || table.dim(1) != x.dim(2) / 2 || table.dim(2) != 2 || !table.contiguous())
    return fail(Code::BadShape, "rope: table ", table, " must be a contiguous [positions, ", x.dim(2) / 2, ", 2] for x ", x);
  if (uint64_t{options.first_position} + x.dim(0) > table.dim(0))
    return fail(Code::BadShape, "rope: table ", table, " must reach ", uint64_t{options.first_position} + x.dim(0),
                " positions, the first position ", options.first_position, " and the rows of x ", x);
  if ((x.dtype != DType::F32 && x.dtype != DType::F16) || (y.dtype != DType::F32 && y.dtype != DType::F16) ||
      table.dtype != DType::F32)
    return fail(Code::BadDType, "rope: x and y must be f32 or f16 and table f32, got ", x, ", ", y, ", ", table);
  if (x.element_count() > UINT32_MAX)
    return fail(Code::BadShape, "rope: x ", x, " must have fewer than 2^32 elements");
  if (x.element_count() == 0)
    return {};

  const uint32_t half_width = x.dim(2) / 2;
  const AlignedView x_bound = rec.aligned(x), table_bound = rec.aligned(table), y_bound = rec.aligned(y);
  const bool any_f16 = x.dtype == DType::F16 || y.dtype == DType::F16;
  const RopeParams params{.count = static_cast<uint32_t>(x.element_count() / 2),
                          .heads = x.dim(1),
                          .half_width = half_width,
                          .first_position = options.first_position,
                          .interleaved = options.layout == RopeLayout::Interleaved,
                          .x_row_stride = x.stride(0),
                          .x_head_stride = x.stride(1),
                          .y_row_stride = y.stride(0),
                          .y_head_stride = y.stride(1),
                          .x_offset = x_bound.remainder,
                          .table_offset = table_bound.remainder,
                          .y_offset = y_bound.remainder,
                          .x_is_f32 = x.dtype == DType::F32,
                          .y_is_f32 = y.dtype == DType::F32};
  const Cost cost{
      .bytes = x.element_count() * (dtype_bytes(x.dtype) + dtype_bytes(y.dtype)) + uint64_t{x.dim(0)} * half_width * 8,
      .flops = 3 * x.element_count()};
  return rec.dispatch(act_variant(ShaderId::rope_f32, any_f16 ? DType::F16 : DType::F32),
                      {x_bound.view, table_bound.view, y_bound.view}, params,
                      flat_groups((params.count + ROPE_THREADS - 1) / ROPE_THREADS), cost);
}

}  // namespace vl2
