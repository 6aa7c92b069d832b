#include "runtime/ops/decode_attention.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/cache_rows.h"
#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/decode_attention.h"
#include "shaders/interface/decode_latent.h"
#include "shaders/interface/decode_mla_matrix.h"
#include "shaders/interface/decode_mla_query.h"
#include "shaders/interface/decode_state.h"

namespace vl2 {

// The order of the constants in decode_mla_matrix().
static_assert(DECODE_MLA_MATRIX_THREADS == 0 && DECODE_MLA_MATRIX_M == 1 && DECODE_MLA_MATRIX_N == 2 &&
              DECODE_MLA_MATRIX_K == 3 && DECODE_MLA_MATRIX_HEAD_TILES == 4 && DECODE_MLA_MATRIX_KEYS == 5 &&
              DECODE_MLA_MATRIX_DEPTH == 6 && DECODE_MLA_MATRIX_LATENT == 7 && DECODE_MLA_MATRIX_SPLITS == 8 &&
              DECODE_MLA_MATRIX_SPLIT_TILES == 9 && DECODE_MLA_MATRIX_DEPTH_PARTS == 10 && DECODE_MLA_MATRIX_ROW_LANES == 11);

namespace {

constexpr uint32_t kStateWords = DECODE_STATE_WORDS;
constexpr uint32_t kValuesThreads = 256;
constexpr uint32_t kRowsAtOnce = 2;  // of W_UV, an invocation's: 16 loads in flight

bool is_tensor(const TensorView& view, DType dtype, uint64_t count) {
  return view.dtype == dtype && view.contiguous() && view.element_count() == count && count > 0;
}

bool is_f32(const TensorView& view, uint64_t count) {
  return is_tensor(view, DType::F32, count);
}

// The plane of scales of an 8-bit cache; else nothing.
TensorView scales_of(const TensorView& cache, uint32_t segments) {
  return cache.dtype == DType::U8 ? cache_scales(cache, segments) : TensorView{};
}

Status check_state(const char* op, const TensorView& state) {
  if (!is_tensor(state, DType::U32, kStateWords))
    return fail(Code::BadShape, op, ": state ", state, " must be [", kStateWords, "] u32");
  return {};
}

Status check_rope(const char* op, const TensorView& table, uint32_t capacity, uint32_t width) {
  if (table.rank() != 3 || table.dtype != DType::F32 || !table.contiguous() || table.dim(0) < capacity ||
      table.dim(1) != width / 2 || table.dim(2) != 2)
    return fail(Code::BadShape, op, ": rope table ", table, " must be [at least ", capacity, ", ", width / 2, ", 2] f32");
  return {};
}

Status check_scratch(const char* op, const DecodeAttentionScratch& scratch, uint32_t heads, uint32_t splits, uint32_t latent) {
  if (!is_f32(scratch.parts, uint64_t{heads} * splits * latent) || !is_f32(scratch.limits, uint64_t{heads} * splits * 2) ||
      !is_tensor(scratch.counter, DType::U32, heads))
    return fail(Code::BadShape, op, ": scratch ", scratch.parts, ", ", scratch.limits, ", ", scratch.counter, " must be [", heads,
                ", ", splits, ", ", latent, "] and [", heads, ", ", splits, ", 2] f32 and [", heads, "] u32");
  return {};
}

}  // namespace

uint32_t decode_state_words() {
  return kStateWords;
}

Status decode_advance(Recorder& rec, const TensorView& token, const TensorView& state, const TensorView& ring) {
  VL2_TRY(check_state("decode_advance", state));
  if (!is_tensor(token, DType::U32, 1) || ring.rank() != 1 || !is_tensor(ring, DType::U32, ring.dim(0)))
    return fail(Code::BadShape, "decode_advance: token ", token, " and ring ", ring, " must be [1] and [size] u32");
  return rec.dispatch(ShaderId::decode_advance, {token, state, ring}, DecodeAdvanceParams{.ring_size = ring.dim(0)}, {}, {});
}

Status decode_mla_query(Recorder& rec, const TensorView& q, const TensorView& kv_b, const TensorView& rope_table,
                        const TensorView& state, const TensorView& y) {
  VL2_TRY(check_weight("decode_mla_query", kv_b, 2));
  VL2_TRY(check_state("decode_mla_query", state));
  const uint32_t latent = kv_b.dim(1);
  if (q.rank() != 2 || y.rank() != 2 || q.dim(0) != y.dim(0) || y.dim(1) < latent || q.dim(1) + latent < y.dim(1) ||
      latent % 8 != 0 || !is_f32(q, q.element_count()) || (y.dtype != DType::F32 && y.dtype != DType::F16) || !y.contiguous())
    return fail(Code::BadShape, "decode_mla_query: q ", q, " and y ", y,
                " must be [heads, nope + rope] f32 and [heads, latent + rope] f32 or f16, kv_b ", kv_b,
                " as wide as a multiple of 8");
  const uint32_t heads = q.dim(0), rope = y.dim(1) - latent, nope = q.dim(1) - rope;
  if (kv_b.dim(0) % heads != 0 || kv_b.dim(0) / heads < nope || nope == 0 || rope % 2 != 0)
    return fail(Code::BadShape, "decode_mla_query: kv_b ", kv_b, " must have at least ", nope, " rows for each head of q ", q);
  VL2_TRY(check_rope("decode_mla_query", rope_table, 1, rope));
  const DecodeMlaQueryParams params{
      .nope = nope, .rope = rope, .latent = latent, .rows_per_head = kv_b.dim(0) / heads, .row_chunks = kv_b.stride(0) / 8};
  const uint32_t columns = DECODE_MLA_QUERY_CHUNKS * 8;
  const uint64_t count = uint64_t{heads} * nope * latent;
  return rec.dispatch(weight_variant(ShaderId::decode_mla_query_f32, kv_b.dtype),
                      {q, weight_piece(kv_b, 0, kv_b.dim(0)).codes, rope_table, state, y}, params,
                      {.x = (latent + columns - 1) / columns, .y = heads},
                      {.bytes = count * dtype_bytes(kv_b.dtype), .flops = 2 * count}, {y.dtype == DType::F16});
}

Status decode_latent(Recorder& rec, const TensorView& kv_a, const TensorView& norm, float eps, const TensorView& rope_table,
                     const TensorView& state, const TensorView& cache) {
  VL2_TRY(check_state("decode_latent", state));
  if (cache.rank() != 2 || !is_cache(cache, 1, cache.dim(1)) || !is_f32(kv_a, cache.dim(1)))
    return fail(Code::BadShape, "decode_latent: kv_a ", kv_a, " must be a row of cache ", cache, " in f32");
  if (cache.dtype == DType::U8 && cache.dim(1) > DECODE_LATENT_MAX_WIDTH)
    return fail(Code::BadShape, "decode_latent: cache ", cache, " in 8 bits must have rows of at most ", DECODE_LATENT_MAX_WIDTH);
  if (norm.rank() != 1 || !is_f32(norm, norm.dim(0)) || norm.dim(0) > cache.dim(1) || (cache.dim(1) - norm.dim(0)) % 2 != 0)
    return fail(Code::BadShape, "decode_latent: norm ", norm, " must be [latent] f32, the beginning of a row of cache ", cache);
  const uint32_t latent = norm.dim(0), rope = cache.dim(1) - latent;
  VL2_TRY(check_rope("decode_latent", rope_table, cache.dim(0), rope));
  return rec.dispatch(cache_variant(ShaderId::decode_latent_f32, cache.dtype),
                      {kv_a, norm, rope_table, state, cache, scales_of(cache, 1)},
                      DecodeLatentParams{.latent = latent, .rope = rope, .eps = eps}, {},
                      {.bytes = 4 * uint64_t{cache.dim(1)}, .flops = 4 * uint64_t{cache.dim(1)}});
}

Status decode_mla_attention(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& kv_b,
                            const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                            const DecodeAttentionShape& shape, bool values_apart) {
  VL2_TRY(check_weight("decode_mla_attention", kv_b, 2));
  VL2_TRY(check_state("decode_mla_attention", state));
  if (q.rank() != 2 || !is_f32(q, q.element_count()) || !is_cache(cache, 1, q.dim(1)))
    return fail(Code::BadShape, "decode_mla_attention: cache ", cache, " must be [capacity, width] for q ", q,
                ", [heads, width] f32");
  const uint32_t heads = q.dim(0), depth = q.dim(1), latent = kv_b.dim(1);
  if (depth % 8 != 0 || latent % 8 != 0 || latent > depth)
    return fail(Code::BadShape, "decode_mla_attention: q ", q, " and kv_b ", kv_b, " must be as wide as multiples of 8");
  if (y.rank() != 2 || y.dim(0) != heads || !is_f32(y, y.element_count()) || kv_b.dim(0) % heads != 0 ||
      (!values_apart && kv_b.dim(0) / heads < y.dim(1)))
    return fail(Code::BadShape, "decode_mla_attention: y ", y, " must be [", heads, ", value width] f32, within kv_b ", kv_b);
  VL2_TRY(check_scratch("decode_mla_attention", scratch, heads, shape.splits, latent));
  if (shape.lanes * shape.groups < DECODE_ATTENTION_WEIGHT_LANES)
    return fail(Code::BadShape, "decode_mla_attention: a workgroup of ", shape.lanes * shape.groups, " must have at least ",
                DECODE_ATTENTION_WEIGHT_LANES);
  if (values_apart && y.dim(1) != latent)
    return fail(Code::BadShape, "decode_mla_attention: y ", y, " must be [", heads, ", ", latent, "] without W_UV");
  const uint32_t value_width = values_apart ? 0 : y.dim(1);
  const DecodeAttentionParams params{.heads = heads,
                                     .q_width = depth,
                                     .row_chunks = depth / 8,
                                     .value_width = value_width,
                                     .scale = scale,
                                     .rows_per_head = kv_b.dim(0) / heads,
                                     .first_value_row = kv_b.dim(0) / heads - value_width,
                                     .weight_row_chunks = kv_b.stride(0) / 8};
  const uint64_t weights = uint64_t{heads} * std::max(value_width, 1u) * latent;
  return rec.dispatch(
      cache_weight_variant(ShaderId::decode_mla_attention_f32_f32, cache.dtype, kv_b.dtype),
      {q, cache, TensorView{}, state, scratch.parts, scratch.limits, scratch.counter, weight_piece(kv_b, 0, kv_b.dim(0)).codes,
       TensorView{}, y, scales_of(cache, 1)},
      params, {.x = shape.splits, .y = (heads + shape.heads - 1) / shape.heads},
      {.bytes = weights * dtype_bytes(kv_b.dtype), .flops = 2 * weights},
      {shape.lanes * shape.groups, shape.lanes, shape.groups, shape.heads, shape.keys, shape.lane_chunks, depth / 8, latent / 8,
       shape.splits, decode_attention_parts(shape, latent, value_width), values_apart, kRowsAtOnce, shape.split_tiles});
}

namespace {

Status check_mla_matrix(const TensorView& q, const TensorView& cache, const TensorView& kv_b, const TensorView& state,
                        const DecodeAttentionScratch& scratch, const TensorView& y, float scale, const DecodeMatrixShape& shape) {
  VL2_TRY(check_weight("decode_mla_matrix", kv_b, 2));
  if (y.rank() != 2 || !is_f32(y, y.element_count()) || kv_b.dim(0) % y.dim(0) != 0 || kv_b.dim(0) / y.dim(0) < y.dim(1))
    return fail(Code::BadShape, "decode_mla_matrix: y ", y, " must be [heads, value width] f32, within kv_b ", kv_b);
  const uint32_t heads = y.dim(0), latent = kv_b.dim(1), head_tiles = shape.head_tiles(heads), rows = head_tiles * shape.shape.m;
  if (cache.rank() != 2 || (cache.dtype != DType::F16 && cache.dtype != DType::U8) || !is_cache(cache, 1, cache.dim(1)) ||
      cache.dim(1) < latent || !is_tensor(q, DType::F16, uint64_t{rows} * cache.dim(1)))
    return fail(Code::BadShape, "decode_mla_matrix: q ", q, " and cache ", cache, " must be [", rows,
                ", width] f16 and [capacity, width] f16 or in 8 bits, at least as wide as kv_b ", kv_b);
  const uint32_t depth = cache.dim(1);
  if (depth % shape.shape.k != 0 || latent % shape.shape.n != 0 || depth % 8 != 0 || latent % 8 != 0 || !(scale > 0))
    return fail(Code::BadShape, "decode_mla_matrix: cache ", cache, " and kv_b ", kv_b, " must be as wide as multiples of ",
                shape.shape.k, " and ", shape.shape.n, ", and scale ", scale, " above 0");
  if (!is_tensor(scratch.parts, DType::F16, uint64_t{heads} * shape.splits * latent) ||
      !is_f32(scratch.limits, uint64_t{heads} * shape.splits * 2))
    return fail(Code::BadShape, "decode_mla_matrix: scratch ", scratch.parts, " and ", scratch.limits, " must be [", heads, ", ",
                shape.splits, ", ", latent, "] f16 and [", heads, ", ", shape.splits, ", 2] f32");
  return check_state("decode_mla_matrix", state);
}

}  // namespace

Status decode_mla_matrix(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& kv_b,
                         const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                         const DecodeMatrixShape& shape) {
  VL2_TRY(decode_mla_matrix_splits(rec, q, cache, kv_b, state, scratch, y, scale, shape));
  return decode_mla_matrix_values(rec, q, cache, kv_b, state, scratch, y, scale, shape);
}

Status decode_mla_matrix_splits(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape) {
  VL2_TRY(check_mla_matrix(q, cache, kv_b, state, scratch, y, scale, shape));
  const uint32_t heads = y.dim(0), latent = kv_b.dim(1), depth = cache.dim(1), head_tiles = shape.head_tiles(heads);
  const uint32_t rows = head_tiles * shape.shape.m;
  return rec.dispatch(cache.dtype == DType::U8 ? ShaderId::decode_mla_matrix_q8_0 : ShaderId::decode_mla_matrix,
                      {q, cache, state, scratch.parts, scratch.limits, scales_of(cache, 1)},
                      DecodeMlaMatrixParams{.heads = heads, .scale = scale}, {.x = shape.splits},
                      {.bytes = 2 * uint64_t{rows} * depth, .flops = 4 * uint64_t{rows} * depth},
                      {shape.threads(), shape.shape.m, shape.shape.n, shape.shape.k, head_tiles, shape.keys, depth, latent,
                       shape.splits, shape.split_tiles, shape.depth_parts(), shape.row_lanes(heads)});
}

Status decode_mla_matrix_values(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape) {
  VL2_TRY(check_mla_matrix(q, cache, kv_b, state, scratch, y, scale, shape));
  const uint32_t heads = y.dim(0), latent = kv_b.dim(1);
  const DecodeMlaValuesParams params{
      .value_width = y.dim(1), .rows_per_head = kv_b.dim(0) / heads, .weight_row_chunks = kv_b.stride(0) / 8};
  const uint64_t weights = uint64_t{heads} * y.dim(1) * latent;
  return rec.dispatch(weight_variant(ShaderId::decode_mla_values_f32, kv_b.dtype),
                      {scratch.parts, scratch.limits, state, weight_piece(kv_b, 0, kv_b.dim(0)).codes, y}, params,
                      {.x = (y.dim(1) + shape.value_rows - 1) / shape.value_rows, .y = heads},
                      {.bytes = weights * dtype_bytes(kv_b.dtype), .flops = 2 * weights},
                      {std::min(kValuesThreads, rec.device().caps().max_workgroup_invocations / 16 * 16), shape.value_rows,
                       latent / 8, shape.splits, shape.keys * shape.split_tiles});
}

Status decode_mha_attention(Recorder& rec, const TensorView& qkv, const TensorView& keys, const TensorView& values,
                            const TensorView& rope_table, const TensorView& state, const DecodeAttentionScratch& scratch,
                            const TensorView& y, float scale, const DecodeAttentionShape& shape) {
  VL2_TRY(check_state("decode_mha_attention", state));
  if (y.rank() != 2 || !is_f32(y, y.element_count()) || y.dim(1) % 8 != 0 || y.dim(1) > DECODE_ATTENTION_MAX_HEAD)
    return fail(Code::BadShape, "decode_mha_attention: y ", y, " must be [heads, width] f32, width a multiple of 8, at most ",
                DECODE_ATTENTION_MAX_HEAD);
  const uint32_t heads = y.dim(0), width = y.dim(1);
  if (!is_f32(qkv, 3 * uint64_t{heads} * width) || !is_cache(keys, heads, width) || !is_cache(values, heads, width) ||
      keys.dtype != values.dtype || keys.dim(0) != values.dim(0))
    return fail(Code::BadShape, "decode_mha_attention: qkv ", qkv, ", keys ", keys, " and values ", values, " must be [3, ",
                heads, ", ", width, "] f32 and twice [capacity, ", heads * width, "] f32, f16 or in 8 bits");
  VL2_TRY(check_rope("decode_mha_attention", rope_table, keys.dim(0), width));
  VL2_TRY(check_scratch("decode_mha_attention", scratch, heads, shape.splits, width));
  if (shape.heads != 1)
    return fail(Code::BadShape, "decode_mha_attention: a workgroup takes 1 head, not ", shape.heads);
  const DecodeAttentionParams params{.heads = heads,
                                     .q_width = width,
                                     .row_chunks = heads * width / 8,
                                     .value_width = width,
                                     .scale = scale,
                                     .rows_per_head = 0,
                                     .first_value_row = 0,
                                     .weight_row_chunks = 0};
  return rec.dispatch(cache_variant(ShaderId::decode_mha_attention_f32, keys.dtype),
                      {qkv, keys, values, state, scratch.parts, scratch.limits, scratch.counter, TensorView{}, rope_table, y,
                       scales_of(keys, heads), scales_of(values, heads)},
                      params, {.x = shape.splits, .y = heads},
                      {.bytes = 24 * uint64_t{heads} * width, .flops = 8 * uint64_t{heads} * width},
                      {shape.lanes * shape.groups, shape.lanes, shape.groups, shape.heads, shape.keys, shape.lane_chunks,
                       width / 8, width / 8, shape.splits, decode_attention_parts(shape, width, 0), 0u, 0u, shape.split_tiles});
}

}  // namespace vl2
