#include "runtime/ops/decode_bytes.h"

#include <algorithm>

#include "shaders/interface/decode_bytes.h"

namespace vl2 {

Status decode_bytes(Recorder& rec, const TensorView& x, const TensorView& norm, float eps, uint32_t threads,
                    const DecodeBytes& bytes) {
  if (x.rank() != 2 || x.dtype != DType::F32 || x.dim(1) % 32 != 0 || x.stride(1) != 1 || x.stride(0) % 8 != 0)
    return fail(Code::BadShape, "decode_bytes: x ", x,
                " must be [tokens, K] f32, K a multiple of 32, rows a multiple of 8 apart");
  const uint32_t tokens = x.dim(0), k = x.dim(1), blocks = k / 32;
  if (!norm.empty() && (norm.dtype != DType::F32 || !norm.contiguous() || norm.element_count() != k))
    return fail(Code::BadShape, "decode_bytes: norm ", norm, " must be [", k, "] f32");
  if (bytes.codes.dtype != DType::U32 || !bytes.codes.contiguous() || bytes.codes.element_count() < uint64_t{tokens} * k / 4)
    return fail(Code::BadShape, "decode_bytes: codes ", bytes.codes, " must be [", tokens, ", ", k / 4, "] u32");
  if (bytes.scales.dtype != DType::F32 || !bytes.scales.contiguous() ||
      bytes.scales.element_count() < uint64_t{tokens} * 2 * (blocks + 1))
    return fail(Code::BadShape, "decode_bytes: scales ", bytes.scales, " must be [", tokens, ", ", blocks + 1, ", 2] f32");
  const DecodeBytesParams params{.x_token_eights = x.stride(0) / 8, .eps = eps};
  const uint32_t groups = norm.empty() ? (4 * blocks + threads - 1) / threads : 1;
  return rec.dispatch(ShaderId::decode_bytes, {x, norm, bytes.codes, bytes.scales}, params, {.x = groups, .y = tokens},
                      {.bytes = uint64_t{tokens} * k * 4}, {threads, !norm.empty(), blocks});
}

}  // namespace vl2
