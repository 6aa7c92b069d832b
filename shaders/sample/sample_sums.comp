// Of each block of ids: the mass of those above the limit, and how many are at the limit.
//
// Shapes    logits [vocab] f32    seen, mask [vocab / 32] u32    scratch: see the interface
// Work      one workgroup a block
// Numbers   integers
// Needs     subgroup arithmetic, any subgroup size
#version 460
#extension GL_GOOGLE_include_directive : require
#include "sample/logit_keys.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(binding = SAMPLE_SCRATCH) buffer Scratch { uint scratch[]; };
#include "sample/mass.glsl"

void main() {
  const uint best = best_key();
  const bool limited = p.top_k != 0u || p.use_top_p != 0u;
  const uint limit = limited ? scratch[SAMPLE_LIMIT] : KEY_OF_NAN;  // without one, all numbers are above it
  const uvec2 range = block_range(gl_WorkGroupID.x);
  uvec3 tally = uvec3(0u);
  for (uint id = range.x + gl_LocalInvocationIndex; id < range.y; id += SAMPLE_THREADS) {
    const uint key = key_of(id);
    if (key > limit)
      tally = tally_add(tally, uvec3(0u, mass_after_min_p(key, best)));
    else if (key == limit)
      ++tally.x;
  }
  uvec3 total;
  workgroup_exclusive_scan(tally, total);
  if (gl_LocalInvocationIndex == 0u) {
    scratch[SAMPLE_TIES + gl_WorkGroupID.x] = total.x;
    scratch[SAMPLE_MASS_LOW + gl_WorkGroupID.x] = total.y;
    scratch[SAMPLE_MASS_HIGH + gl_WorkGroupID.x] = total.z;
  }
}
