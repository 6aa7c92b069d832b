// Dot products of one row of activations (or TOKENS, for each weight that is loaded) with ROWS rows of a weight by a workgroup: the heart of decode_gemv.comp and decode_router.comp.
//
// A fast card is fed by bytes in flight, not by threads: each invocation issues UNROLL * ROWS loads of 16 bytes before it uses the first. The
// invocations share out K, neighbours side by side, so x and its norm are read once for ROWS rows; they come from the L1 cache, and no barrier
// stands before the first weight. The mean square that RMSNorm divides by is one more sum over K and is applied to the finished dot products:
//   sum_k W[k] (x[k] n[k] / rms) = (sum_k W[k] x[k] n[k]) / rms
//
// The includer declares weight_quads[] (see common/weight.glsl) and defines the functions declared below. All invocations call gemv() once; then
// all may ask for row_sum(t, r). Each token's sums are those that it would get alone, in the same order.
#ifndef VL2_GEMV_CORE_GLSL
#define VL2_GEMV_CORE_GLSL
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#define VL2_WEIGHT_CHUNKS
#include "common/weight.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 4u;
layout(constant_id = 2) const uint UNROLL = 2u;
layout(constant_id = 3) const bool ONE_SUBGROUP = false;  // the workgroup is one: no shared memory, no barrier
layout(constant_id = 4) const uint CHUNKS = 1u;           // of WEIGHT_CHUNK elements of K
layout(constant_id = 5) const bool NORM = false;          // x is RMS-normalised on the way
layout(constant_id = 8) const uint TOKENS = 1u;           // rows of x

uint weight_chunk_of(uint r, uint c);  // the chunk of the weight buffer for row r of this workgroup and chunk c of K
void load_x8(uint t, uint e, out vec4 low, out vec4 high);  // elements 8 e .. 8 e + 7 of row t of x
void load_norm8(uint e, out vec4 low, out vec4 high);

const uint EIGHTS = WEIGHT_CHUNK / 8u;
const uint MAX_SUBGROUPS = 64u;  // 256 invocations, subgroups of at least 4
const uint SUMS = ROWS + 1u;  // of a token: of the rows, then of the squares of x
shared float subgroup_sums[TOKENS * SUMS * MAX_SUBGROUPS];

float lane_sums[TOKENS * SUMS];

void gemv() {
  [[unroll]] for (uint i = 0u; i < TOKENS * SUMS; ++i)
    lane_sums[i] = 0.0;
  const uint threads = gl_WorkGroupSize.x;
  for (uint base = 0u; base < CHUNKS; base += threads * UNROLL) {
    WeightChunk chunks[UNROLL * ROWS];
    [[unroll]] for (uint u = 0u; u < UNROLL; ++u) {
      const uint c = min(base + u * threads + gl_LocalInvocationIndex, CHUNKS - 1u);  // beyond the end: the last again, times zero
      [[unroll]] for (uint r = 0u; r < ROWS; ++r)
        chunks[u * ROWS + r] = load_weight_chunk(weight_chunk_of(r, c));
    }
    [[unroll]] for (uint u = 0u; u < UNROLL; ++u) {
      const uint wanted = base + u * threads + gl_LocalInvocationIndex;
      [[unroll]] for (uint eight = 0u; eight < EIGHTS; ++eight) {
        const uint e = min(wanted, CHUNKS - 1u) * EIGHTS + eight;
        vec4 norm_low, norm_high;
        if (NORM)
          load_norm8(e, norm_low, norm_high);
        [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
          vec4 low, high;
          load_x8(t, e, low, high);
          if (wanted >= CHUNKS)
            low = high = vec4(0.0);
          if (NORM) {
            lane_sums[t * SUMS + ROWS] += dot(low, low) + dot(high, high);
            low *= norm_low;
            high *= norm_high;
          }
          [[unroll]] for (uint r = 0u; r < ROWS; ++r)
            lane_sums[t * SUMS + r] += weight_dot(chunks[u * ROWS + r], eight, low, high);
        }
      }
    }
  }
  [[unroll]] for (uint t = 0u; t < TOKENS; ++t)
    [[unroll]] for (uint r = 0u; r < ROWS + uint(NORM); ++r) {
      const uint i = t * SUMS + r;
      lane_sums[i] = subgroupAdd(lane_sums[i]);
      if (!ONE_SUBGROUP && subgroupElect())
        subgroup_sums[i * MAX_SUBGROUPS + gl_SubgroupID] = lane_sums[i];
    }
  if (!ONE_SUBGROUP)
    barrier();
}

// With ONE_SUBGROUP, t and r must be counters of unrolled loops.
float row_sum(uint t, uint r) {
  const uint at = t * SUMS + r;
  if (ONE_SUBGROUP)
    return lane_sums[at];
  float sum = 0.0;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    sum += subgroup_sums[at * MAX_SUBGROUPS + i];
  return sum;
}

/// What the sums of row t are multiplied by: 1 / rms of x with NORM.
float sum_scale(uint t, float eps) { return NORM ? inversesqrt(row_sum(t, ROWS) / float(CHUNKS * WEIGHT_CHUNK) + eps) : 1.0; }

#endif
