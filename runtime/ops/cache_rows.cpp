#include "runtime/ops/cache_rows.h"

#include "runtime/memory.h"
#include "runtime/ops/flat_groups.h"
#include "shaders/interface/cache_rows.h"

namespace vl2 {

namespace {

constexpr uint64_t kPlaneAlignment = 256;  // the largest minStorageBufferOffsetAlignment that Vulkan allows

uint32_t scale_words(uint32_t width) {
  return (width + 2 * CACHE_BLOCK - 1) / (2 * CACHE_BLOCK);
}

uint64_t scales_offset(uint32_t capacity, uint32_t segments, uint32_t width) {
  return (uint64_t{capacity} * segments * width + kPlaneAlignment - 1) / kPlaneAlignment * kPlaneAlignment;
}

Status check(const char* op, const TensorView& acts, const TensorView& cache, uint32_t segments, uint64_t first_row) {
  if (acts.dtype != DType::F32 && acts.dtype != DType::F16)
    return fail(Code::BadDType, op, ": ", acts, " must be f32 or f16");
  if (cache.rank() != 2 || cache.dtype != DType::U8 || segments == 0 || cache.dim(1) % (8 * segments) != 0 ||
      !is_cache(cache, segments, cache.dim(1) / segments))
    return fail(Code::BadShape, op, ": cache ", cache, " must be [capacity, ", segments, " times a multiple of 8] in 8 bits");
  if (acts.rank() != 2 || acts.dim(1) != cache.dim(1) || acts.stride(1) != 1 || first_row + acts.dim(0) > cache.dim(0))
    return fail(Code::BadShape, op, ": ", acts, " at row ", first_row, " must be rows of cache ", cache);
  return {};
}

}  // namespace

uint64_t quantized_cache_row_bytes(uint32_t segments, uint32_t width) {
  return uint64_t{segments} * (width + 4 * scale_words(width));
}

uint64_t quantized_cache_bytes(uint32_t capacity, uint32_t segments, uint32_t width) {
  return scales_offset(capacity, segments, width) + uint64_t{capacity} * segments * 4 * scale_words(width);
}

TensorView quantized_cache_view(const Buffer& buffer, uint32_t capacity, uint32_t segments, uint32_t width) {
  TensorView view = make_view(buffer, DType::U8, {capacity, segments * width});
  view.scales = scales_offset(capacity, segments, width);
  return view;
}

TensorView cache_scales(const TensorView& cache, uint32_t segments) {
  return make_view(*cache.buffer, DType::U32, {cache.dim(0), segments * scale_words(cache.dim(1) / segments)}, cache.scales / 4);
}

bool is_cache(const TensorView& view, uint32_t segments, uint32_t width) {
  if (view.rank() != 2 || view.dim(1) != segments * width || !view.contiguous())
    return false;
  if (view.dtype != DType::U8)
    return view.dtype == DType::F32 || view.dtype == DType::F16;
  return width % 8 == 0 && !view.empty() && view.offset == 0 && view.scales >= view.span_bytes() && view.scales % 4 == 0 &&
         view.scales + uint64_t{view.dim(0)} * segments * 4 * scale_words(width) <= view.buffer->bytes();
}

Status cache_quantize(Recorder& rec, const TensorView& x, const TensorView& cache, uint32_t segments, uint32_t first_row) {
  VL2_TRY(check("cache_quantize", x, cache, segments, first_row));
  const AlignedView bound = rec.aligned(x);
  if (bound.remainder % 8 != 0 || (x.dim(0) > 1 && x.stride(0) % 8 != 0))
    return fail(Code::BadShape, "cache_quantize: ", x, " must begin and go on at multiples of 8 elements");
  const uint32_t width = cache.dim(1) / segments;
  const uint64_t count = uint64_t{x.dim(0)} * segments * scale_words(width);
  if (count > UINT32_MAX)
    return fail(Code::BadShape, "cache_quantize: ", x, " must have fewer than 2^32 pairs of blocks");
  if (count == 0)
    return {};
  const CacheQuantizeParams params{.count = static_cast<uint32_t>(count),
                                   .segments = segments,
                                   .segment_chunks = width / 8,
                                   .first_row = first_row,
                                   .x_offset8 = bound.remainder / 8,
                                   .x_row_stride8 = x.stride(0) / 8};
  const Cost cost{.bytes = x.element_count() * dtype_bytes(x.dtype) + x.dim(0) * quantized_cache_row_bytes(segments, width),
                  .flops = 4 * x.element_count()};
  return rec.dispatch(act_variant(ShaderId::cache_quantize_f32, x.dtype), {bound.view, cache, cache_scales(cache, segments)},
                      params, flat_groups((count + CACHE_ROWS_THREADS - 1) / CACHE_ROWS_THREADS), cost);
}

Status cache_dequantize(Recorder& rec, const TensorView& cache, const TensorView& y, uint32_t segments) {
  VL2_TRY(check("cache_dequantize", y, cache, segments, 0));
  if (!y.contiguous())
    return fail(Code::BadShape, "cache_dequantize: y ", y, " must be contiguous");
  const uint64_t count = y.element_count() / 8;
  if (count > UINT32_MAX)
    return fail(Code::BadShape, "cache_dequantize: y ", y, " must have fewer than 2^35 elements");
  if (count == 0)
    return {};
  const uint32_t width = cache.dim(1) / segments;
  const CacheDequantizeParams params{.count = static_cast<uint32_t>(count), .segment_chunks = width / 8};
  const Cost cost{.bytes = y.element_count() * dtype_bytes(y.dtype) + y.dim(0) * quantized_cache_row_bytes(segments, width),
                  .flops = y.element_count()};
  return rec.dispatch(act_variant(ShaderId::cache_dequantize_f32, y.dtype), {y, cache, cache_scales(cache, segments)}, params,
                      flat_groups((count + CACHE_ROWS_THREADS - 1) / CACHE_ROWS_THREADS), cost);
}

}  // namespace vl2
