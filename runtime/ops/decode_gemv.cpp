#include "runtime/ops/decode_gemv.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/weight_format.h"
#include "shaders/interface/decode_gemv.h"

namespace vl2 {

namespace {

bool is_f32(const TensorView& view, uint64_t count) {
  return view.dtype == DType::F32 && view.contiguous() && view.element_count() == count;
}

// `count` f32 of each token, adjacent; of one token in any shape.
bool is_of_tokens(const TensorView& view, uint32_t tokens, uint64_t count) {
  if (tokens == 1)
    return is_f32(view, count);
  if (view.rank() < 2 || view.dim(0) != tokens || view.stride(0) < count)
    return false;
  TensorView one = view;
  one.dims[0] = 1;
  one.strides[0] = static_cast<uint32_t>(count);
  return is_f32(one, count);
}

uint32_t token_stride(const TensorView& view, uint32_t tokens) {
  return tokens == 1 || view.empty() ? 0 : view.stride(0);
}

Status check(const DecodeGemv& op, uint32_t results, uint32_t chosen) {
  const uint32_t k = op.weight.dim(op.weight.rank() - 1);
  const bool experts = op.weight.rank() == 3;
  if (k % 8 != 0 || (op.pairs && op.weight.dim(op.weight.rank() - 2) % 2 != 0))
    return fail(Code::BadShape, "decode_gemv: weight ", op.weight, " must have rows of a multiple of 8",
                op.pairs ? " and an even number of them" : "");
  if (experts != !op.ids.empty() || (experts && (op.ids.dtype != DType::U32 || !op.ids.contiguous() || chosen == 0 ||
                                                 op.ids.element_count() != uint64_t{chosen} * op.tokens)))
    return fail(Code::BadShape, "decode_gemv: ids ", op.ids, " must be [top_k] u32 with a weight of experts, and only then");
  if (!is_of_tokens(op.x, op.tokens, uint64_t{k} * (experts && !op.pairs ? chosen : 1)) || token_stride(op.x, op.tokens) % 8 != 0)
    return fail(Code::BadShape, "decode_gemv: x ", op.x, " must be f32, and as wide as weight ", op.weight);
  if (!op.norm.empty() && (!is_f32(op.norm, k) || (experts && !op.pairs)))
    return fail(Code::BadShape, "decode_gemv: norm ", op.norm, " must be [", k, "] f32, and x one row");
  if (!is_of_tokens(op.y, op.tokens, uint64_t{results} * (experts && op.pairs ? chosen : 1)))
    return fail(Code::BadShape, "decode_gemv: y ", op.y, " must be f32, with ", results, " results");
  if (!op.addend.empty() && !is_of_tokens(op.addend, op.tokens, results))
    return fail(Code::BadShape, "decode_gemv: addend ", op.addend, " must be [", results, "] f32");
  if ((experts && op.pairs) != !op.expert_weights.empty() ||
      (!op.expert_weights.empty() && !is_f32(op.expert_weights, uint64_t{chosen} * op.tokens)))
    return fail(Code::BadShape, "decode_gemv: expert_weights ", op.expert_weights, " must be [", chosen,
                "] f32 with pairs of experts, and only then");
  return {};
}

Status check_bytes(const DecodeBytes& bytes, uint32_t tokens, uint64_t k) {
  if (bytes.codes.dtype != DType::U32 || !bytes.codes.contiguous() || bytes.codes.element_count() < tokens * k / 4 ||
      bytes.scales.dtype != DType::F32 || !bytes.scales.contiguous() || bytes.scales.element_count() < tokens * 2 * (k / 32 + 1))
    return fail(Code::BadShape, "decode_gemv: bytes ", bytes.codes, " and ", bytes.scales, " must be those of [", tokens, ", ", k,
                "]");
  return {};
}

}  // namespace

Status decode_head_values(Recorder& rec, const TensorView& u, const TensorView& kv_b, const TensorView& y,
                          const DecodeGemvGroup& group) {
  VL2_TRY(check_weight("decode_head_values", kv_b, 2));
  if (u.rank() != 2 || y.rank() != 2 || u.dim(0) != y.dim(0) || u.dim(1) != kv_b.dim(1) || !is_f32(u, u.element_count()) ||
      !is_f32(y, y.element_count()) || kv_b.dim(1) % 8 != 0 || kv_b.dim(0) % y.dim(0) != 0 || kv_b.dim(0) / y.dim(0) < y.dim(1))
    return fail(Code::BadShape, "decode_head_values: u ", u, " and y ", y,
                " must be [heads, latent] and [heads, value width] f32, within kv_b ", kv_b);
  const uint32_t heads = y.dim(0), values = y.dim(1), latent = kv_b.dim(1), rows_per_head = kv_b.dim(0) / heads;
  const uint32_t row_chunks = kv_b.stride(0) / 8;
  const DecodeGemvParams params{.rows = values,
                                .first_row = 0,
                                .row_chunks = row_chunks,
                                .pair_rows = 0,
                                .expert_chunks = rows_per_head * row_chunks,
                                .first_chunk = (rows_per_head - values) * row_chunks,
                                .segment_chunks = latent / 8,
                                .expert_count = 1,
                                .y_stride = values,
                                .has_addend = 0,
                                .accumulate = 0,
                                .eps = 0,
                                .tokens = 1,
                                .x_token_eights = 0,
                                .y_token_stride = 0,
                                .addend_token_stride = 0,
                                .choices = 0};
  const uint64_t weights = uint64_t{heads} * values * latent;
  return rec.dispatch(
      weight_variant(ShaderId::decode_gemv_f32, kv_b.dtype),
      {u, TensorView{}, weight_piece(kv_b, 0, kv_b.dim(0)).codes, TensorView{}, TensorView{}, TensorView{}, y}, params,
      {.x = (values + group.rows - 1) / group.rows, .y = heads},
      {.bytes = weights * dtype_bytes(kv_b.dtype), .flops = 2 * weights},
      {group.threads, group.rows, group.unroll, group.one_subgroup, latent / 8, 0u, 0u, DECODE_GEMV_HEAD_ROWS, 1u, 0u, 1u});
}

Status decode_gemv(Recorder& rec, const DecodeGemv& op, const DecodeGemvGroup& group) {
  VL2_TRY(check_weight("decode_gemv", op.weight, op.ids.empty() ? 2 : 3, Blocks::Yes));
  const TensorView& weight = op.weight;
  const bool experts = weight.rank() == 3;
  const uint32_t k = weight.dim(weight.rank() - 1), rows = weight.dim(weight.rank() - 2);
  const uint32_t results = op.pairs ? rows / 2 : rows;
  const uint32_t chosen = experts ? static_cast<uint32_t>(op.ids.element_count()) / std::max(op.tokens, 1u) : 1;
  if (op.tokens == 0 || group.tokens == 0 || (experts && group.tokens != 1))
    return fail(Code::BadShape, "decode_gemv: ", op.tokens, " tokens, ", group.tokens,
                " at once: wanted one at once with experts");
  VL2_TRY(check(op, results, chosen));
  const uint32_t row_stride = weight.stride(weight.rank() - 2), chunk = weight_chunk(weight.dtype);

  const uint32_t mode = !experts ? DECODE_GEMV_DENSE : op.pairs ? DECODE_GEMV_EXPERT_ROWS : DECODE_GEMV_EXPERT_SUM;
  const bool dot = group.sets > 0;
  if (dot &&
      (dtype_block(weight.dtype) == 1 || !rec.device().caps().packed_dot || group.rows > 4 || (op.pairs && group.rows < 2)))
    return fail(Code::BadArgument, "decode_gemv: no dot products of bytes for weight ", weight, " on this device");
  const uint32_t group_results = (op.pairs ? group.rows / 2 : group.rows) * std::max(group.sets, 1u);
  const DeviceCaps& caps = rec.device().caps();
  // A weight larger than one binding goes by pieces of its rows, if that is possible: the recorder says when it is not.
  uint32_t piece_rows = results;
  if (mode == DECODE_GEMV_DENSE && !op.pairs)
    piece_rows = std::max(1u, weight_piece_entries(rec, weight, uint64_t{group_results} * caps.max_groups[2]));
  const uint32_t all_chunks = k / chunk * (mode == DECODE_GEMV_EXPERT_SUM ? chosen : 1);
  const bool given = dot && !op.bytes.empty();
  if (given)
    VL2_TRY(check_bytes(op.bytes, op.tokens, uint64_t{all_chunks} * chunk));
  DecodeGemvParams params{.rows = results,
                          .first_row = 0,
                          .row_chunks = row_stride / chunk,
                          .pair_rows = results,
                          .expert_chunks = experts ? weight.stride(0) / chunk : 0,
                          .first_chunk = 0,
                          .segment_chunks = k / chunk,
                          .expert_count = experts ? weight.dim(0) : 1,
                          .y_stride = results,
                          .has_addend = !op.addend.empty(),
                          .accumulate = op.accumulate,
                          .eps = op.eps,
                          .tokens = op.tokens,
                          .x_token_eights = token_stride(op.x, op.tokens) / 8,
                          .y_token_stride = token_stride(op.y, op.tokens),
                          .addend_token_stride = token_stride(op.addend, op.tokens),
                          .choices = experts ? chosen : 0};
  const ShaderId shader =
      dot ? block_variant(ShaderId::decode_gemv_dot_q8_0, weight.dtype) : weight_variant(ShaderId::decode_gemv_f32, weight.dtype);
  const uint32_t constant_3 = dot ? group.sets : group.one_subgroup;
  for (uint32_t first = 0; first < results; first += piece_rows) {
    params.first_row = first;
    params.rows = std::min(piece_rows, results - first);
    const bool whole = params.rows == results;
    const WeightPiece piece = whole ? weight_piece(weight, 0, weight.dim(0)) : weight_piece(weight, first, params.rows);
    const bool one = op.tokens == 1;
    const uint32_t token_groups = (op.tokens + group.tokens - 1) / group.tokens,
                   row_groups = (params.rows + group_results - 1) / group_results;
    const uint64_t weights = uint64_t{params.rows} * (op.pairs ? 2 : 1) * k * chosen;
    VL2_TRY(rec.dispatch(
        shader,
        {given ? TensorView{} : op.x, given ? TensorView{} : op.norm, piece.codes, op.ids, op.expert_weights, op.addend, op.y,
         piece.scales, op.bytes.codes, op.bytes.scales},
        params,
        {.x = one ? row_groups : token_groups, .y = mode == DECODE_GEMV_EXPERT_ROWS ? chosen : 1, .z = one ? 1 : row_groups},
        {.bytes = weight_cost_bytes(weight, weights) * token_groups, .flops = 2 * weights * op.tokens},
        {group.threads, group.rows, group.unroll, constant_3, all_chunks, !op.norm.empty() && !given, op.pairs, mode,
         group.tokens, given, one}));
  }
  return {};
}

}  // namespace vl2
