// The highest of the blocks' highest logits: the token when the temperature is 0. Last pass of sample then.
//
// Shapes    scratch: see the interface    seen [vocab / 32] u32    token [1] u32
// Work      one workgroup, an invocation a block
// Numbers   equal logits: the lowest id
// Needs     subgroup arithmetic, any subgroup size
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/sample.h"
#include "common/reduce_uint.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(push_constant) uniform Push { SampleParams p; };
layout(binding = SAMPLE_SCRATCH) readonly buffer Scratch { uint scratch[]; };
layout(binding = SAMPLE_SEEN) buffer Seen { uint seen[]; };
layout(binding = SAMPLE_TOKEN) writeonly buffer Token { uint token[]; };

void main() {
  const uint block = gl_LocalInvocationIndex;
  const bool used = block < p.blocks;
  const uint key = used ? scratch[SAMPLE_BEST_KEY + block] : 0u;
  const uint best = workgroup_max(key);
  const uint id = workgroup_min(used && key == best ? scratch[SAMPLE_BEST_ID + block] : 0xffffffffu);
  if (gl_LocalInvocationIndex == 0u) {
    token[p.token_offset] = id;
    if (p.update_seen != 0u)
      seen[p.seen_offset + id / 32u] |= 1u << (id % 32u);
  }
}
