// Attention of a block of queries over all keys they see, by the products that a subgroup computes together (flash attention). For
// prefill and vision.
//
// The including shader declares its buffers, p.scale, and
//   uvec4 load_q8(uint t, uint d8), load_k8(uint s, uint d8), load_v8(uint s, uint c8);  void store_y8(uint t, uint c8, uvec4 values);
// (eight f16 each, d8 and c8 counted in eights) and calls attention_matrix() once from all invocations.
//
// Work      A subgroup owns ROWS = M * ROW_TILES queries and, of them, all: scores, maxima, sums and values; so only the tiles of keys and
//           values are shared by the workgroup, and everything else is ordered inside the subgroup.
//           Queries stay in registers as left operands, values y as f32 sums. Per block of KEYS keys: scores = queries x keys^T;
//           weights = 2^(...) in place; weights x values added to y.
//           Matrices of VK_KHR_cooperative_matrix hide which element an invocation holds and know no rows. What this kernel does about it:
//           - the largest score of a row: elementwise over the tiles of a row, then one tile through memory, an invocation a row;
//           - a number a row back to all elements: the same tile, filled with the number, loaded as a sum (same type, so same elements);
//           - the mask: a tile of its own places, loaded the same way, says which row and column an element is; diagonal and last blocks only;
//           - weights as left operands: as f16 through memory, the only way between two uses. Scores themselves never leave registers.
//           PREFETCH loads the next keys and values into registers while this block is multiplied.
// Numbers   scores, maxima, sums and values f32; weights f16. All in powers of two: weight = 2^(score * scale * log2 e + bias), where the
//           bias of a row makes 2^8 of its largest score, so that weights of 2^-22 of the largest are still normal f16 numbers. It
//           follows the maximum lazily: only when a weight would exceed 2^14 are the row's sums and values scaled down (in f32; by
//           exactly 1 in the other rows) and the bias moved, so most blocks scale nothing. The quotient is the same whatever the bias;
//           and as the factor comes from the biases as rounded, it is so for scores of 1e5 too.
//           Not done: scaling by a diagonal f16 matrix, which rounds y every block.
//           A masked score is MASKED: block 0 holds key 0, which every query sees, so its weight is 0.
// Needs     f16 matrices M x N x K with f32 and with f16 sums; full subgroups of SUBGROUP_SIZE; f16 storage; all rows at multiples of 16 bytes
// Source    Milakov and Gimelshein, "Online normalizer calculation for softmax"; Dao, "FlashAttention-2"
#ifndef VL2_ATTENTION_MATRIX_GLSL
#define VL2_ATTENTION_MATRIX_GLSL
#pragma use_vulkan_memory_model
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/attention_matrix.h"

layout(local_size_x_id = ATTENTION_MATRIX_THREADS) in;
layout(constant_id = ATTENTION_MATRIX_THREADS) const uint THREADS = 32u;
layout(constant_id = 30) const uint SUBGROUP_SIZE = 32u;
layout(constant_id = ATTENTION_MATRIX_M) const uint M = 16u;
layout(constant_id = ATTENTION_MATRIX_N) const uint N = 16u;
layout(constant_id = ATTENTION_MATRIX_K) const uint K = 16u;
layout(constant_id = ATTENTION_MATRIX_ROW_TILES) const uint ROW_TILES = 1u;  // of M queries, a subgroup
layout(constant_id = ATTENTION_MATRIX_KEYS) const uint KEYS = 32u;           // a block; multiple of N and K
layout(constant_id = ATTENTION_MATRIX_DEPTH) const uint DEPTH = 64u;         // of queries and keys; multiple of 8
layout(constant_id = ATTENTION_MATRIX_VALUE_WIDTH) const uint VALUE_WIDTH = 64u;
layout(constant_id = ATTENTION_MATRIX_PREFETCH) const bool PREFETCH = false;

const uint ROWS = M * ROW_TILES, QUERIES = ROWS * (THREADS / SUBGROUP_SIZE);
const uint DEPTH_TILES = (DEPTH + K - 1u) / K, VALUE_TILES = (VALUE_WIDTH + N - 1u) / N, KEY_TILES = KEYS / N;
const uint DEPTH8 = DEPTH / 8u, VALUE8 = VALUE_WIDTH / 8u, K8 = K / 8u, N8 = N / 8u;
// Rows of all tiles in shared memory take an odd number of 16 bytes: eight rows, the unit of a matrix load, lie in different banks.
const uint KEY_PITCH = (DEPTH_TILES * K8) | 1u, VALUE_PITCH = (VALUE_TILES * N8) | 1u;
const uint WEIGHT_PITCH = (KEYS / 8u) | 1u, SCORE_PITCH = N / 4u + 1u;
const uint SCRATCH_PITCH = WEIGHT_PITCH > SCORE_PITCH ? WEIGHT_PITCH : SCORE_PITCH;
const uint VALUE_START = KEYS * KEY_PITCH, PLACE_START = VALUE_START + KEYS * VALUE_PITCH, SCRATCH_START = PLACE_START + M * N / 4u;
const uint SCRATCH = ROWS * SCRATCH_PITCH;  // a subgroup: a tile of f32, then the weights, at the ends queries and y
shared uvec4 tiles[SCRATCH_START + SCRATCH * (THREADS / SUBGROUP_SIZE)];

const uint KEY_LOADS = (KEYS * DEPTH8 + THREADS - 1u) / THREADS, VALUE_LOADS = (KEYS * VALUE8 + THREADS - 1u) / THREADS;
uvec4 next_keys[KEY_LOADS], next_values[VALUE_LOADS];

const uint QUERY_LOADS = (ROWS * K8 + SUBGROUP_SIZE - 1u) / SUBGROUP_SIZE;  // a tile of depth
const uint ROW_LOADS = (ROWS + SUBGROUP_SIZE - 1u) / SUBGROUP_SIZE;         // rows an invocation looks after

const float MASKED = -1.0e30;
const float LOG2_E = 1.44269504;
const float USUAL = 8.0, LARGEST = 14.0;  // log2 of a row's largest weight: when its bias is set, and before it is set anew

#define SumMatrix coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define HalfMatrix coopmat<float16_t, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define LeftMatrix coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define RightMatrix coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>

// The subgroup sees what its invocations wrote to shared memory.
void subgroup_sync() {
  controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// Keys and values s0 .. s0 + KEYS - 1 into registers, zeros from key_end on.
void fetch(uint s0, uint key_end) {
  [[unroll]] for (uint i = 0u; i < KEY_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex, s = s0 + at / DEPTH8;
    next_keys[i] = uvec4(0u);
    if (at < KEYS * DEPTH8 && s < key_end)
      next_keys[i] = load_k8(s, at % DEPTH8);
  }
  [[unroll]] for (uint i = 0u; i < VALUE_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex, s = s0 + at / VALUE8;
    next_values[i] = uvec4(0u);
    if (at < KEYS * VALUE8 && s < key_end)
      next_values[i] = load_v8(s, at % VALUE8);
  }
}

// What fetch() loaded into the tiles.
void put() {
  [[unroll]] for (uint i = 0u; i < KEY_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    if (at < KEYS * DEPTH8)
      tiles[at / DEPTH8 * KEY_PITCH + at % DEPTH8] = next_keys[i];
  }
  [[unroll]] for (uint i = 0u; i < VALUE_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    if (at < KEYS * VALUE8)
      tiles[VALUE_START + at / VALUE8 * VALUE_PITCH + at % VALUE8] = next_values[i];
  }
}

// What no block changes: zeros beyond the widths, and the places of a tile's elements.
void prepare_tiles() {
  const uint key_columns = DEPTH_TILES * K8 - DEPTH8, value_columns = VALUE_TILES * N8 - VALUE8;
  for (uint i = gl_LocalInvocationIndex; i < KEYS * key_columns; i += THREADS)
    tiles[i / key_columns * KEY_PITCH + DEPTH8 + i % key_columns] = uvec4(0u);
  for (uint i = gl_LocalInvocationIndex; i < KEYS * value_columns; i += THREADS)
    tiles[VALUE_START + i / value_columns * VALUE_PITCH + VALUE8 + i % value_columns] = uvec4(0u);
  for (uint i = gl_LocalInvocationIndex; i < M * N / 4u; i += THREADS)
    tiles[PLACE_START + i] = floatBitsToUint(vec4(4u * i) + vec4(0.0, 1.0, 2.0, 3.0));
}

// A row of a tile of f32, and all its elements set to one value.
float row_maximum(uint start) {
  vec4 highest = uintBitsToFloat(tiles[start]);
  [[unroll]] for (uint c = 1u; c < N / 4u; ++c)
    highest = max(highest, uintBitsToFloat(tiles[start + c]));
  return max(max(highest.x, highest.y), max(highest.z, highest.w));
}

float row_total(uint start) {
  vec4 total = uintBitsToFloat(tiles[start]);
  [[unroll]] for (uint c = 1u; c < N / 4u; ++c)
    total += uintBitsToFloat(tiles[start + c]);
  return (total.x + total.y) + (total.z + total.w);
}

void fill_row(uint start, float value) {
  [[unroll]] for (uint c = 0u; c < N / 4u; ++c)
    tiles[start + c] = uvec4(floatBitsToUint(value));
}

// A subgroup beyond the last query, or a block of keys beyond the last of a subgroup's, is computed like the others: that is rare, and so all
// subgroups take the same way but for the scaling of sums. (Where some left the loop early, lavapipe 26.1.6 gave NaN to the others.)
// block: which QUERIES queries. visible(t) = min(key_count, first_visible + t): query t sees keys 0 .. visible(t) - 1; at least one.
void attention_matrix(uint block, uint query_count, uint key_count, uint first_visible) {
  const uint lane = gl_SubgroupInvocationID, scratch = SCRATCH_START + gl_SubgroupID * SCRATCH;
  const uint t0 = block * QUERIES + gl_SubgroupID * ROWS;  // the subgroup's first query
  const uint key_end = min(key_count, first_visible + min(block * QUERIES + QUERIES, query_count) - 1u);
  const uint seen_by_all = min(key_count, first_visible + t0);
  const float scale = p.scale * LOG2_E;

  if (PREFETCH)
    fetch(0u, key_end);
  prepare_tiles();
  uvec4 raw[DEPTH_TILES * QUERY_LOADS];
  [[unroll]] for (uint d = 0u; d < DEPTH_TILES; ++d)
    [[unroll]] for (uint i = 0u; i < QUERY_LOADS; ++i) {
      const uint at = i * SUBGROUP_SIZE + lane, t = t0 + at / K8, d8 = d * K8 + at % K8;
      raw[d * QUERY_LOADS + i] = uvec4(0u);
      if (at < ROWS * K8 && t < query_count && d8 < DEPTH8)
        raw[d * QUERY_LOADS + i] = load_q8(t, d8);
    }
  LeftMatrix queries[DEPTH_TILES * ROW_TILES];
  [[unroll]] for (uint d = 0u; d < DEPTH_TILES; ++d) {
    [[unroll]] for (uint i = 0u; i < QUERY_LOADS; ++i) {
      const uint at = i * SUBGROUP_SIZE + lane;
      if (at < ROWS * K8)
        tiles[scratch + at / K8 * WEIGHT_PITCH + at % K8] = raw[d * QUERY_LOADS + i];
    }
    subgroup_sync();
    [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
      coopMatLoad(queries[d * ROW_TILES + r], tiles, scratch + r * M * WEIGHT_PITCH, WEIGHT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    subgroup_sync();
  }

  SumMatrix values[VALUE_TILES * ROW_TILES], sums[ROW_TILES];
  [[unroll]] for (uint i = 0u; i < VALUE_TILES * ROW_TILES; ++i)
    values[i] = SumMatrix(0.0);
  [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
    sums[r] = SumMatrix(0.0);
  float row_bias[ROW_LOADS];
  [[unroll]] for (uint i = 0u; i < ROW_LOADS; ++i)
    row_bias[i] = -MASKED;

  for (uint s0 = 0u; s0 < key_end; s0 += KEYS) {
    if (!PREFETCH)
      fetch(s0, key_end);
    barrier();  // the tiles may still be read
    put();
    barrier();
    if (PREFETCH)
      fetch(s0 + KEYS, key_end);

    SumMatrix scores[KEY_TILES * ROW_TILES];
    [[unroll]] for (uint i = 0u; i < KEY_TILES * ROW_TILES; ++i)
      scores[i] = SumMatrix(0.0);
    [[unroll]] for (uint d = 0u; d < DEPTH_TILES; ++d)
      [[unroll]] for (uint j = 0u; j < KEY_TILES; ++j) {
        RightMatrix key;
        coopMatLoad(key, tiles, j * N * KEY_PITCH + d * K8, KEY_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
          scores[j * ROW_TILES + r] = coopMatMulAdd(queries[d * ROW_TILES + r], key, scores[j * ROW_TILES + r]);
      }
    if (s0 + KEYS > seen_by_all) {
      SumMatrix place;
      coopMatLoad(place, tiles, PLACE_START, N / 4u, gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint e = 0u; e < place.length(); ++e) {
        const uint row = uint(place[e]) / N, column = uint(place[e]) % N;
        [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r) {
          const uint visible = min(key_count, first_visible + t0 + r * M + row);
          [[unroll]] for (uint j = 0u; j < KEY_TILES; ++j)
            if (s0 + j * N + column >= visible)
              scores[j * ROW_TILES + r][e] = MASKED;
        }
      }
    }

    [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r) {
      SumMatrix highest = scores[r];
      [[unroll]] for (uint j = 1u; j < KEY_TILES; ++j)
        [[unroll]] for (uint e = 0u; e < highest.length(); ++e)
          highest[e] = max(highest[e], scores[j * ROW_TILES + r][e]);
      coopMatStore(highest, tiles, scratch + r * M * SCORE_PITCH, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    }
    subgroup_sync();
    float shrink[ROW_LOADS];
    bool rises = false;
    [[unroll]] for (uint i = 0u; i < ROW_LOADS; ++i) {
      const uint row = i * SUBGROUP_SIZE + lane, start = scratch + row * SCORE_PITCH;
      shrink[i] = 1.0;
      if (row < ROWS) {
        const float highest = row_maximum(start) * scale;
        if (highest + row_bias[i] > LARGEST) {
          const float bias = USUAL - highest;
          shrink[i] = exp2(bias - row_bias[i]);
          row_bias[i] = bias;
          rises = true;
        }
        fill_row(start, row_bias[i]);
      }
    }
    subgroup_sync();
    SumMatrix bias[ROW_TILES];
    [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
      coopMatLoad(bias[r], tiles, scratch + r * M * SCORE_PITCH, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    subgroup_sync();
    if (subgroupOr(rises ? 1u : 0u) != 0u) {
      [[unroll]] for (uint i = 0u; i < ROW_LOADS; ++i)
        if (i * SUBGROUP_SIZE + lane < ROWS)
          fill_row(scratch + (i * SUBGROUP_SIZE + lane) * SCORE_PITCH, shrink[i]);
      subgroup_sync();
      [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r) {
        SumMatrix factor;
        coopMatLoad(factor, tiles, scratch + r * M * SCORE_PITCH, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        sums[r] = sums[r] * factor;
        [[unroll]] for (uint c = 0u; c < VALUE_TILES; ++c)
          values[c * ROW_TILES + r] = values[c * ROW_TILES + r] * factor;
      }
      subgroup_sync();
    }

    [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
      [[unroll]] for (uint j = 0u; j < KEY_TILES; ++j) {
        HalfMatrix weights;
        [[unroll]] for (uint e = 0u; e < weights.length(); ++e) {
          const float weight = exp2(fma(scores[j * ROW_TILES + r][e], scale, bias[r][e]));
          sums[r][e] += weight;
          weights[e] = float16_t(weight);
        }
        coopMatStore(weights, tiles, scratch + r * M * WEIGHT_PITCH + j * N8, WEIGHT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
      }
    subgroup_sync();
    [[unroll]] for (uint j = 0u; j < KEYS / K; ++j) {
      LeftMatrix weights[ROW_TILES];
      [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
        coopMatLoad(weights[r], tiles, scratch + r * M * WEIGHT_PITCH + j * K8, WEIGHT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint c = 0u; c < VALUE_TILES; ++c) {
        RightMatrix value;
        coopMatLoad(value, tiles, VALUE_START + j * K * VALUE_PITCH + c * N8, VALUE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
          values[c * ROW_TILES + r] = coopMatMulAdd(weights[r], value, values[c * ROW_TILES + r]);
      }
    }
  }

  subgroup_sync();
  [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
    coopMatStore(sums[r], tiles, scratch + r * M * SCORE_PITCH, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
  subgroup_sync();
  [[unroll]] for (uint i = 0u; i < ROW_LOADS; ++i) {
    const uint start = scratch + (i * SUBGROUP_SIZE + lane) * SCORE_PITCH;
    if (i * SUBGROUP_SIZE + lane < ROWS)
      fill_row(start, 1.0 / row_total(start));
  }
  subgroup_sync();
  [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
    coopMatLoad(sums[r], tiles, scratch + r * M * SCORE_PITCH, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);

  // Out through the scratch, as many columns at a time as it has.
  [[unroll]] for (uint first = 0u; first < VALUE_TILES; first += KEY_TILES) {
    subgroup_sync();
    [[unroll]] for (uint r = 0u; r < ROW_TILES; ++r)
      [[unroll]] for (uint j = 0u; j < KEY_TILES; ++j)
        if (first + j < VALUE_TILES) {
          HalfMatrix y;
          [[unroll]] for (uint e = 0u; e < y.length(); ++e)
            y[e] = to_act(values[(first + j) * ROW_TILES + r][e] * sums[r][e]);
          coopMatStore(y, tiles, scratch + r * M * WEIGHT_PITCH + j * N8, WEIGHT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        }
    subgroup_sync();
    const uint width8 = min(KEYS / 8u, VALUE8 - first * N8);
    for (uint i = lane; i < ROWS * width8; i += SUBGROUP_SIZE) {
      const uint t = t0 + i / width8, c8 = i % width8;
      if (t < query_count)
        store_y8(t, first * N8 + c8, tiles[scratch + i / width8 * WEIGHT_PITCH + c8]);
    }
  }
}
#endif
