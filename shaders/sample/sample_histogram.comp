// A histogram of the ids and their masses by one digit of their keys, among those that sample_descend has come down to.
//
// Shapes    logits [vocab] f32    seen, mask [vocab / 32] u32    scratch: see the interface
// Work      one workgroup a block of ids
// Numbers   integers; added by atomics, which is exact in any order: the low words' overflows are carried by whoever sees one
// Needs     subgroup arithmetic, any subgroup size
// Source    a radix selection
#version 460
#extension GL_GOOGLE_include_directive : require
#include "sample/logit_keys.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(binding = SAMPLE_SCRATCH) buffer Scratch { uint scratch[]; };
#include "sample/mass.glsl"

shared uint bin_count[SAMPLE_BINS];
shared uint bin_low[SAMPLE_BINS];
shared uint bin_high[SAMPLE_BINS];

void count_id(uint bin, uvec2 mass) {
  atomicAdd(bin_count[bin], 1u);
  const uint old = atomicAdd(bin_low[bin], mass.x);
  const uint high = mass.y + (old + mass.x < old ? 1u : 0u);
  if (high != 0u)
    atomicAdd(bin_high[bin], high);
}

void add_to_scratch(uint bin) {
  if (bin_count[bin] == 0u)
    return;
  const uint at = SAMPLE_HISTOGRAM + p.pass * SAMPLE_HISTOGRAM_WORDS + bin;
  atomicAdd(scratch[at], bin_count[bin]);
  const uint old = atomicAdd(scratch[at + SAMPLE_BINS], bin_low[bin]);
  const uint high = bin_high[bin] + (old + bin_low[bin] < old ? 1u : 0u);
  if (high != 0u)
    atomicAdd(scratch[at + 2u * SAMPLE_BINS], high);
}

void main() {
  const uint best = best_key();
  const uint level = p.pass < SAMPLE_LEVELS ? p.pass : p.pass - SAMPLE_LEVELS + 1u;
  bin_count[gl_LocalInvocationIndex] = 0u;
  bin_low[gl_LocalInvocationIndex] = 0u;
  bin_high[gl_LocalInvocationIndex] = 0u;
  barrier();
  const uint shift = SAMPLE_DIGIT_BITS * (SAMPLE_LEVELS - 1u - level);
  const uint found_bits = level == 0u ? 0u : 0xffffffffu << (shift + SAMPLE_DIGIT_BITS);
  const uint found = level == 0u ? 0u : scratch[SAMPLE_STATE];
  const uvec2 range = block_range(gl_WorkGroupID.x);
  for (uint id = range.x + gl_LocalInvocationIndex; id < range.y; id += SAMPLE_THREADS) {
    const uint key = key_of(id);
    if ((key & found_bits) == found)
      count_id(key >> shift & (SAMPLE_BINS - 1u), mass_of(key, best));
  }
  barrier();
  add_to_scratch(gl_LocalInvocationIndex);
}
