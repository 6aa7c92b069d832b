#include "runtime/ops/embed_tokens.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/embed_tokens.h"

namespace vl2 {

Status embed_tokens(Recorder& rec, const TensorView& table, const TensorView& ids, const TensorView& y) {
  VL2_TRY(check_weight("embed_tokens", table, 2, Blocks::Yes));
  if (ids.dtype != DType::U32 || y.dtype != DType::F32)
    return fail(Code::BadDType, "embed_tokens: ids must be u32 and y f32, got ", ids, ", ", y);
  if (ids.rank() != 1)
    return fail(Code::BadShape, "embed_tokens: ids ", ids, " must be [token_count]");
  if (!is_row_matrix(y) || y.dim(0) != ids.dim(0) || y.dim(1) != table.dim(1))
    return fail(Code::BadShape, "embed_tokens: y ", y, " must be [", ids.dim(0), ", ", table.dim(1), "], rows adjacent inside");
  const uint64_t rows_at_once = weight_piece_entries(rec, table, table.dim(0));
  if (rows_at_once == 0)
    return fail(Code::Unsupported, "embed_tokens: one row of table ", table, " is larger than a binding of ",
                rec.max_binding_bytes(), " bytes");
  const uint64_t count = y.element_count();
  if (count == 0)
    return {};

  const AlignedView ids_bound = rec.aligned(ids), y_bound = rec.aligned(y);
  for (uint64_t first = 0; first < table.dim(0); first += rows_at_once) {
    const auto first_id = static_cast<uint32_t>(first),
               id_count = static_cast<uint32_t>(std::min(rows_at_once, table.dim(0) - first));
    const WeightPiece piece = weight_piece(table, first_id, id_count);
    const EmbedTokensParams params{.count = static_cast<uint32_t>(count),
                                   .width = table.dim(1),
                                   .first_id = first_id,
                                   .id_count = id_count,
                                   .vocabulary = table.dim(0),
                                   .table_row_stride = table.stride(0),
                                   .ids_offset = ids_bound.remainder,
                                   .ids_stride = ids.stride(0),
                                   .y_row_stride = y.stride(0),
                                   .y_offset = y_bound.remainder};
    const Cost cost{.bytes = count * 4 + weight_cost_bytes(table, count)};
    VL2_TRY(rec.dispatch(weight_variant(ShaderId::embed_tokens_f32, table.dtype),
                         {piece.codes, ids_bound.view, y_bound.view, piece.scales}, params,
                         flat_groups((count + EMBED_TOKENS_THREADS - 1) / EMBED_TOKENS_THREADS), cost));
  }
  return {};
}

}  // namespace vl2
