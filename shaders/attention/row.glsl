// Attention of one query over all keys it sees: online softmax over blocks of 256 keys. For few queries.
//
// The including shader declares its buffers, p.scale, and
//   float load_q(uint t, uint d), load_k(uint s, uint d), load_v(uint s, uint c);  void store_y(uint t, uint c, float value);
// and calls attention_row() once from all invocations.
//
// Work      Scores: 16 threads a key, so that neighbours read neighbours. Values: 64 threads a row, 4 rows at a time.
// Numbers   all f32, sums in a fixed order; no subgroup size enters
// Needs     subgroup arithmetic (for the maximum), any subgroup size
#ifndef VL2_ATTENTION_ROW_GLSL
#define VL2_ATTENTION_ROW_GLSL
#extension GL_EXT_control_flow_attributes : require
#include "interface/attention_row.h"
#include "common/reduce.glsl"

layout(local_size_x = ATTENTION_ROW_THREADS) in;
layout(constant_id = 0) const uint VALUE_BLOCKS = 1u;  // columns of the values a thread owns

const uint KEYS = ATTENTION_ROW_THREADS, LANES = ATTENTION_ROW_LANES, COLUMNS = ATTENTION_ROW_COLUMNS;
const uint KEY_STEP = ATTENTION_ROW_THREADS / LANES, KEYS_PER_THREAD = KEYS / KEY_STEP;
const float LOWEST = -1.0e30;

shared float q_row[ATTENTION_ROW_MAX_DEPTH];
shared float parts[KEYS * (LANES + 1u)];  // [key][lane] of the dot products; at the end [group][column] of the values
shared float weights[KEYS];               // exp(score - maximum)

// visible: the query sees keys 0 .. visible - 1; at least one.
void attention_row(uint t, uint visible, uint depth, uint value_width) {
  const uint thread = gl_LocalInvocationIndex;
  const uint group = thread / COLUMNS, column = thread % COLUMNS;
  for (uint d = thread; d < depth; d += ATTENTION_ROW_THREADS)
    q_row[d] = load_q(t, d);

  float values[VALUE_BLOCKS];
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
    values[b] = 0.0;
  float maximum = LOWEST;
  float sum = 0.0;  // of this thread's keys only

  for (uint s0 = 0u; s0 < visible; s0 += KEYS) {
    const uint block_keys = min(KEYS, visible - s0);
    barrier();  // q_row is written; parts and weights may still be read
    float dots[KEYS_PER_THREAD];
    [[unroll]] for (uint i = 0u; i < KEYS_PER_THREAD; ++i)
      dots[i] = 0.0;
    for (uint d = thread % LANES; d < depth; d += LANES) {
      const float query = q_row[d];
      [[unroll]] for (uint i = 0u; i < KEYS_PER_THREAD; ++i)  // beyond the last key: the last one again, thrown away below
        dots[i] += query * load_k(min(s0 + i * KEY_STEP + thread / LANES, visible - 1u), d);
    }
    [[unroll]] for (uint i = 0u; i < KEYS_PER_THREAD; ++i)
      parts[(i * KEY_STEP + thread / LANES) * (LANES + 1u) + thread % LANES] = dots[i];
    barrier();
    float score = LOWEST;
    if (thread < block_keys) {
      score = 0.0;
      for (uint i = 0u; i < LANES; ++i)
        score += parts[thread * (LANES + 1u) + i];
      score *= p.scale;
    }
    const float new_maximum = max(maximum, workgroup_max(score));
    const float shrink = exp(maximum - new_maximum);
    maximum = new_maximum;
    const float weight = thread < block_keys ? exp(score - maximum) : 0.0;
    sum = sum * shrink + weight;
    weights[thread] = weight;
    barrier();
    [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
      values[b] *= shrink;
    for (uint s = group; s < block_keys; s += ATTENTION_ROW_THREADS / COLUMNS)
      [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
        values[b] += weights[s] * load_v(s0 + s, min(b * COLUMNS + column, value_width - 1u));
  }

  const float row_sum = workgroup_sum(sum);  // its barriers also part the last use of `parts` from the next
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
    parts[(b * COLUMNS + column) * (ATTENTION_ROW_THREADS / COLUMNS) + group] = values[b];
  barrier();
  for (uint c = thread; c < value_width; c += ATTENTION_ROW_THREADS) {
    float value = 0.0;
    for (uint i = 0u; i < ATTENTION_ROW_THREADS / COLUMNS; ++i)
      value += parts[c * (ATTENTION_ROW_THREADS / COLUMNS) + i];
    store_y(t, c, value / row_sum);
  }
}
#endif
