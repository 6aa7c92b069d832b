// seen[id / 32] |= 1 << id % 32 for each id.
//
// Shapes    ids [tokens] u32    seen [vocab / 32] u32
// Work      an invocation an id; the order of atomic ors does not show
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mark_seen.h"

layout(local_size_x = MARK_SEEN_THREADS) in;
layout(push_constant) uniform Push { MarkSeenParams p; };
layout(binding = MARK_SEEN_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = MARK_SEEN_SEEN) buffer Seen { uint seen[]; };

void main() {
  if (gl_GlobalInvocationID.x >= p.token_count)
    return;
  const uint id = ids[p.ids_offset + gl_GlobalInvocationID.x];
  if (id / 32u < p.seen_words)
    atomicOr(seen[p.seen_offset + id / 32u], 1u << (id % 32u));
}
