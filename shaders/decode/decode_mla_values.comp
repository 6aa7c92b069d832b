// Merges what the splits of decode_mla_matrix.comp found, and makes each head's values of it: y[h, i] = W[h][i] . u[h].
//
// Shapes    parts [heads, SPLITS, 8 CHUNKS] f16, limits [heads, SPLITS, 2] f32 (powers of two), state: see there
//           kv_b [heads * rows_per_head, latent] WEIGHT; W[h] its last value_width rows of head h    y [heads, value_width] f32
// Work      one workgroup ROWS rows of a head, along x; heads along y, conversations along z (conversation.glsl). Every workgroup merges its head by itself: at most some 64 KiB from the
//           cache, where a merge of its own would be one more level. Its rows of W are on their way before it looks at anything else.
//           Conversations do not share a load of W: merging one after the other costs more than its rows out of the cache.
//           Merge: SLICES invocations a chunk, each BATCH splits at once. Product: ROW_LANES invocations a row
// Numbers   f32, in an order fixed by the sizes
// Variants  WEIGHT, BATCHED
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward, in its absorbed form (W_UV)
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/decode_mla_matrix.h"
#include "decode/conversation.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256u;
layout(constant_id = 1) const uint ROWS = 16u;
layout(constant_id = 2) const uint CHUNKS = 64u;     // of a latent, of 8 elements
layout(constant_id = 3) const uint SPLITS = 64u;
layout(constant_id = 4) const uint SPLIT_KEYS = 64u; // that a split has before the next one is used

layout(push_constant) uniform Push { DecodeMlaValuesParams p; };
layout(binding = DECODE_MLA_VALUES_PARTS) readonly buffer Parts { uvec4 parts8[]; };
layout(binding = DECODE_MLA_VALUES_LIMITS) readonly buffer Limits { vec2 limits[]; };
layout(binding = DECODE_MLA_VALUES_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_MLA_VALUES_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_MLA_VALUES_Y) writeonly buffer Y { float y[]; };
#define VL2_WEIGHT_CHUNKS
#include "common/weight.glsl"

const uint BATCH = 8u;
const uint SLICES = THREADS > CHUNKS ? THREADS / CHUNKS : 1u;  // of the splits
const uint ROW_LANES = 16u, ROW_STEP = THREADS / ROW_LANES, ROW_TURNS = (ROWS + ROW_STEP - 1u) / ROW_STEP;
const uint LANE_CHUNKS = (CHUNKS + ROW_LANES - 1u) / ROW_LANES;
const float LOWEST = -1.0e30;

shared vec4 slice_values[SLICES * CHUNKS * 2u];
shared vec2 slice_limits[SLICES];
shared vec4 attended[CHUNKS * 2u];
shared float row_parts[ROWS * ROW_LANES];

WeightChunk weight_chunks[ROW_TURNS * LANE_CHUNKS];

void fetch_weights(uint head, uint first_row) {
  const uint lane = gl_LocalInvocationIndex % ROW_LANES, base = head * p.rows_per_head + p.rows_per_head - p.value_width;
  [[unroll]] for (uint t = 0u; t < ROW_TURNS; ++t) {
    const uint row = min(first_row + gl_LocalInvocationIndex / ROW_LANES + t * ROW_STEP, p.value_width - 1u);
    [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i)
      weight_chunks[t * LANE_CHUNKS + i] = load_weight_chunk((base + row) * p.weight_row_chunks + min(lane + i * ROW_LANES, CHUNKS - 1u));
  }
}

// The slices of each chunk: sums of weighted parts, their maximum and sum of weights.
void merge_slices(uint row, uint splits) {
  const uint at = row * SPLITS;
  for (uint item = gl_LocalInvocationIndex; item < SLICES * CHUNKS; item += THREADS) {
    const uint chunk = item % CHUNKS, slice = item / CHUNKS;
    float maximum = LOWEST, sum = 0.0;
    vec4 low = vec4(0.0), high = vec4(0.0);
    for (uint first = slice; first < splits; first += SLICES * BATCH) {
      uvec4 batch[BATCH];
      vec2 batch_limits[BATCH];
      [[unroll]] for (uint b = 0u; b < BATCH; ++b) {
        const uint j = min(first + b * SLICES, splits - 1u);
        batch_limits[b] = limits[at + j];
        batch[b] = parts8[(at + j) * CHUNKS + chunk];
      }
      float new_maximum = maximum;
      [[unroll]] for (uint b = 0u; b < BATCH; ++b)
        new_maximum = max(new_maximum, batch_limits[b].x);  // the last again does no harm
      const float shrink = exp2(maximum - new_maximum);
      maximum = new_maximum;
      sum *= shrink;
      low *= shrink;
      high *= shrink;
      [[unroll]] for (uint b = 0u; b < BATCH; ++b) {
        const float factor = first + b * SLICES < splits ? exp2(batch_limits[b].x - maximum) * batch_limits[b].y : 0.0;
        sum += factor;
        low += factor * vec4(unpackHalf2x16(batch[b].x), unpackHalf2x16(batch[b].y));
        high += factor * vec4(unpackHalf2x16(batch[b].z), unpackHalf2x16(batch[b].w));
      }
    }
    slice_values[(slice * 2u) * CHUNKS + chunk] = low;
    slice_values[(slice * 2u + 1u) * CHUNKS + chunk] = high;
    if (chunk == 0u)
      slice_limits[slice] = vec2(maximum, sum);
  }
}

// row: of the heads of all conversations
void merge(uint row, uint splits) {
  merge_slices(row, splits);
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < CHUNKS * 2u; i += THREADS) {
    float maximum = LOWEST, sum = 0.0;
    vec4 value = vec4(0.0);
    [[unroll]] for (uint slice = 0u; slice < SLICES; ++slice)
      maximum = max(maximum, slice_limits[slice].x);
    [[unroll]] for (uint slice = 0u; slice < SLICES; ++slice) {  // one without splits has the lowest maximum, and a sum of 0
      const float factor = exp2(slice_limits[slice].x - maximum);
      sum += factor * slice_limits[slice].y;
      value += factor * slice_values[slice * 2u * CHUNKS + i];
    }
    attended[i] = value / sum;  // all low halves of the chunks, then all high ones: neighbours in different banks
  }
  barrier();
}

void main() {
  const uint head = gl_WorkGroupID.y, first_row = gl_WorkGroupID.x * ROWS, thread = gl_LocalInvocationIndex, lane = thread % ROW_LANES;
  fetch_weights(head, first_row);
  merge(CONVERSATION * gl_NumWorkGroups.y + head, min((STATE_POSITION + SPLIT_KEYS) / SPLIT_KEYS, SPLITS));
  [[unroll]] for (uint t = 0u; t < ROW_TURNS; ++t) {
    const uint row = thread / ROW_LANES + t * ROW_STEP;
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
      const uint c = min(lane + i * ROW_LANES, CHUNKS - 1u);
      const float part = weight_dot(weight_chunks[t * LANE_CHUNKS + i], 0u, attended[c], attended[CHUNKS + c]);
      sum += lane + i * ROW_LANES < CHUNKS ? part : 0.0;
    }
    if (row < ROWS)
      row_parts[lane * ROWS + row] = sum;
  }
  barrier();
  for (uint row = thread; row < ROWS; row += THREADS) {
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < ROW_LANES; ++i)
      sum += row_parts[i * ROWS + row];
    if (first_row + row < p.value_width)
      y[CONVERSATION * p.y_stride + head * p.value_width + first_row + row] = sum;
  }
}
