// Tokens that chose the same expert, for products that read its weights once for several.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

constexpr uint32_t kExpertGroupTokens = 4;  ///< of a group, at most

/// Words that expert_groups() writes for so many choices.
uint32_t expert_group_words(uint32_t choices);

/// Records the sorting of choices into groups of the same expert, kExpertGroupTokens at most.
///
/// ids     u32 [tokens, top_k], at most 256 of them
/// groups  u32 [expert_group_words(tokens * top_k)]: see shaders/interface/expert_groups.h
/// Errors  BadShape: nothing is recorded
Status expert_groups(Recorder& rec, const TensorView& ids, const TensorView& groups);

}  // namespace vl2
