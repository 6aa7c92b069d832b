#include "runtime/ops/decode_attention.h"

#include <algorithm>
#include <vector>

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

constexpr uint32_t kStateWords = DECODE_STATE_WORDS, kStatePitch = DECODE_STATE_PITCH, kConversations = DECODE_CONVERSATIONS;
constexpr uint32_t kValuesThreads = 256;
constexpr uint32_t kRowsAtOnce = 2;  // of W_UV, an invocation's: 16 loads in flight

bool is_tensor(const TensorView& view, DType dtype, uint64_t count) {
  return view.dtype == dtype && view.contiguous() && view.element_count() == count && count > 0;
}

bool is_f32(const TensorView& view, uint64_t count) {
  return is_tensor(view, DType::F32, count);
}

// What the first conversation has of a view, how many have so much of it, and how far from one to the next it is.
struct Rows {
  TensorView one;
  uint32_t count = 1, stride = 0;
};

// Of a view of `rank` dimensions for one conversation, or of one more for any number.
Rows rows_of(const TensorView& view, uint32_t rank) {
  if (view.rank() != rank + 1)
    return {view};
  Rows rows{view, view.dim(0), view.stride(0)};
  rows.one.rank_ = rank;
  std::copy_n(view.dims.begin() + 1, rank, rows.one.dims.begin());
  std::copy_n(view.strides.begin() + 1, rank, rows.one.strides.begin());
  return rows;
}

Status check_rows(const char* op, const TensorView& view, const Rows& rows, uint32_t conversations) {
  if (rows.count != conversations || rows.stride % 8 != 0)
    return fail(Code::BadShape, op, ": ", view, " must be of ", conversations, " conversations, a multiple of 8 elements apart");
  return {};
}

Status check_caches(const char* op, const Binding& caches, uint32_t segments, uint32_t width) {
  if (caches.size() == 0 || caches.size() > kConversations)
    return fail(Code::BadShape, op, ": ", caches.size(), " caches, wanted 1 .. ", kConversations);
  for (const TensorView& cache : caches.views())
    if (!is_cache(cache, segments, width) || cache.dtype != caches[0].dtype)
      return fail(Code::BadShape, op, ": cache ", cache, " must be [capacity, ", segments * width,
                  "] f32, f16 or in 8 bits, like ", caches[0]);
  return {};
}

// The planes of scales of 8-bit caches; else nothing.
std::vector<TensorView> scales_of(const Binding& caches, uint32_t segments) {
  std::vector<TensorView> scales;
  for (const TensorView& cache : caches.views())
    scales.push_back(cache.dtype == DType::U8 ? cache_scales(cache, segments) : TensorView{});
  if (scales[0].empty())
    scales.resize(1);  // the kernel has no binding for them
  return scales;
}

uint32_t largest_capacity(const Binding& caches) {
  uint32_t capacity = 0;
  for (const TensorView& cache : caches.views())
    capacity = std::max(capacity, cache.dim(0));
  return capacity;
}

Status check_state(const char* op, const TensorView& state, uint32_t conversations) {
  const Rows rows = rows_of(state, 1);
  if (!is_tensor(rows.one, DType::U32, kStateWords) || rows.count != conversations ||
      (conversations > 1 && rows.stride != kStatePitch)) {
    if (conversations == 1)
      return fail(Code::BadShape, op, ": state ", state, " must be [", kStateWords, "] u32");
    return fail(Code::BadShape, op, ": state ", state, " must be [", conversations, ", ", kStateWords, "] u32, rows ",
                kStatePitch, " apart");
  }
  return {};
}

Status check_rope(const char* op, const TensorView& table, uint32_t capacity, uint32_t width) {
  if (table.rank() != 3 || table.dtype != DType::F32 || !table.contiguous() || table.dim(0) < capacity ||
      table.dim(1) != width / 2 || table.dim(2) != 2)
    return fail(Code::BadShape, op, ": rope table ", table, " must be [at least ", capacity, ", ", width / 2, ", 2] f32");
  return {};
}

// heads: of all conversations
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

uint32_t decode_state_pitch() {
  return kStatePitch;
}

Status decode_advance(Recorder& rec, const TensorView& token, const TensorView& state, const TensorView& ring) {
  const Rows rings = rows_of(ring, 1);
  VL2_TRY(check_state("decode_advance", state, rings.count));
  if (token.rank() != 1 || token.dtype != DType::U32 || token.dim(0) != rings.count || rings.one.rank() != 1 ||
      !is_tensor(rings.one, DType::U32, rings.one.dim(0)))
    return fail(Code::BadShape, "decode_advance: token ", token, " and ring ", ring, " must be [1] and [size] u32, or [",
                rings.count, "] and [", rings.count, ", size]");
  return rec.dispatch(
      ShaderId::decode_advance, {token, state, ring},
      DecodeAdvanceParams{.ring_size = rings.one.dim(0), .ring_stride = rings.stride, .token_stride = token.stride(0)},
      {.x = rings.count}, {});
}

Status decode_mla_query(Recorder& rec, const TensorView& q, const TensorView& kv_b, const TensorView& rope_table,
                        const TensorView& state, const TensorView& y, const DecodeTuning& tuning) {
  VL2_TRY(check_weight("decode_mla_query", kv_b, 2));
  const Rows queries = rows_of(q, 2), results = rows_of(y, 2);
  const TensorView &q_one = queries.one, &y_one = results.one;
  VL2_TRY(check_state("decode_mla_query", state, queries.count));
  VL2_TRY(check_rows("decode_mla_query", q, queries, queries.count));
  VL2_TRY(check_rows("decode_mla_query", y, results, queries.count));
  const uint32_t latent = kv_b.dim(1);
  if (q_one.rank() != 2 || y_one.rank() != 2 || q_one.dim(0) != y_one.dim(0) || y_one.dim(1) < latent ||
      q_one.dim(1) + latent < y_one.dim(1) || latent % 8 != 0 || !is_f32(q_one, q_one.element_count()) ||
      (y.dtype != DType::F32 && y.dtype != DType::F16) || !y_one.contiguous())
    return fail(Code::BadShape, "decode_mla_query: q ", q, " and y ", y,
                " must be [heads, nope + rope] f32 and [heads, latent + rope] f32 or f16, kv_b ", kv_b,
                " as wide as a multiple of 8");
  const uint32_t heads = q_one.dim(0), rope = y_one.dim(1) - latent, nope = q_one.dim(1) - rope;
  if (kv_b.dim(0) % heads != 0 || kv_b.dim(0) / heads < nope || nope == 0 || rope % 2 != 0)
    return fail(Code::BadShape, "decode_mla_query: kv_b ", kv_b, " must have at least ", nope, " rows for each head of q ", q);
  VL2_TRY(check_rope("decode_mla_query", rope_table, 1, rope));
  const DecodeMlaQueryParams params{.nope = nope,
                                    .rope = rope,
                                    .latent = latent,
                                    .rows_per_head = kv_b.dim(0) / heads,
                                    .row_chunks = kv_b.stride(0) / 8,
                                    .conversations = queries.count,
                                    .q_stride = queries.stride,
                                    .y_stride = results.stride};
  const uint32_t columns = DECODE_MLA_QUERY_CHUNKS * 8, blocks = (latent + columns - 1) / columns;
  const uint64_t count = uint64_t{heads} * nope * latent;
  const TensorView weight = weight_piece(kv_b, 0, kv_b.dim(0)).codes;
  const Cost cost{.bytes = count * dtype_bytes(kv_b.dtype), .flops = 2 * count * queries.count};
  const uint32_t half = y.dtype == DType::F16;
  if (queries.count == 1)
    return rec.dispatch(weight_variant(ShaderId::decode_mla_query_f32, kv_b.dtype), {q, weight, rope_table, state, y}, params,
                        {.x = blocks, .y = heads}, cost, {half});
  const uint32_t tokens = decode_query_tokens(rec.device().caps(), queries.count, blocks * heads, tuning);
  return rec.dispatch(weight_variant(ShaderId::decode_mla_query_batched_f32, kv_b.dtype), {q, weight, rope_table, state, y},
                      params, {.x = blocks, .y = heads, .z = (queries.count + tokens - 1) / tokens}, cost, {half, tokens});
}

Status decode_latent(Recorder& rec, const TensorView& kv_a, const TensorView& norm, float eps, const TensorView& rope_table,
                     const TensorView& state, const Binding& caches) {
  const auto conversations = static_cast<uint32_t>(caches.size());
  const Rows rows = rows_of(kv_a, 1);
  const uint32_t width = rows.one.rank() == 1 ? rows.one.dim(0) : 0;
  VL2_TRY(check_caches("decode_latent", caches, 1, width));
  VL2_TRY(check_state("decode_latent", state, conversations));
  VL2_TRY(check_rows("decode_latent", kv_a, rows, conversations));
  const DType type = caches[0].dtype;
  if (!is_f32(rows.one, width))
    return fail(Code::BadShape, "decode_latent: kv_a ", kv_a, " must be a row of cache ", caches[0], " in f32");
  if (type == DType::U8 && width > DECODE_LATENT_MAX_WIDTH)
    return fail(Code::BadShape, "decode_latent: cache ", caches[0], " in 8 bits must have rows of at most ",
                DECODE_LATENT_MAX_WIDTH);
  if (norm.rank() != 1 || !is_f32(norm, norm.dim(0)) || norm.dim(0) > width || (width - norm.dim(0)) % 2 != 0)
    return fail(Code::BadShape, "decode_latent: norm ", norm, " must be [latent] f32, the beginning of a row of cache ",
                caches[0]);
  const uint32_t latent = norm.dim(0), rope = width - latent;
  VL2_TRY(check_rope("decode_latent", rope_table, largest_capacity(caches), rope));
  return rec.dispatch(cache_variant(conversations > 1 ? ShaderId::decode_latent_batched_f32 : ShaderId::decode_latent_f32, type),
                      {kv_a, norm, rope_table, state, caches, scales_of(caches, 1)},
                      DecodeLatentParams{.latent = latent, .rope = rope, .eps = eps, .kv_a_stride = rows.stride},
                      {.z = conversations},
                      {.bytes = 4 * uint64_t{width} * conversations, .flops = 4 * uint64_t{width} * conversations});
}

Status decode_mla_attention(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                            const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                            const DecodeAttentionShape& shape, bool values_apart) {
  const auto conversations = static_cast<uint32_t>(caches.size());
  VL2_TRY(check_weight("decode_mla_attention", kv_b, 2));
  VL2_TRY(check_state("decode_mla_attention", state, conversations));
  const Rows queries = rows_of(q, 2), results = rows_of(y, 2);
  VL2_TRY(check_rows("decode_mla_attention", q, queries, conversations));
  VL2_TRY(check_rows("decode_mla_attention", y, results, conversations));
  const TensorView &q_one = queries.one, &y_one = results.one;
  if (q_one.rank() != 2 || !is_f32(q_one, q_one.element_count()))
    return fail(Code::BadShape, "decode_mla_attention: q ", q, " must be [heads, width] f32");
  const uint32_t heads = q_one.dim(0), depth = q_one.dim(1), latent = kv_b.dim(1);
  VL2_TRY(check_caches("decode_mla_attention", caches, 1, depth));
  if (depth % 8 != 0 || latent % 8 != 0 || latent > depth)
    return fail(Code::BadShape, "decode_mla_attention: q ", q, " and kv_b ", kv_b, " must be as wide as multiples of 8");
  if (y_one.rank() != 2 || y_one.dim(0) != heads || !is_f32(y_one, y_one.element_count()) || kv_b.dim(0) % heads != 0 ||
      (!values_apart && kv_b.dim(0) / heads < y_one.dim(1)))
    return fail(Code::BadShape, "decode_mla_attention: y ", y, " must be [", heads, ", value width] f32, within kv_b ", kv_b);
  VL2_TRY(check_scratch("decode_mla_attention", scratch, conversations * heads, shape.splits, latent));
  if (shape.lanes * shape.groups < DECODE_ATTENTION_WEIGHT_LANES)
    return fail(Code::BadShape, "decode_mla_attention: a workgroup of ", shape.lanes * shape.groups, " must have at least ",
                DECODE_ATTENTION_WEIGHT_LANES);
  if (values_apart && y_one.dim(1) != latent)
    return fail(Code::BadShape, "decode_mla_attention: y ", y, " must be [", heads, ", ", latent, "] without W_UV");
  const uint32_t value_width = values_apart ? 0 : y_one.dim(1);
  const DecodeAttentionParams params{.heads = heads,
                                     .q_width = depth,
                                     .row_chunks = depth / 8,
                                     .value_width = value_width,
                                     .scale = scale,
                                     .rows_per_head = kv_b.dim(0) / heads,
                                     .first_value_row = kv_b.dim(0) / heads - value_width,
                                     .weight_row_chunks = kv_b.stride(0) / 8,
                                     .q_stride = queries.stride,
                                     .y_stride = results.stride};
  const uint64_t weights = uint64_t{heads} * std::max(value_width, 1u) * latent;
  const ShaderId first =
      conversations > 1 ? ShaderId::decode_mla_attention_batched_f32_f32 : ShaderId::decode_mla_attention_f32_f32;
  return rec.dispatch(
      cache_weight_variant(first, caches[0].dtype, kv_b.dtype),
      {q, caches, TensorView{}, state, scratch.parts, scratch.limits, scratch.counter, weight_piece(kv_b, 0, kv_b.dim(0)).codes,
       TensorView{}, y, scales_of(caches, 1)},
      params, {.x = shape.splits, .y = (heads + shape.heads - 1) / shape.heads, .z = conversations},
      {.bytes = weights * dtype_bytes(kv_b.dtype), .flops = 2 * weights * conversations},
      {shape.lanes * shape.groups, shape.lanes, shape.groups, shape.heads, shape.keys, shape.lane_chunks, depth / 8, latent / 8,
       shape.splits, decode_attention_parts(shape, latent, value_width), values_apart, kRowsAtOnce, shape.split_tiles});
}

namespace {

Status check_mla_matrix(const TensorView& q, const Binding& caches, const TensorView& kv_b, const TensorView& state,
                        const DecodeAttentionScratch& scratch, const TensorView& y, float scale, const DecodeMatrixShape& shape) {
  const auto conversations = static_cast<uint32_t>(caches.size());
  VL2_TRY(check_weight("decode_mla_matrix", kv_b, 2));
  const Rows queries = rows_of(q, 2), results = rows_of(y, 2);
  VL2_TRY(check_rows("decode_mla_matrix", q, queries, conversations));
  VL2_TRY(check_rows("decode_mla_matrix", y, results, conversations));
  const TensorView& y_one = results.one;
  if (y_one.rank() != 2 || !is_f32(y_one, y_one.element_count()) || kv_b.dim(0) % y_one.dim(0) != 0 ||
      kv_b.dim(0) / y_one.dim(0) < y_one.dim(1))
    return fail(Code::BadShape, "decode_mla_matrix: y ", y, " must be [heads, value width] f32, within kv_b ", kv_b);
  const uint32_t heads = y_one.dim(0), latent = kv_b.dim(1), head_tiles = shape.head_tiles(heads),
                 rows = head_tiles * shape.shape.m;
  const uint32_t depth = queries.one.rank() == 2 ? queries.one.dim(1) : 0;
  VL2_TRY(check_caches("decode_mla_matrix", caches, 1, depth));
  const TensorView& cache = caches[0];
  if ((cache.dtype != DType::F16 && cache.dtype != DType::U8) || depth < latent ||
      !is_tensor(queries.one, DType::F16, uint64_t{rows} * depth))
    return fail(Code::BadShape, "decode_mla_matrix: q ", q, " and cache ", cache, " must be [", rows,
                ", width] f16 and [capacity, width] f16 or in 8 bits, at least as wide as kv_b ", kv_b);
  if (depth % shape.shape.k != 0 || latent % shape.shape.n != 0 || depth % 8 != 0 || latent % 8 != 0 || !(scale > 0))
    return fail(Code::BadShape, "decode_mla_matrix: cache ", cache, " and kv_b ", kv_b, " must be as wide as multiples of ",
                shape.shape.k, " and ", shape.shape.n, ", and scale ", scale, " above 0");
  const uint64_t all = uint64_t{conversations} * heads * shape.splits;
  if (!is_tensor(scratch.parts, DType::F16, all * latent) || !is_f32(scratch.limits, all * 2))
    return fail(Code::BadShape, "decode_mla_matrix: scratch ", scratch.parts, " and ", scratch.limits, " must be [",
                conversations * heads, ", ", shape.splits, ", ", latent, "] f16 and [", conversations * heads, ", ", shape.splits,
                ", 2] f32");
  return check_state("decode_mla_matrix", state, conversations);
}

}  // namespace

Status decode_mla_matrix(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                         const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                         const DecodeMatrixShape& shape) {
  VL2_TRY(decode_mla_matrix_splits(rec, q, caches, kv_b, state, scratch, y, scale, shape));
  return decode_mla_matrix_values(rec, q, caches, kv_b, state, scratch, y, scale, shape);
}

Status decode_mla_matrix_splits(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape) {
  VL2_TRY(check_mla_matrix(q, caches, kv_b, state, scratch, y, scale, shape));
  const auto conversations = static_cast<uint32_t>(caches.size());
  const uint32_t heads = rows_of(y, 2).one.dim(0), latent = kv_b.dim(1), depth = caches[0].dim(1),
                 head_tiles = shape.head_tiles(heads);
  const uint32_t rows = head_tiles * shape.shape.m;
  const bool q8 = caches[0].dtype == DType::U8;
  const ShaderId alone = q8 ? ShaderId::decode_mla_matrix_q8_0 : ShaderId::decode_mla_matrix;
  const ShaderId batched = q8 ? ShaderId::decode_mla_matrix_batched_q8_0 : ShaderId::decode_mla_matrix_batched;
  const uint64_t count = uint64_t{rows} * depth * conversations;
  return rec.dispatch(conversations > 1 ? batched : alone,
                      {q, caches, state, scratch.parts, scratch.limits, scales_of(caches, 1)},
                      DecodeMlaMatrixParams{.heads = heads, .scale = scale, .q_stride = rows_of(q, 2).stride},
                      {.x = shape.splits, .z = conversations}, {.bytes = 2 * count, .flops = 4 * count},
                      {shape.threads(), shape.shape.m, shape.shape.n, shape.shape.k, head_tiles, shape.keys, depth, latent,
                       shape.splits, shape.split_tiles, shape.depth_parts(), shape.row_lanes(heads)});
}

Status decode_mla_matrix_values(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape) {
  VL2_TRY(check_mla_matrix(q, caches, kv_b, state, scratch, y, scale, shape));
  const auto conversations = static_cast<uint32_t>(caches.size());
  const Rows results = rows_of(y, 2);
  const uint32_t heads = results.one.dim(0), value_width = results.one.dim(1), latent = kv_b.dim(1);
  const DecodeMlaValuesParams params{.value_width = value_width,
                                     .rows_per_head = kv_b.dim(0) / heads,
                                     .weight_row_chunks = kv_b.stride(0) / 8,
                                     .y_stride = results.stride};
  const uint64_t weights = uint64_t{heads} * value_width * latent;
  const ShaderId first = conversations > 1 ? ShaderId::decode_mla_values_batched_f32 : ShaderId::decode_mla_values_f32;
  return rec.dispatch(weight_variant(first, kv_b.dtype),
                      {scratch.parts, scratch.limits, state, weight_piece(kv_b, 0, kv_b.dim(0)).codes, y}, params,
                      {.x = (value_width + shape.value_rows - 1) / shape.value_rows, .y = heads, .z = conversations},
                      {.bytes = weights * dtype_bytes(kv_b.dtype), .flops = 2 * weights * conversations},
                      {std::min(kValuesThreads, rec.device().caps().max_workgroup_invocations / 16 * 16), shape.value_rows,
                       latent / 8, shape.splits, shape.keys * shape.split_tiles});
}

Status decode_mha_attention(Recorder& rec, const TensorView& qkv, const Binding& keys, const Binding& values,
                            const TensorView& rope_table, const TensorView& state, const DecodeAttentionScratch& scratch,
                            const TensorView& y, float scale, const DecodeAttentionShape& shape) {
  const auto conversations = static_cast<uint32_t>(keys.size());
  VL2_TRY(check_state("decode_mha_attention", state, conversations));
  const Rows inputs = rows_of(qkv, 1), results = rows_of(y, 2);
  VL2_TRY(check_rows("decode_mha_attention", qkv, inputs, conversations));
  VL2_TRY(check_rows("decode_mha_attention", y, results, conversations));
  const TensorView& y_one = results.one;
  if (y_one.rank() != 2 || !is_f32(y_one, y_one.element_count()) || y_one.dim(1) % 8 != 0 ||
      y_one.dim(1) > DECODE_ATTENTION_MAX_HEAD)
    return fail(Code::BadShape, "decode_mha_attention: y ", y, " must be [heads, width] f32, width a multiple of 8, at most ",
                DECODE_ATTENTION_MAX_HEAD);
  const uint32_t heads = y_one.dim(0), width = y_one.dim(1);
  VL2_TRY(check_caches("decode_mha_attention", keys, heads, width));
  VL2_TRY(check_caches("decode_mha_attention", values, heads, width));
  bool alike = values.size() == keys.size() && is_f32(inputs.one, 3 * uint64_t{heads} * width);
  for (size_t i = 0; alike && i < keys.size(); ++i)
    alike = keys[i].dtype == values[i].dtype && keys[i].dim(0) == values[i].dim(0);
  if (!alike)
    return fail(Code::BadShape, "decode_mha_attention: qkv ", qkv, ", keys ", keys[0], " and values ", values[0], " must be [",
                3 * heads * width, "] f32 and twice [capacity, ", heads * width, "] f32, f16 or in 8 bits, of each conversation");
  VL2_TRY(check_rope("decode_mha_attention", rope_table, largest_capacity(keys), width));
  VL2_TRY(check_scratch("decode_mha_attention", scratch, conversations * heads, shape.splits, width));
  if (shape.heads != 1)
    return fail(Code::BadShape, "decode_mha_attention: a workgroup takes 1 head, not ", shape.heads);
  const DecodeAttentionParams params{.heads = heads,
                                     .q_width = width,
                                     .row_chunks = heads * width / 8,
                                     .value_width = width,
                                     .scale = scale,
                                     .rows_per_head = 0,
                                     .first_value_row = 0,
                                     .weight_row_chunks = 0,
                                     .q_stride = inputs.stride,
                                     .y_stride = results.stride};
  const ShaderId first = conversations > 1 ? ShaderId::decode_mha_attention_batched_f32 : ShaderId::decode_mha_attention_f32;
  const uint64_t count = uint64_t{heads} * width * conversations;
  return rec.dispatch(cache_variant(first, keys[0].dtype),
                      {qkv, keys, values, state, scratch.parts, scratch.limits, scratch.counter, TensorView{}, rope_table, y,
                       scales_of(keys, heads), scales_of(values, heads)},
                      params, {.x = shape.splits, .y = heads, .z = conversations}, {.bytes = 24 * count, .flops = 8 * count},
                      {shape.lanes * shape.groups, shape.lanes, shape.groups, shape.heads, shape.keys, shape.lane_chunks,
                       width / 8, width / 8, shape.splits, decode_attention_parts(shape, width, 0), 0u, 0u, shape.split_tiles});
}

}  // namespace vl2
