#include "runtime/ops/expert_groups.h"

#include "shaders/interface/expert_groups.h"

namespace vl2 {

static_assert(kExpertGroupTokens == EXPERT_GROUP_TOKENS);

uint32_t expert_group_words(uint32_t choices) {
  return choices * EXPERT_GROUP_WORDS;
}

Status expert_groups(Recorder& rec, const TensorView& ids, const TensorView& groups) {
  if (ids.dtype != DType::U32 || !ids.contiguous() || ids.element_count() > EXPERT_GROUPS_MAX_PAIRS)
    return fail(Code::BadShape, "expert_groups: ids ", ids, " must be [tokens, top_k] u32, at most ", EXPERT_GROUPS_MAX_PAIRS);
  const auto pairs = static_cast<uint32_t>(ids.element_count());
  if (groups.dtype != DType::U32 || !groups.contiguous() || groups.element_count() < expert_group_words(pairs))
    return fail(Code::BadShape, "expert_groups: groups ", groups, " must be [", expert_group_words(pairs), "] u32");
  return rec.dispatch(ShaderId::expert_groups, {ids, groups}, ExpertGroupsParams{.pairs = pairs}, {}, {.bytes = pairs * 4});
}

}  // namespace vl2
