// Which tokens chose the same expert: so that its weights are read once for up to EXPERT_GROUP_TOKENS of them.
//
// Shapes    ids [tokens, top_k] u32    groups [tokens * top_k, EXPERT_GROUP_WORDS] u32: see interface/expert_groups.h
// Work      one workgroup; an invocation a choice, which looks at all others
// Numbers   groups in the order of their first choices, choices in their own order
// Needs     nothing
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer, which sorts tokens by expert
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/expert_groups.h"

layout(local_size_x = EXPERT_GROUPS_THREADS) in;
layout(push_constant) uniform Push { ExpertGroupsParams p; };
layout(binding = EXPERT_GROUPS_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = EXPERT_GROUPS_GROUPS) writeonly buffer Groups { uint groups[]; };

shared uint experts[EXPERT_GROUPS_MAX_PAIRS];
shared uint places[EXPERT_GROUPS_MAX_PAIRS];  // among the choices of the same expert

void main() {
  const uint pair = gl_LocalInvocationIndex;
  if (pair < p.pairs)
    experts[pair] = ids[pair];
  barrier();
  uint place = 0u, same = 0u;
  if (pair < p.pairs) {
    for (uint i = 0u; i < p.pairs; ++i)
      if (experts[i] == experts[pair]) {
        same += 1u;
        place += uint(i < pair);
      }
    places[pair] = place;
  }
  barrier();
  if (pair >= p.pairs)
    return;
  // Groups before the one that this choice belongs to, and how many there are.
  const uint within = place % EXPERT_GROUP_TOKENS;
  uint first = pair, before = 0u, count = 0u;
  for (uint i = 0u; i < p.pairs; ++i)
    if (experts[i] == experts[pair] && places[i] == place - within)
      first = i;
  for (uint i = 0u; i < p.pairs; ++i) {
    const uint begins = uint(places[i] % EXPERT_GROUP_TOKENS == 0u);
    count += begins;
    before += i < first ? begins : 0u;
  }
  groups[before * EXPERT_GROUP_WORDS + 2u + within] = pair;
  if (within == 0u) {
    groups[before * EXPERT_GROUP_WORDS] = experts[pair];
    groups[before * EXPERT_GROUP_WORDS + 1u] = min(same - place, EXPERT_GROUP_TOKENS);
  }
  if (pair >= count)
    groups[pair * EXPERT_GROUP_WORDS + 1u] = 0u;
}
