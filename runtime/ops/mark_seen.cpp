#include "runtime/ops/mark_seen.h"

#include "shaders/interface/mark_seen.h"

namespace vl2 {

Status mark_seen(Recorder& rec, const TensorView& ids, const TensorView& seen) {
  if (ids.rank() != 1 || !ids.contiguous() || ids.dim(0) >= 1u << 24)
    return fail(Code::BadShape, "mark_seen: ids ", ids, " must be [tokens], adjacent, fewer than 2^24");
  if (seen.rank() != 1 || !seen.contiguous() || seen.dim(0) == 0)
    return fail(Code::BadShape, "mark_seen: seen ", seen, " must be [words], adjacent, at least one");
  if (ids.dtype != DType::U32 || seen.dtype != DType::U32)
    return fail(Code::BadDType, "mark_seen: ids and seen must be u32, got ", ids, ", ", seen);
  if (ids.dim(0) == 0)
    return {};

  const AlignedView ids_bound = rec.aligned(ids), seen_bound = rec.aligned(seen);
  const MarkSeenParams params{.token_count = ids.dim(0),
                              .seen_words = seen.dim(0),
                              .ids_offset = ids_bound.remainder,
                              .seen_offset = seen_bound.remainder};
  const Cost cost{.bytes = 12 * uint64_t{ids.dim(0)}, .flops = 0};
  return rec.dispatch(ShaderId::mark_seen, {ids_bound.view, seen_bound.view}, params,
                      Groups{.x = (ids.dim(0) + MARK_SEEN_THREADS - 1) / MARK_SEEN_THREADS}, cost);
}

}  // namespace vl2
