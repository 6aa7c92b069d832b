// Attention of a block of 32 queries over all keys they see: online softmax over blocks of 64 keys. For many queries.
//
// The including shader declares its buffers, p.scale, and
//   float load_q(uint t, uint d), load_k(uint s, uint d), load_v(uint s, uint c);  void store_y(uint t, uint c, float value);
// and calls attention_tiled() once from all invocations.
//
// Work      Thread (g, c) of 8 x 16 owns queries 4g .. 4g+3. Of a block's scores it owns keys 4c .. 4c+3, of the values columns c, c+16, ...
//           Queries and keys pass through shared memory, transposed, 32 elements deep at a time; values are read where they lie.
// Numbers   all f32. Maximum and sum of a row run along with the blocks; earlier parts are scaled down when the maximum rises.
//           A masked score is MASKED: block 0 holds key 0, which every query sees, so from then on exp(MASKED - maximum) is 0.
// Source    Milakov and Gimelshein, "Online normalizer calculation for softmax"; Dao et al., "FlashAttention"
#ifndef VL2_ATTENTION_TILED_GLSL
#define VL2_ATTENTION_TILED_GLSL
#extension GL_EXT_control_flow_attributes : require
#include "interface/attention_tiled.h"

layout(local_size_x = ATTENTION_TILED_THREADS) in;
layout(constant_id = 0) const uint VALUE_BLOCKS = 1u;  // columns of the values a thread owns

const uint QUERIES = ATTENTION_TILED_QUERIES, KEYS = ATTENTION_TILED_KEYS, COLUMNS = ATTENTION_TILED_COLUMNS;
const uint DEPTH = 32u;
const uint QUERY_VECS = QUERIES / 4u + 1u, KEY_VECS = KEYS / 4u + 1u;  // one more than needed: other memory banks a row
const float MASKED = -1.0e30;

shared vec4 q_tile[DEPTH * QUERY_VECS];        // [d][query]
shared vec4 k_tile[DEPTH * KEY_VECS];          // [d][key]
shared vec4 p_tile[KEYS * QUERY_VECS];         // [key][query]: exp(score - maximum)
shared vec4 row_part[COLUMNS * QUERIES / 4u];  // [thread of a row][query]: maxima, at the end sums

// Elements d0 .. d0 + depth - 1 of the queries from t0 and the keys from s0; zeros beyond the last of each.
void stage_queries_and_keys(uint t0, uint query_count, uint s0, uint key_end, uint d0, uint depth) {
  for (uint i = gl_LocalInvocationIndex; i < QUERIES * DEPTH; i += ATTENTION_TILED_THREADS) {
    const uint d = i % DEPTH, t = i / DEPTH;
    if (d < depth)
      q_tile[d * QUERY_VECS + t / 4u][t % 4u] = t0 + t < query_count ? load_q(t0 + t, d0 + d) : 0.0;
  }
  for (uint i = gl_LocalInvocationIndex; i < KEYS * DEPTH; i += ATTENTION_TILED_THREADS) {
    const uint d = i % DEPTH, s = i / DEPTH;
    if (d < depth)
      k_tile[d * KEY_VECS + s / 4u][s % 4u] = s0 + s < key_end ? load_k(s0 + s, d0 + d) : 0.0;
  }
}

// depth: elements of a key. visible(t) = min(key_count, first_visible + t): query t sees keys 0 .. visible(t) - 1; at least one.
void attention_tiled(uint query_count, uint key_count, uint first_visible, uint depth, uint value_width) {
  const uint t0 = gl_WorkGroupID.x * QUERIES;
  const uint group = gl_LocalInvocationIndex / COLUMNS, column = gl_LocalInvocationIndex % COLUMNS;
  const uint last_query = min(t0 + QUERIES, query_count) - 1u;
  const uint key_end = min(key_count, first_visible + last_query);

  vec4 values[VALUE_BLOCKS];  // [column][query]
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
    values[b] = vec4(0.0);
  vec4 maximum = vec4(MASKED);
  vec4 sum = vec4(0.0);  // of this thread's keys only

  for (uint s0 = 0u; s0 < key_end; s0 += KEYS) {
    vec4 scores[4] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));  // [key][query]
    for (uint d0 = 0u; d0 < depth; d0 += DEPTH) {
      const uint chunk = min(DEPTH, depth - d0);
      barrier();  // the tiles may still be read
      stage_queries_and_keys(t0, query_count, s0, key_end, d0, chunk);
      barrier();
      for (uint d = 0u; d < chunk; ++d) {
        const vec4 query = q_tile[d * QUERY_VECS + group], key = k_tile[d * KEY_VECS + column];
        [[unroll]] for (uint i = 0u; i < 4u; ++i)
          scores[i] += query * key[i];
      }
    }

    vec4 block_maximum = vec4(MASKED);
    [[unroll]] for (uint i = 0u; i < 4u; ++i) {
      const uint s = s0 + 4u * column + i;
      [[unroll]] for (uint j = 0u; j < 4u; ++j) {
        const uint t = t0 + 4u * group + j;
        scores[i][j] = s < key_end && s < first_visible + t ? scores[i][j] * p.scale : MASKED;
      }
      block_maximum = max(block_maximum, scores[i]);
    }
    row_part[column * (QUERIES / 4u) + group] = block_maximum;
    barrier();
    vec4 new_maximum = maximum;
    [[unroll]] for (uint c = 0u; c < COLUMNS; ++c)
      new_maximum = max(new_maximum, row_part[c * (QUERIES / 4u) + group]);
    const vec4 shrink = exp(maximum - new_maximum);
    maximum = new_maximum;
    sum *= shrink;
    [[unroll]] for (uint i = 0u; i < 4u; ++i) {
      const vec4 weight = exp(scores[i] - maximum);
      sum += weight;
      p_tile[(4u * column + i) * QUERY_VECS + group] = weight;
    }
    [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
      values[b] *= shrink;
    barrier();
    const uint block_keys = min(KEYS, key_end - s0);
    for (uint s = 0u; s < block_keys; ++s) {
      const vec4 weight = p_tile[s * QUERY_VECS + group];
      [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
        values[b] += weight * load_v(s0 + s, min(b * COLUMNS + column, value_width - 1u));
    }
  }

  row_part[column * (QUERIES / 4u) + group] = sum;  // its last readers have met two barriers since
  barrier();
  vec4 row_sum = vec4(0.0);
  for (uint c = 0u; c < COLUMNS; ++c)
    row_sum += row_part[c * (QUERIES / 4u) + group];
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b) {
    const uint c = b * COLUMNS + column;
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
      const uint t = t0 + 4u * group + j;
      if (c < value_width && t < query_count)
        store_y(t, c, values[b][j] / row_sum[j]);
    }
  }
}
#endif
