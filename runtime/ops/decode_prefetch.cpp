#include "runtime/ops/decode_prefetch.h"

#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/decode_prefetch.h"

namespace vl2 {

Status decode_prefetch(Recorder& rec, const TensorView& weight, uint64_t first_byte, uint64_t byte_count,
                       const TensorView& sink) {
  VL2_TRY(check_weight("decode_prefetch", weight, 2));
  const TensorView whole = weight_piece(weight, 0, weight.dim(0));
  if (first_byte % 16 != 0 || first_byte > whole.span_bytes() || byte_count > whole.span_bytes() - first_byte)
    return fail(Code::BadShape, "decode_prefetch: ", byte_count, " bytes from byte ", first_byte, " on must lie in weight ",
                weight, " and begin at a multiple of 16");
  if (sink.dtype != DType::U32 || sink.element_count() != 1)
    return fail(Code::BadShape, "decode_prefetch: sink ", sink, " must be [1] u32");
  const uint64_t quads = byte_count / 16, each = DECODE_PREFETCH_THREADS * DECODE_PREFETCH_UNROLL;
  const DecodePrefetchParams params{
      .first_quad = static_cast<uint32_t>(first_byte / 16), .quad_count = static_cast<uint32_t>(quads), .nonsense = 0x9e3779b9u};
  return rec.dispatch(ShaderId::decode_prefetch, {whole, sink}, params, {.x = static_cast<uint32_t>((quads + each - 1) / each)},
                      {.bytes = byte_count, .flops = 0});
}

}  // namespace vl2
