#include "runtime/ops/quantize_rows.h"

#include "runtime/ops/flat_groups.h"
#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/quantize_rows.h"

namespace vl2 {

namespace {

constexpr uint64_t kAlignmentWords = 64;  // 256 bytes: the largest minStorageBufferOffsetAlignment that Vulkan allows

// Where the numbers begin.
uint64_t code_words(uint32_t rows, uint32_t k) {
  return (uint64_t{rows} * k / 4 + kAlignmentWords - 1) / kAlignmentWords * kAlignmentWords;
}

}  // namespace

uint64_t byte_rows_words(uint32_t rows, uint32_t k) {
  return code_words(rows, k) + uint64_t{rows} * (k / QUANTIZE_ROWS_BLOCK) * 2;
}

ByteRows byte_rows(const TensorView& words, uint32_t rows, uint32_t k) {
  const uint64_t numbers = words.offset + code_words(rows, k);
  return {make_view(*words.buffer, DType::U32, {static_cast<uint32_t>(uint64_t{rows} * k / 4)}, words.offset),
          make_view(*words.buffer, DType::F32, {rows, k / QUANTIZE_ROWS_BLOCK, 2}, numbers)};
}

Status quantize_rows(Recorder& rec, const TensorView& x, const TensorView& words) {
  if (x.rank() != 2 || x.stride(1) != 1 || x.dim(1) == 0 || x.dim(1) % QUANTIZE_ROWS_BLOCK != 0)
    return fail(Code::BadShape, "quantize_rows: x ", x, " must be [M, K], K a multiple of ", QUANTIZE_ROWS_BLOCK,
                ", the elements of a row adjacent");
  if (x.dtype != DType::F32 && x.dtype != DType::F16)
    return fail(Code::BadDType, "quantize_rows: x ", x, " must be f32 or f16");
  const uint32_t rows = x.dim(0), k = x.dim(1);
  if (words.empty() || words.dtype != DType::U32 || !words.contiguous() || words.offset % kAlignmentWords != 0 ||
      words.element_count() < byte_rows_words(rows, k))
    return fail(Code::BadShape, "quantize_rows: bytes ", words, " must be ", byte_rows_words(rows, k),
                " u32 from a 256-byte boundary");
  const uint64_t blocks = uint64_t{rows} * (k / QUANTIZE_ROWS_BLOCK);
  if (blocks > UINT32_MAX)
    return fail(Code::BadShape, "quantize_rows: x ", x, " must have fewer than 2^37 elements");
  if (blocks == 0)
    return {};
  const AlignedView x_bound = rec.aligned(x);
  const ByteRows bytes = byte_rows(words, rows, k);
  const QuantizeRowsParams params{.blocks = static_cast<uint32_t>(blocks),
                                  .row_blocks = k / QUANTIZE_ROWS_BLOCK,
                                  .x_row_stride = x.stride(0),
                                  .x_offset = x_bound.remainder};
  const uint32_t x_quads = row_alignment(x, x_bound.remainder) >= 4;
  const Cost cost{.bytes = x.element_count() * dtype_bytes(x.dtype) + bytes.codes.span_bytes() + bytes.numbers.span_bytes(),
                  .flops = 4 * x.element_count()};
  return rec.dispatch(act_variant(ShaderId::quantize_rows_f32, x.dtype), {x_bound.view, bytes.codes, bytes.numbers}, params,
                      flat_groups((blocks + QUANTIZE_ROWS_THREADS - 1) / QUANTIZE_ROWS_THREADS), cost, {0, 0, 0, 0, x_quads});
}

}  // namespace vl2
