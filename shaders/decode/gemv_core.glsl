// Dot products of one row of activations with ROWS rows of a weight by a workgroup: the heart of decode_gemv.comp and decode_router.comp.
//
// A fast card is fed by bytes in flight, not by threads: each invocation issues UNROLL * ROWS loads of 16 bytes before it uses the first. The
// invocations share out K, neighbours side by side, so x and its norm are read once for ROWS rows; they come from the L1 cache, and no barrier
// stands before the first weight. The mean square that RMSNorm divides by is one more sum over K and is applied to the finished dot products:
//   sum_k W[k] (x[k] n[k] / rms) = (sum_k W[k] x[k] n[k]) / rms
//
// The includer declares weight_quads[] (see common/weight.glsl) and defines the functions declared below. All invocations call gemv() once; then
// all may ask for row_sum(r).
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

uint weight_chunk_of(uint r, uint c);  // the chunk of the weight buffer for row r of this workgroup and chunk c of K
void load_x8(uint e, out vec4 low, out vec4 high);  // elements 8 e .. 8 e + 7 of x
void load_norm8(uint e, out vec4 low, out vec4 high);

const uint EIGHTS = WEIGHT_CHUNK / 8u;
const uint MAX_SUBGROUPS = 64u;  // 256 invocations, subgroups of at least 4
shared float subgroup_sums[(ROWS + 1u) * MAX_SUBGROUPS];

float lane_sums[ROWS + 1u];  // of the rows, then of the squares of x

void gemv() {
  [[unroll]] for (uint r = 0u; r <= ROWS; ++r)
    lane_sums[r] = 0.0;
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
        vec4 low, high;
        load_x8(e, low, high);
        if (wanted >= CHUNKS)
          low = high = vec4(0.0);
        if (NORM) {
          vec4 norm_low, norm_high;
          load_norm8(e, norm_low, norm_high);
          lane_sums[ROWS] += dot(low, low) + dot(high, high);
          low *= norm_low;
          high *= norm_high;
        }
        [[unroll]] for (uint r = 0u; r < ROWS; ++r)
          lane_sums[r] += weight_dot(chunks[u * ROWS + r], eight, low, high);
      }
    }
  }
  [[unroll]] for (uint r = 0u; r < ROWS + uint(NORM); ++r) {
    lane_sums[r] = subgroupAdd(lane_sums[r]);
    if (!ONE_SUBGROUP && subgroupElect())
      subgroup_sums[r * MAX_SUBGROUPS + gl_SubgroupID] = lane_sums[r];
  }
  if (!ONE_SUBGROUP)
    barrier();
}

// With ONE_SUBGROUP, r must be the counter of an unrolled loop.
float row_sum(uint r) {
  if (ONE_SUBGROUP)
    return lane_sums[r];
  float sum = 0.0;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    sum += subgroup_sums[r * MAX_SUBGROUPS + i];
  return sum;
}

/// What the sums are multiplied by: 1 / rms of x with NORM.
float sum_scale(float eps) { return NORM ? inversesqrt(row_sum(ROWS) / float(CHUNKS * WEIGHT_CHUNK) + eps) : 1.0; }

#endif
