#include "runtime/ops/weight_matrix.h"

#include <algorithm>
#include <numeric>

#include "runtime/device.h"
#include "runtime/memory.h"
#include "runtime/tuning.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

// Elements; see shaders/common/weight.glsl.
uint32_t row_alignment_of(DType dtype) {
  return std::max(8u, dtype_block(dtype));
}

uint64_t padded_span(const TensorView& weight, uint32_t count) {
  const uint32_t rank = weight.rank(), k = weight.dim(rank - 1), alignment = row_alignment_of(weight.dtype);
  uint64_t span = uint64_t{count - 1} * weight.stride(0) + (uint64_t{k} + alignment - 1) / alignment * alignment;
  if (rank == 3)
    span += uint64_t{weight.dim(1) - 1} * weight.stride(1);
  return span;
}

TensorView words(const Buffer& buffer, uint64_t first_byte, uint64_t bytes) {
  return make_view(buffer, DType::U32, {static_cast<uint32_t>((bytes + 3) / 4)}, first_byte / 4);
}

}  // namespace

Status check_weight(const char* op, const TensorView& weight, uint32_t rank, Blocks blocks) {
  const bool plain = weight.dtype == DType::F32 || weight.dtype == DType::F16 || weight.dtype == DType::BF16;
  const bool in_blocks = dtype_block(weight.dtype) > 1;
  if (!plain && !(in_blocks && blocks == Blocks::Yes))
    return fail(Code::BadDType, op, ": weight ", weight,
                in_blocks ? " is of a format that it has no kernel for" : " is of no weight format");
  if (weight.rank() != rank || weight.element_count() == 0)
    return fail(Code::BadShape, op, ": weight ", weight, " must be ", rank == 2 ? "[N, K]" : "[E, N, K]", ", none of them 0");
  const uint32_t row_stride = weight.stride(rank - 2), alignment = row_alignment_of(weight.dtype);
  if (weight.stride(rank - 1) != 1 || row_stride % alignment != 0 || row_stride < weight.dim(rank - 1))
    return fail(Code::BadShape, op, ": weight ", weight, " has rows ", row_stride, " elements apart, wanted a multiple of ",
                alignment, " that holds a row");
  if (rank == 3 && (weight.stride(0) % alignment != 0 || weight.stride(0) < uint64_t{weight.dim(1)} * row_stride))
    return fail(Code::BadShape, op, ": weight ", weight, " has experts ", weight.stride(0),
                " elements apart, wanted a multiple of ", alignment, " that holds ", weight.dim(1), " rows of ", row_stride);
  const uint64_t end = weight.offset + padded_span(weight, weight.dim(0));
  const uint64_t code_bytes = device_code_bytes(weight.dtype, end);
  if (in_blocks ? weight.offset % alignment != 0 || code_bytes > weight.scales ||
                      weight.scales + device_scale_bytes(weight.dtype, end) > weight.buffer->bytes()
                : code_bytes > weight.buffer->bytes())
    return fail(Code::BadShape, op, ": weight ", weight, " is not padded to ", alignment, " elements a row inside its buffer");
  return {};
}

WeightPiece weight_piece(const TensorView& weight, uint32_t first, uint32_t count) {
  const uint64_t begin = weight.offset + uint64_t{first} * weight.stride(0), span = padded_span(weight, count);
  if (dtype_block(weight.dtype) > 1)
    return {
        words(*weight.buffer, device_code_bytes(weight.dtype, begin), device_code_bytes(weight.dtype, span)),
        words(*weight.buffer, weight.scales + device_scale_bytes(weight.dtype, begin), device_scale_bytes(weight.dtype, span))};
  TensorView piece = weight;
  piece.offset = begin;
  piece.rank_ = 1;
  piece.dims = {static_cast<uint32_t>(span)};
  piece.strides = {1};
  return {piece, {}};
}

uint32_t weight_piece_entries(const Recorder& rec, const TensorView& weight, uint64_t max_entries) {
  const uint32_t alignment = rec.device().caps().storage_buffer_alignment;
  const uint64_t code_bytes = device_code_bytes(weight.dtype, weight.stride(0));
  const uint64_t scale_bytes = device_scale_bytes(weight.dtype, weight.stride(0));
  const uint64_t most = std::min(rec.max_binding_bytes() / code_bytes, max_entries);
  if (weight.dim(0) <= most)
    return weight.dim(0);
  // So many entries at a time that the plane of scales can be cut behind them.
  const auto step = static_cast<uint32_t>(alignment / std::gcd(scale_bytes, uint64_t{alignment}));
  return step * pieces_per_binding((weight.dim(0) + step - 1) / step, step * code_bytes, most * code_bytes, alignment);
}

uint64_t weight_cost_bytes(const TensorView& weight, uint64_t count) {
  const DeviceBlock block = device_block(weight.dtype);
  return count * (block.code_bytes + block.scale_bytes) / dtype_block(weight.dtype);
}

uint32_t row_alignment(const TensorView& x, uint32_t remainder) {
  const uint32_t places = remainder | x.dim(1) | (x.dim(0) == 1 ? 0 : x.stride(0));
  return places % 8 == 0 ? 8 : places % 4 == 0 ? 4 : 1;
}

bool starts_quads(const TensorView& y, uint32_t remainder) {
  return remainder % 4 == 0 && (y.dim(0) == 1 || y.stride(0) % 4 == 0);
}

}  // namespace vl2
