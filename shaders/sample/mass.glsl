// Probabilities relative to the likeliest id as integers, "masses", and tallies (ids, mass) that add up exactly in any order.
#ifndef VL2_MASS_GLSL
#define VL2_MASS_GLSL
#include "common/reduce_uint.glsl"
#include "common/wide.glsl"

/// A count of ids, and their mass in (low, high) words.
uvec3 tally_add(uvec3 a, uvec3 b) { return uvec3(a.x + b.x, wide_add(a.yz, b.yz)); }
#define SCAN_TYPE uvec3
#define SCAN_ZERO uvec3(0u)
#define SCAN_ADD(a, b) tally_add(a, b)
#include "common/scan.glsl"

/// The key of the highest logit, from what sample_max left for each block. All invocations take part.
uint best_key() {
  return workgroup_max(gl_LocalInvocationIndex < p.blocks ? scratch[SAMPLE_BEST_KEY + gl_LocalInvocationIndex] : 0u);
}

/// exp((logit - highest) / temperature); 0 for NaN.
float weight_of(uint key, uint best) {
  if (key == KEY_OF_NAN)
    return 0.0;
  if (key == best)
    return 1.0;  // infinity - infinity would be NaN
  precise const float exponent = (key_value(key) - key_value(best)) / p.temperature;
  return min(exp(exponent), 1.0);
}

/// In units of 2^-36: the sum over 2^28 ids still fits 64 bits.
uvec2 mass_of_weight(float weight) {
  const float scaled = weight * 16.0;
  const uint high = uint(scaled);
  return uvec2(uint((scaled - float(high)) * 4294967296.0), high);
}

uvec2 mass_of(uint key, uint best) { return mass_of_weight(weight_of(key, best)); }

/// 0 for what min_p takes out.
uvec2 mass_after_min_p(uint key, uint best) {
  const float weight = weight_of(key, best);
  return weight < p.min_p ? uvec2(0u) : mass_of_weight(weight);
}

#endif
