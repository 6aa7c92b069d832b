// What expert_groups.comp, decode_gemv_dot.comp and expert_groups.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_GROUPS_H
#define VL2_INTERFACE_EXPERT_GROUPS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_GROUPS_IDS = 0u, EXPERT_GROUPS_GROUPS = 1u;  // bindings
VL2_CONST uint EXPERT_GROUPS_THREADS = 256u;
VL2_CONST uint EXPERT_GROUPS_MAX_PAIRS = 256u;  // choices of all tokens
VL2_CONST uint EXPERT_GROUP_TOKENS = 4u;        // of a group, at most
VL2_CONST uint EXPERT_GROUP_WORDS = 6u;         // expert, how many choices (0: beyond the last group), the choices: token * top_k + place

struct ExpertGroupsParams {
  uint pairs;  // tokens * top_k
};

VL2_SHARED_END
#endif
