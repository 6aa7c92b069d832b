// Dot products of one row of activations with STEPS times ROWS rows of a weight by a workgroup: the heart of decode_gemv.comp and
// decode_router.comp.
//
// A fast card is fed by bytes in flight, not by threads: each invocation issues UNROLL * ROWS loads of 16 bytes before it uses the first, and those
// of the next turn (the next piece of K, or of the next step the first) before it adds up across the workgroup; with AHEAD before it uses the ones
// that have come. The invocations share out K, neighbours side by side, so x and its norm are read once for ROWS rows, or, where K is no more than a
// turn, once for all steps; they come from the L1 cache, and no barrier stands before the first weight. The mean square that RMSNorm divides by is
// one more sum over K and is applied to the finished dot products:
//   sum_k W[k] (x[k] n[k] / rms) = (sum_k W[k] x[k] n[k]) / rms
//
// The includer declares weight_quads[] (see weight_chunk.glsl) and defines the functions declared below. All invocations call gemv() once; then
// all may ask for row_sum(i), i = step * ROWS + row.
#ifndef VL2_GEMV_CORE_GLSL
#define VL2_GEMV_CORE_GLSL
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "decode/weight_chunk.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 4u;
layout(constant_id = 2) const uint UNROLL = 2u;
layout(constant_id = 3) const bool ONE_SUBGROUP = false;  // the workgroup is one: no shared memory, no barrier
layout(constant_id = 4) const uint CHUNKS = 1u;           // of 8 elements of K
layout(constant_id = 5) const bool NORM = false;          // x is RMS-normalised on the way

layout(constant_id = 8) const uint STEPS = 1u;     // with ONE_SUBGROUP 1
layout(constant_id = 9) const bool AHEAD = false;  // twice the loads in flight, in twice the registers

uint row_start(uint step, uint r);                  // what weight_chunk_of() knows row r of a step by
uint weight_chunk_of(uint start, uint c);           // the chunk of the weight buffer for that row and chunk c of K
void load_x8(uint c, out vec4 low, out vec4 high);  // chunk c of x
void load_norm8(uint c, out vec4 low, out vec4 high);

const uint MAX_SUBGROUPS = 64u;  // 256 invocations, subgroups of at least 4
shared float subgroup_sums[(STEPS * ROWS + 1u) * MAX_SUBGROUPS];

float lane_sums[ROWS + 1u];  // of a step's rows, then of the squares of x
vec4 x_low[UNROLL], x_high[UNROLL];
WeightChunk coming[UNROLL * ROWS];

void load_weights(uint step, uint turn) {
  uint starts[ROWS];
  [[unroll]] for (uint r = 0u; r < ROWS; ++r)
    starts[r] = row_start(step, r);
  [[unroll]] for (uint u = 0u; u < UNROLL; ++u) {
    const uint c = min((turn * UNROLL + u) * gl_WorkGroupSize.x + gl_LocalInvocationIndex, CHUNKS - 1u);  // beyond the end: the last, times zero
    [[unroll]] for (uint r = 0u; r < ROWS; ++r)
      coming[u * ROWS + r] = load_weight_chunk(weight_chunk_of(starts[r], c));
  }
}

void load_x(uint step, uint turn) {
  [[unroll]] for (uint u = 0u; u < UNROLL; ++u) {
    const uint wanted = (turn * UNROLL + u) * gl_WorkGroupSize.x + gl_LocalInvocationIndex, c = min(wanted, CHUNKS - 1u);
    load_x8(c, x_low[u], x_high[u]);
    if (wanted >= CHUNKS)
      x_low[u] = x_high[u] = vec4(0.0);
    if (NORM) {
      vec4 norm_low, norm_high;
      load_norm8(c, norm_low, norm_high);
      if (step == 0u)
        lane_sums[ROWS] += dot(x_low[u], x_low[u]) + dot(x_high[u], x_high[u]);
      x_low[u] *= norm_low;
      x_high[u] *= norm_high;
    }
  }
}

void keep_sum(uint r, uint place) {
  lane_sums[r] = subgroupAdd(lane_sums[r]);
  if (!ONE_SUBGROUP && subgroupElect())
    subgroup_sums[place * MAX_SUBGROUPS + gl_SubgroupID] = lane_sums[r];
}

void gemv() {
  const uint turns = (CHUNKS + gl_WorkGroupSize.x * UNROLL - 1u) / (gl_WorkGroupSize.x * UNROLL);
  load_weights(0u, 0u);
  lane_sums[ROWS] = 0.0;
  for (uint step = 0u; step < STEPS; ++step) {
    [[unroll]] for (uint r = 0u; r < ROWS; ++r)
      lane_sums[r] = 0.0;
    for (uint turn = 0u; turn < turns; ++turn) {
      const bool last_turn = turn + 1u == turns, more = !last_turn || step + 1u < STEPS;
      const uint next_step = last_turn ? step + 1u : step, next_turn = last_turn ? 0u : turn + 1u;
      WeightChunk chunks[UNROLL * ROWS];
      [[unroll]] for (uint i = 0u; i < UNROLL * ROWS; ++i)
        chunks[i] = coming[i];
      if (AHEAD && more)
        load_weights(next_step, next_turn);
      if (turns > 1u || step == 0u)
        load_x(step, turn);
      [[unroll]] for (uint u = 0u; u < UNROLL; ++u)
        [[unroll]] for (uint r = 0u; r < ROWS; ++r)
          lane_sums[r] += weight_dot(chunks[u * ROWS + r], x_low[u], x_high[u]);
      if (!AHEAD && more)
        load_weights(next_step, next_turn);
    }
    [[unroll]] for (uint r = 0u; r < ROWS; ++r)
      keep_sum(r, step * ROWS + r);
  }
  if (NORM)
    keep_sum(ROWS, STEPS * ROWS);
  if (!ONE_SUBGROUP)
    barrier();
}

// With ONE_SUBGROUP, i must be the counter of an unrolled loop.
float row_sum(uint i) {
  if (ONE_SUBGROUP)
    return lane_sums[i];
  float sum = 0.0;
  for (uint subgroup = 0u; subgroup < gl_NumSubgroups; ++subgroup)
    sum += subgroup_sums[i * MAX_SUBGROUPS + subgroup];
  return sum;
}

/// What the sums are multiplied by: 1 / rms of x with NORM.
float sum_scale(float eps) { return NORM ? inversesqrt(row_sum(STEPS * ROWS) / float(CHUNKS * 8u) + eps) : 1.0; }

#endif
