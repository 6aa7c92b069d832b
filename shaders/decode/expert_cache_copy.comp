// Copies whole experts' weights: those that a token misses from host memory into their slots, or all that a prompt chose, from their slots or host
// memory, side by side for a grouped product.
//
// Shapes    codes, scales: the planes of [experts, ..] in host memory    slot_codes, slot_scales: of [slots, ..]    to_codes, to_scales: where to
//           loading:   list = loads [top_k], places = slots [top_k] u32, as expert_cache_update.comp made them; to: the slots
//           gathering: list = offsets [experts + 1] of expert_schedule.comp, places = state; to [experts, ..]
// Work      along y a choice, or an expert; along x its workgroups, each every so manyth run of quads. AT_ONCE loads are in flight an invocation,
//           since what comes from host memory takes a microsecond and more
// Numbers   none: bits are moved
// Needs     nothing
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/expert_cache.h"

layout(constant_id = 0) const bool GATHER = false;

layout(local_size_x = EXPERT_CACHE_COPY_THREADS) in;
layout(push_constant) uniform Push { ExpertCacheCopyParams p; };
layout(binding = EXPERT_CACHE_COPY_CODES) readonly buffer Codes { uvec4 codes[]; };
layout(binding = EXPERT_CACHE_COPY_SCALES) readonly buffer Scales { uint scales[]; };
layout(binding = EXPERT_CACHE_COPY_SLOT_CODES) readonly buffer SlotCodes { uvec4 slot_codes[]; };
layout(binding = EXPERT_CACHE_COPY_SLOT_SCALES) readonly buffer SlotScales { uint slot_scales[]; };
layout(binding = EXPERT_CACHE_COPY_TO_CODES) writeonly buffer ToCodes { uvec4 to_codes[]; };
layout(binding = EXPERT_CACHE_COPY_TO_SCALES) writeonly buffer ToScales { uint to_scales[]; };
layout(binding = EXPERT_CACHE_COPY_LIST) readonly buffer List { uint list[]; };
layout(binding = EXPERT_CACHE_COPY_PLACES) readonly buffer Places { uint places[]; };

const uint AT_ONCE = 4u;

#define COPY_PLANE(NAME, TYPE, from, to)                                                             \
  void NAME(uint from_first, uint to_first, uint count) {                                            \
    const uint threads = gl_NumWorkGroups.x * EXPERT_CACHE_COPY_THREADS;                             \
    for (uint base = gl_GlobalInvocationID.x; base < count; base += threads * AT_ONCE) {             \
      TYPE held[AT_ONCE];                                                                            \
      [[unroll]] for (uint u = 0u; u < AT_ONCE; ++u)                                                 \
        held[u] = from[from_first + min(base + u * threads, count - 1u)];                            \
      [[unroll]] for (uint u = 0u; u < AT_ONCE; ++u)                                                 \
        if (base + u * threads < count)                                                              \
          to[to_first + base + u * threads] = held[u];                                               \
    }                                                                                                \
  }
COPY_PLANE(copy_codes, uvec4, codes, to_codes)
COPY_PLANE(copy_scales, uint, scales, to_scales)
COPY_PLANE(copy_slot_codes, uvec4, slot_codes, to_codes)
COPY_PLANE(copy_slot_scales, uint, slot_scales, to_scales)

void load() {
  const uint expert = list[gl_WorkGroupID.y];
  if (expert < p.first_expert || expert >= p.end_expert)
    return;  // nothing to load, or another dispatch's
  const uint slot = places[gl_WorkGroupID.y];
  if (slot < p.first_slot || slot >= p.end_slot)
    return;
  const uint from = expert - p.first_expert, to = slot - p.first_slot;
  copy_codes(from * p.code_quads, to * p.code_quads, p.code_quads);
  copy_scales(from * p.scale_words, to * p.scale_words, p.scale_words);
}

void gather() {
  const uint expert = p.first_expert + gl_WorkGroupID.y;
  if (list[p.list_offset + expert] == list[p.list_offset + expert + 1u])
    return;  // nobody chose it
  const uint place = places[EXPERT_CACHE_HEAD + expert], to = gl_WorkGroupID.y;
  if (place == 0u) {
    if (p.first_slot != 0u)
      return;  // the dispatch of the first slots did
    copy_codes(to * p.code_quads, to * p.code_quads, p.code_quads);
    copy_scales(to * p.scale_words, to * p.scale_words, p.scale_words);
    return;
  }
  const uint slot = place - 1u;
  if (slot < p.first_slot || slot >= p.end_slot)
    return;
  copy_slot_codes((slot - p.first_slot) * p.code_quads, to * p.code_quads, p.code_quads);
  copy_slot_scales((slot - p.first_slot) * p.scale_words, to * p.scale_words, p.scale_words);
}

void main() {
  if (GATHER)
    gather();
  else
    load();
}
