#include "runtime/ops/weight_matrix.h"

#include "runtime/memory.h"

namespace vl2 {

namespace {

constexpr uint32_t kRowAlignment = 8;  // elements; see shaders/common/weight.glsl

uint64_t padded_span(const TensorView& weight, uint32_t count) {
  const uint32_t rank = weight.rank(), k = weight.dim(rank - 1);
  uint64_t span = uint64_t{count - 1} * weight.stride(0) + (uint64_t{k} + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
  if (rank == 3)
    span += uint64_t{weight.dim(1) - 1} * weight.stride(1);
  return span;
}

}  // namespace

Status check_weight(const char* op, const TensorView& weight, uint32_t rank) {
  if (weight.dtype != DType::F32 && weight.dtype != DType::F16 && weight.dtype != DType::BF16)
    return fail(Code::BadDType, op, ": weight ", weight, " is of no weight format");
  if (weight.rank() != rank || weight.element_count() == 0)
    return fail(Code::BadShape, op, ": weight ", weight, " must be ", rank == 2 ? "[N, K]" : "[E, N, K]", ", none of them 0");
  const uint32_t row_stride = weight.stride(rank - 2);
  if (weight.stride(rank - 1) != 1 || row_stride % kRowAlignment != 0 || row_stride < weight.dim(rank - 1))
    return fail(Code::BadShape, op, ": weight ", weight, " has rows ", row_stride, " elements apart, wanted a multiple of ",
                kRowAlignment, " that holds a row");
  if (rank == 3 && (weight.stride(0) % kRowAlignment != 0 || weight.stride(0) < uint64_t{weight.dim(1)} * row_stride))
    return fail(Code::BadShape, op, ": weight ", weight, " has experts ", weight.stride(0),
                " elements apart, wanted a multiple of ", kRowAlignment, " that holds ", weight.dim(1), " rows of ", row_stride);
  if (weight.offset_bytes() + padded_span(weight, weight.dim(0)) * dtype_bytes(weight.dtype) > weight.buffer->bytes())
    return fail(Code::BadShape, op, ": weight ", weight, " is not padded to ", kRowAlignment,
                " elements a row inside its buffer");
  return {};
}

TensorView weight_piece(const TensorView& weight, uint32_t first, uint32_t count) {
  TensorView piece = weight;
  piece.offset += uint64_t{first} * weight.stride(0);
  piece.rank_ = 1;
  piece.dims = {static_cast<uint32_t>(padded_span(weight, count))};
  piece.strides = {1};
  return piece;
}

uint32_t row_alignment(const TensorView& x, uint32_t remainder) {
  const uint32_t places = remainder | x.dim(1) | (x.dim(0) == 1 ? 0 : x.stride(0));
  return places % 8 == 0 ? 8 : places % 4 == 0 ? 4 : 1;
}

bool starts_quads(const TensorView& y, uint32_t remainder) {
  return remainder % 4 == 0 && (y.dim(0) == 1 || y.stride(0) % 4 == 0);
}

}  // namespace vl2
