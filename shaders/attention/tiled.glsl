// Attention of a block of 64 queries over all keys they see: online softmax over blocks of 64 keys. For many queries.
//
// The including shader declares its buffers, p.scale, and
//   float load_q(uint t, uint d), load_k(uint s, uint d), load_v(uint s, uint c);
//   void store_y(uint t, uint c, float value);
// and calls attention_tiled() once from all invocations.
//
// Work      Thread (g, c) of 8 x 8 owns queries 8g .. 8g+7. Of a block's scores it owns keys 8c .. 8c+7, of the values columns c, c+8, ...
//           Queries and keys pass through shared memory, transposed, 24 elements deep at a time; values are read where they lie.
//           A tile of 8 x 8 a thread, because loads from shared memory are what it waits for: four vec4 for 64 products, where 4 x 4 takes
//           two for 16. On lavapipe (2 views of 729 tokens, 3 heads of 72) that is 147 ms of both cores instead of 230.
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
const uint DEPTH = 24u;  // what 32 KiB of shared memory leave room for
const uint QUERY_VECS = QUERIES / 4u, KEY_VECS = KEYS / 4u;
const uint QUERY_PITCH = QUERY_VECS + 1u, KEY_PITCH = KEY_VECS + 1u;  // one more than needed: other memory banks a row
const float MASKED = -1.0e30;

shared vec4 q_tile[DEPTH * QUERY_PITCH];       // [d][query]
shared vec4 k_tile[DEPTH * KEY_PITCH];         // [d][key]
shared vec4 p_tile[KEYS * QUERY_PITCH];        // [key][query]: exp(score - maximum)
shared vec4 row_part[COLUMNS * QUERY_VECS];    // [thread of a row][query]: maxima, at the end sums

// Elements d0 .. d0 + depth - 1 of the queries from t0 and the keys from s0; zeros beyond the last of each.
void stage_queries_and_keys(uint t0, uint query_count, uint s0, uint key_end, uint d0, uint depth) {
  for (uint i = gl_LocalInvocationIndex; i < QUERIES * DEPTH; i += ATTENTION_TILED_THREADS) {
    const uint d = i % DEPTH, t = i / DEPTH;
    if (d < depth)
      q_tile[d * QUERY_PITCH + t / 4u][t % 4u] = t0 + t < query_count ? load_q(t0 + t, d0 + d) : 0.0;
  }
  for (uint i = gl_LocalInvocationIndex; i < KEYS * DEPTH; i += ATTENTION_TILED_THREADS) {
    const uint d = i % DEPTH, s = i / DEPTH;
    if (d < depth)
      k_tile[d * KEY_PITCH + s / 4u][s % 4u] = s0 + s < key_end ? load_k(s0 + s, d0 + d) : 0.0;
  }
}

// depth: elements of a key. visible(t) = min(key_count, first_visible + t): query t sees keys 0 .. visible(t) - 1; at least one.
void attention_tiled(uint query_count, uint key_count, uint first_visible, uint depth, uint value_width) {
  const uint t0 = gl_WorkGroupID.x * QUERIES;
  const uint group = gl_LocalInvocationIndex / COLUMNS, column = gl_LocalInvocationIndex % COLUMNS;
  const uint last_query = min(t0 + QUERIES, query_count) - 1u;
  const uint key_end = min(key_count, first_visible + last_query);

  vec4 values[VALUE_BLOCKS][2];  // [column][query], as all that follow: two times four queries
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
    values[b] = vec4[2](vec4(0.0), vec4(0.0));
  vec4 maximum[2] = vec4[2](vec4(MASKED), vec4(MASKED));
  vec4 sum[2] = vec4[2](vec4(0.0), vec4(0.0));  // of this thread's keys only

  for (uint s0 = 0u; s0 < key_end; s0 += KEYS) {
    vec4 scores[8][2];  // [key][query]
    [[unroll]] for (uint i = 0u; i < 8u; ++i)
      scores[i] = vec4[2](vec4(0.0), vec4(0.0));
    for (uint d0 = 0u; d0 < depth; d0 += DEPTH) {
      const uint chunk = min(DEPTH, depth - d0);
      barrier();  // the tiles may still be read
      stage_queries_and_keys(t0, query_count, s0, key_end, d0, chunk);
      barrier();
      for (uint d = 0u; d < chunk; ++d) {
        const uint query = d * QUERY_PITCH + 2u * group, key = d * KEY_PITCH + 2u * column;
        const vec4 queries[2] = vec4[2](q_tile[query], q_tile[query + 1u]);
        const vec4 keys[2] = vec4[2](k_tile[key], k_tile[key + 1u]);
        [[unroll]] for (uint i = 0u; i < 8u; ++i)
          [[unroll]] for (uint j = 0u; j < 2u; ++j)
            scores[i][j] += queries[j] * keys[i / 4u][i % 4u];
      }
    }

    vec4 shrink[2];
    [[unroll]] for (uint j = 0u; j < 2u; ++j) {
      vec4 block_maximum = vec4(MASKED);
      const uvec4 visible = uvec4(first_visible + t0 + 8u * group + 4u * j) + uvec4(0u, 1u, 2u, 3u);
      [[unroll]] for (uint i = 0u; i < 8u; ++i) {
        const uint s = s0 + 8u * column + i;
        scores[i][j] = mix(vec4(MASKED), scores[i][j] * p.scale, lessThan(uvec4(s), min(visible, uvec4(key_end))));
        block_maximum = max(block_maximum, scores[i][j]);
      }
      row_part[column * QUERY_VECS + 2u * group + j] = block_maximum;
    }
    barrier();
    [[unroll]] for (uint j = 0u; j < 2u; ++j) {
      vec4 new_maximum = maximum[j];
      for (uint c = 0u; c < COLUMNS; ++c)
        new_maximum = max(new_maximum, row_part[c * QUERY_VECS + 2u * group + j]);
      shrink[j] = exp(maximum[j] - new_maximum);
      maximum[j] = new_maximum;
      sum[j] *= shrink[j];
      [[unroll]] for (uint i = 0u; i < 8u; ++i) {
        const vec4 weight = exp(scores[i][j] - new_maximum);
        sum[j] += weight;
        p_tile[(8u * column + i) * QUERY_PITCH + 2u * group + j] = weight;
      }
      [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
        values[b][j] *= shrink[j];
    }
    barrier();
    const uint block_keys = min(KEYS, key_end - s0);
    for (uint s = 0u; s < block_keys; ++s) {
      const uint weight = s * QUERY_PITCH + 2u * group;
      const vec4 weights[2] = vec4[2](p_tile[weight], p_tile[weight + 1u]);
      [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b) {
        const float value = load_v(s0 + s, min(b * COLUMNS + column, value_width - 1u));
        values[b][0] += weights[0] * value;
        values[b][1] += weights[1] * value;
      }
    }
  }

  [[unroll]] for (uint j = 0u; j < 2u; ++j)
    row_part[column * QUERY_VECS + 2u * group + j] = sum[j];  // its last readers have met a barrier since
  barrier();
  [[unroll]] for (uint j = 0u; j < 2u; ++j) {
    vec4 row_sum = vec4(0.0);
    for (uint c = 0u; c < COLUMNS; ++c)
      row_sum += row_part[c * QUERY_VECS + 2u * group + j];
    [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b)
      values[b][j] /= row_sum;
  }

  // Out through p_tile, a column of all threads at a time: so that neighbours write neighbours, and few stores stand in the code.
  [[unroll]] for (uint b = 0u; b < VALUE_BLOCKS; ++b) {
    if (b % 8u == 0u)
      barrier();
    [[unroll]] for (uint j = 0u; j < 2u; ++j)
      p_tile[(b % 8u * COLUMNS + column) * QUERY_PITCH + 2u * group + j] = values[b][j];
    if (b % 8u == 7u || b + 1u == VALUE_BLOCKS) {
      barrier();
      const uint first = b / 8u * 8u * COLUMNS, width = min((b % 8u + 1u) * COLUMNS, value_width - first);
      for (uint i = gl_LocalInvocationIndex; i < QUERIES * width; i += ATTENTION_TILED_THREADS) {
        const uint t = i / width, c = i % width;
        if (t0 + t < query_count)
          store_y(t0 + t, first + c, p_tile[c * QUERY_PITCH + t / 4u][t % 4u]);
      }
    }
  }
}
#endif
