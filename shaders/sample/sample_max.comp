// The highest logit of each block of ids, and the lowest id that has it. First pass of sample.
//
// Shapes    logits [vocab] f32    seen, mask [vocab / 32] u32    scratch: see the interface
// Work      one workgroup a block; also clears the histograms that later passes add to
// Numbers   ordered keys: NaN lowest
// Needs     subgroup arithmetic, any subgroup size
// Source    transformers 4.38 generation/logits_process.py, RepetitionPenaltyLogitsProcessor
#version 460
#extension GL_GOOGLE_include_directive : require
#include "sample/logit_keys.glsl"
#include "common/reduce_uint.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(binding = SAMPLE_SCRATCH) writeonly buffer Scratch { uint scratch[]; };

void main() {
  const uvec2 range = block_range(gl_WorkGroupID.x);
  uint best = KEY_OF_NAN, best_id = 0xffffffffu;
  for (uint id = range.x + gl_LocalInvocationIndex; id < range.y; id += SAMPLE_THREADS) {
    const uint key = key_of(id);
    if (key > best || best_id == 0xffffffffu) {
      best = key;
      best_id = id;
    }
  }
  const uint block_best = workgroup_max(best);
  const uint block_id = workgroup_min(best == block_best ? best_id : 0xffffffffu);
  if (gl_LocalInvocationIndex == 0u) {
    scratch[SAMPLE_BEST_KEY + gl_WorkGroupID.x] = block_best;
    scratch[SAMPLE_BEST_ID + gl_WorkGroupID.x] = block_id;
  }
  if (p.temperature > 0.0)
    for (uint i = gl_GlobalInvocationID.x; i < SAMPLE_HISTOGRAMS * SAMPLE_HISTOGRAM_WORDS; i += p.blocks * SAMPLE_THREADS)
      scratch[SAMPLE_HISTOGRAM + i] = 0u;
}
