// The logits as `sample` orders them: masked, with the repetition penalty, as ordered keys; and the blocks of ids of a workgroup.
#ifndef VL2_LOGIT_KEYS_GLSL
#define VL2_LOGIT_KEYS_GLSL
#include "interface/sample.h"
#include "common/ordered_key.glsl"

layout(push_constant) uniform Push { SampleParams p; };
layout(binding = SAMPLE_LOGITS) readonly buffer Logits { float logits[]; };
#ifndef SAMPLE_SEEN_WRITABLE
layout(binding = SAMPLE_SEEN) readonly buffer Seen { uint seen[]; };
#else
layout(binding = SAMPLE_SEEN) buffer Seen { uint seen[]; };
#endif

layout(binding = SAMPLE_MASK) readonly buffer Mask { uint mask[]; };

/// What the mask leaves out is as NaN: it never wins, and has no mass.
uint key_of(uint id) {
  if (p.use_mask != 0u && (mask[p.mask_offset + id / 32u] >> (id % 32u) & 1u) == 0u)
    return KEY_OF_NAN;
  precise float logit = logits[p.logits_offset + id];
  if (p.use_penalty != 0u && (seen[p.seen_offset + id / 32u] >> (id % 32u) & 1u) != 0u)
    logit = logit > 0.0 ? logit / p.penalty : logit * p.penalty;
  return ordered_key(logit);
}

/// The first id of a block, and one past its last.
uvec2 block_range(uint block) {
  const uint first = block * p.block_ids;
  return uvec2(first, min(first + p.block_ids, p.vocab_size));
}

#endif
