#include "runtime/ops/embed_tokens.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "shaders/interface/embed_tokens.h"

namespace vl2 {

namespace {

// Rows of the table that one binding holds, after its start has been moved down to where a shader can bind it.
uint64_t rows_per_binding(Recorder& rec, const TensorView& table) {
  const uint64_t lost = rec.device().caps().storage_buffer_alignment, limit = rec.max_binding_bytes();
  const uint64_t usable = std::min<uint64_t>(limit > lost ? limit - lost : 0, UINT32_MAX);  // shaders count elements in 32 bits
  const uint64_t row_bytes = uint64_t{std::max(table.stride(0), table.dim(1))} * dtype_bytes(table.dtype);
  return std::min<uint64_t>(usable / row_bytes, table.dim(0));
}

}  // namespace

Status embed_tokens(Recorder& rec, const TensorView& table, const TensorView& ids, const TensorView& y) {
  if (table.dtype != DType::F32 && table.dtype != DType::F16 && table.dtype != DType::BF16)
    return fail(Code::BadDType, "embed_tokens: table ", table, " must be f32, f16 or bf16");
  if (ids.dtype != DType::U32 || y.dtype != DType::F32)
    return fail(Code::BadDType, "embed_tokens: ids must be u32 and y f32, got ", ids, ", ", y);
  if (table.rank() != 2 || table.element_count() == 0 || table.stride(1) != 1 || table.stride(0) < table.dim(1))
    return fail(Code::BadShape, "embed_tokens: table ", table, " must be [vocabulary, width], not empty, rows adjacent inside");
  if (ids.rank() != 1 || ids.stride(0) != 1)
    return fail(Code::BadShape, "embed_tokens: ids ", ids, " must be [token_count], adjacent");
  if (!is_row_matrix(y) || y.dim(0) != ids.dim(0) || y.dim(1) != table.dim(1))
    return fail(Code::BadShape, "embed_tokens: y ", y, " must be [", ids.dim(0), ", ", table.dim(1), "], rows adjacent inside");
  const uint64_t rows_at_once = rows_per_binding(rec, table);
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
    const AlignedView table_bound = rec.aligned(table.rows(first_id, id_count));
    const EmbedTokensParams params{.count = static_cast<uint32_t>(count),
                                   .width = table.dim(1),
                                   .first_id = first_id,
                                   .id_count = id_count,
                                   .vocabulary = table.dim(0),
                                   .table_row_stride = table.stride(0),
                                   .table_offset = table_bound.remainder,
                                   .ids_offset = ids_bound.remainder,
                                   .y_row_stride = y.stride(0),
                                   .y_offset = y_bound.remainder};
    const Cost cost{.bytes = count * (4 + dtype_bytes(table.dtype))};
    VL2_TRY(rec.dispatch(weight_variant(ShaderId::embed_tokens_f32, table.dtype),
                         {table_bound.view, ids_bound.view, y_bound.view}, params,
                         flat_groups((count + EMBED_TOKENS_THREADS - 1) / EMBED_TOKENS_THREADS), cost));
  }
  return {};
}

}  // namespace vl2
