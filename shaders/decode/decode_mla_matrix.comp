// One token's attention over the latents, all heads at once on matrix units; what it hands on is merged by decode_mla_values.comp.
//
// Shapes    q [HEAD_TILES * M, DEPTH] f16: rows from `heads` on are anything    cache [capacity, DEPTH] CACHE    state: see decode_state.h
//           parts [heads, SPLITS, LATENT] f16: softmax(q[h] cache^T scale) cache[:, :LATENT] of the keys of a split
//           limits [heads, SPLITS, 2] f32: maximum of score * scale * log2 e, and sum of 2^(that - maximum)
// Work      The heads of a token are the rows of one left operand, so the cache is read once for all of them. A workgroup is a split, of the conversation along z
//           (conversation.glsl): it takes
//           every so manieth block of KEYS keys into shared memory, the next into registers meanwhile. The queries reach the matrices through
//           shared memory too: each row of one is a memory transaction, and subgroups want the same ones. The subgroups share the products of a
//           block: the scores by columns and, in DEPTH_PARTS, by depth, summed in shared memory; the values by columns. ROW_LANES invocations
//           look after a row of scores; the number that a row of values is multiplied by goes through a tile filled with it, as in
//           attention/matrix.glsl. A split is used only when those before it have SPLIT_TILES blocks: merging costs as much as attending.
// Numbers   an 8-bit cache becomes f16 on its way to shared memory; products of f16 summed in f32; softmax in f32; weights, at most 1, and parts rounded to f16: parts are means of cached numbers
// Needs     f16 matrices M x N x K with f32 and with f16 sums; full subgroups of SUBGROUP_SIZE; f16 storage
//           DEPTH a multiple of K and 8; LATENT of N and 8; KEYS of N * (subgroups / DEPTH_PARTS), K and 8 * ROW_LANES
// Variants  CACHE = f16 | q8_0, BATCHED
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward, in its absorbed form
#version 460
#extension GL_GOOGLE_include_directive : require
#pragma use_vulkan_memory_model
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/decode_mla_matrix.h"
#include "decode/conversation.glsl"
#include "common/act_type.glsl"

layout(local_size_x_id = DECODE_MLA_MATRIX_THREADS) in;
layout(constant_id = DECODE_MLA_MATRIX_THREADS) const uint THREADS = 256u;
layout(constant_id = 30) const uint SUBGROUP_SIZE = 32u;
layout(constant_id = DECODE_MLA_MATRIX_M) const uint M = 16u;
layout(constant_id = DECODE_MLA_MATRIX_N) const uint N = 8u;
layout(constant_id = DECODE_MLA_MATRIX_K) const uint K = 16u;
layout(constant_id = DECODE_MLA_MATRIX_HEAD_TILES) const uint HEAD_TILES = 1u;  // of M heads
layout(constant_id = DECODE_MLA_MATRIX_KEYS) const uint KEYS = 32u;
layout(constant_id = DECODE_MLA_MATRIX_DEPTH) const uint DEPTH = 576u;
layout(constant_id = DECODE_MLA_MATRIX_LATENT) const uint LATENT = 512u;
layout(constant_id = DECODE_MLA_MATRIX_SPLITS) const uint SPLITS = 64u;
layout(constant_id = DECODE_MLA_MATRIX_SPLIT_TILES) const uint SPLIT_TILES = 2u;
layout(constant_id = DECODE_MLA_MATRIX_DEPTH_PARTS) const uint DEPTH_PARTS = 2u;  // subgroups that share the depth of a score
layout(constant_id = DECODE_MLA_MATRIX_ROW_LANES) const uint ROW_LANES = 4u;      // of a row of scores

layout(push_constant) uniform Push { DecodeMlaMatrixParams p; };
layout(binding = DECODE_MLA_MATRIX_Q) readonly buffer Q { uvec4 q8[]; };
#ifdef CACHE_q8_0
#define VL2_CODE_HALVES
#include "common/cache_codes.glsl"
layout(binding = DECODE_MLA_MATRIX_CACHE) readonly buffer Cache { uvec2 chunks[]; } caches CACHES;
layout(binding = DECODE_MLA_MATRIX_SCALES) readonly buffer Scales { uint words[]; } scales CACHES;
#else
layout(binding = DECODE_MLA_MATRIX_CACHE) readonly buffer Cache { uvec4 chunks[]; } caches CACHES;
#endif
layout(binding = DECODE_MLA_MATRIX_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_MLA_MATRIX_PARTS) writeonly buffer Parts { uvec4 parts8[]; };
layout(binding = DECODE_MLA_MATRIX_LIMITS) writeonly buffer Limits { float limits[]; };

const uint ROWS = M * HEAD_TILES, SUBGROUPS = THREADS / SUBGROUP_SIZE, KEY_GROUPS = SUBGROUPS / DEPTH_PARTS;
const uint DEPTH8 = DEPTH / 8u, LATENT8 = LATENT / 8u, K8 = K / 8u, N8 = N / 8u;
const uint DEPTH_TILES = DEPTH / K, MY_DEPTH_TILES = (DEPTH_TILES + DEPTH_PARTS - 1u) / DEPTH_PARTS;  // of a subgroup, as all MY_
const uint KEY_TILES = KEYS / N, MY_KEY_TILES = KEY_TILES / KEY_GROUPS;
const uint VALUE_TILES = LATENT / N, MY_VALUE_TILES = (VALUE_TILES + SUBGROUPS - 1u) / SUBGROUPS;
const uint ROW_TURNS = (ROWS * ROW_LANES + THREADS - 1u) / THREADS, LANE_KEYS8 = KEYS / ROW_LANES / 8u;
const uint KEY_LOADS = (KEYS * DEPTH8 + THREADS - 1u) / THREADS, QUERY_LOADS = (ROWS * DEPTH8 + THREADS - 1u) / THREADS;

// Rows of keys, weights and results take an odd number of 16 bytes, so that eight of them, the unit of a matrix load, lie in different banks;
// rows of scores two more than they hold.
const uint KEY_PITCH = DEPTH8 | 1u, WEIGHT_PITCH = (KEYS / 8u) | 1u, SCORE_PITCH = KEYS / 4u + 2u, RESULT_PITCH = LATENT8 | 1u;
const uint KEY_QUADS = (KEYS > ROWS ? KEYS : ROWS) * KEY_PITCH;  // no row of results is longer than one of queries
shared uvec4 tiles[KEY_QUADS];                                   // at the beginning queries, then a block of keys, at the end results
shared uvec4 scores[DEPTH_PARTS * ROWS * SCORE_PITCH];
shared uvec4 weights[ROWS * WEIGHT_PITCH];
shared uvec4 factors[ROWS * N / 4u];  // a tile of the same number in every column
shared float lane_sums[ROWS * ROW_LANES];

#define SumMatrix coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define HalfMatrix coopmat<float16_t, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define LeftMatrix coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define RightMatrix coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>

const float LOWEST = -1.0e30, LOG2_E = 1.44269504;

#ifdef CACHE_q8_0
// Eight elements on their way: codes, and the word with their scale.
struct KeyFetch {
  uvec2 codes;
  uint scale;
};
#define NO_KEY KeyFetch(uvec2(0u), 0u)
#define FETCH_KEY(s, chunk) \
  KeyFetch(OWN(caches).chunks[(s) * DEPTH8 + (chunk)], OWN(scales).words[(s) * CACHE_SCALE_WORDS(DEPTH8) + (chunk) / 8u])
#define FETCHED_KEY(fetched, chunk) scaled_halves(fetched.codes ^ 0x80808080u, 128.0, float16_t(CACHE_SCALE_OF(fetched.scale, chunk)))
#else
#define KeyFetch uvec4
#define NO_KEY uvec4(0u)
#define FETCH_KEY(s, chunk) OWN(caches).chunks[(s) * DEPTH8 + (chunk)]
#define FETCHED_KEY(fetched, chunk) fetched
#endif

KeyFetch next_keys[KEY_LOADS];
uvec4 next_queries[QUERY_LOADS];
LeftMatrix queries[MY_DEPTH_TILES * HEAD_TILES];
SumMatrix values[MY_VALUE_TILES * HEAD_TILES];
float row_maximum[ROW_TURNS], row_sum[ROW_TURNS];  // the sum: of this invocation's keys

// Beyond the last visible key zeros: nothing there may be NaN.
void fetch(uint s0, uint visible) {
  [[unroll]] for (uint i = 0u; i < KEY_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex, s = s0 + at / DEPTH8;
    next_keys[i] = NO_KEY;
    if (at < KEYS * DEPTH8 && s < visible)
      next_keys[i] = FETCH_KEY(s, at % DEPTH8);
  }
}

void put() {
  [[unroll]] for (uint i = 0u; i < KEY_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    if (at < KEYS * DEPTH8)
      tiles[at / DEPTH8 * KEY_PITCH + at % DEPTH8] = FETCHED_KEY(next_keys[i], at % DEPTH8);
  }
}

void fetch_queries() {
  [[unroll]] for (uint i = 0u; i < QUERY_LOADS; ++i)
    next_queries[i] = q8[CONVERSATION * (p.q_stride / 8u) + min(i * THREADS + gl_LocalInvocationIndex, ROWS * DEPTH8 - 1u)];
}

void put_queries() {
  [[unroll]] for (uint i = 0u; i < QUERY_LOADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    if (at < ROWS * DEPTH8)
      tiles[at / DEPTH8 * KEY_PITCH + at % DEPTH8] = next_queries[i];
  }
}

void load_queries() {
  const uint depth_part = gl_SubgroupID % DEPTH_PARTS;
  [[unroll]] for (uint i = 0u; i < MY_DEPTH_TILES; ++i) {
    const uint d = min(i * DEPTH_PARTS + depth_part, DEPTH_TILES - 1u);  // beyond the last: the last again, thrown away below
    [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
      coopMatLoad(queries[i * HEAD_TILES + r], tiles, r * M * KEY_PITCH + d * K8, KEY_PITCH, gl_CooperativeMatrixLayoutRowMajor);
  }
  [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
    if ((MY_DEPTH_TILES - 1u) * DEPTH_PARTS + depth_part >= DEPTH_TILES)
      queries[(MY_DEPTH_TILES - 1u) * HEAD_TILES + r] = LeftMatrix(0.0);
}

// This subgroup's part of the scores of the block to shared memory. Two sums, since one product after the other is latency.
void multiply_keys() {
  const uint depth_part = gl_SubgroupID % DEPTH_PARTS, key_group = gl_SubgroupID / DEPTH_PARTS;
  [[unroll]] for (uint j = 0u; j < MY_KEY_TILES; ++j) {
    const uint key_tile = key_group * MY_KEY_TILES + j;
    SumMatrix sums[2u * HEAD_TILES];
    [[unroll]] for (uint r = 0u; r < 2u * HEAD_TILES; ++r)
      sums[r] = SumMatrix(0.0);
    [[unroll]] for (uint i = 0u; i < MY_DEPTH_TILES; ++i) {
      const uint d = min(i * DEPTH_PARTS + depth_part, DEPTH_TILES - 1u);
      RightMatrix key;
      coopMatLoad(key, tiles, key_tile * N * KEY_PITCH + d * K8, KEY_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
      [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
        sums[i % 2u * HEAD_TILES + r] = coopMatMulAdd(queries[i * HEAD_TILES + r], key, sums[i % 2u * HEAD_TILES + r]);
    }
    [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
      coopMatStore(sums[r] + sums[HEAD_TILES + r], scores, (depth_part * ROWS + r * M) * SCORE_PITCH + key_tile * (N / 4u), SCORE_PITCH,
                   gl_CooperativeMatrixLayoutRowMajor);
  }
}

vec4 score4(uint row, uint c4) {
  vec4 sum = uintBitsToFloat(scores[row * SCORE_PITCH + c4]);
  [[unroll]] for (uint part = 1u; part < DEPTH_PARTS; ++part)
    sum += uintBitsToFloat(scores[(part * ROWS + row) * SCORE_PITCH + c4]);
  return sum;
}

void fill_factor(uint row, uint lane, float factor) {
  for (uint c = lane; c < N / 4u; c += ROW_LANES)
    factors[row * (N / 4u) + c] = uvec4(floatBitsToUint(factor));
}

// Scores to weights. Every invocation of a row finds the row's maximum by itself, which costs less than to exchange parts of it.
void weigh(uint s0, uint visible) {
  const float scale = p.scale * LOG2_E;
  [[unroll]] for (uint turn = 0u; turn < ROW_TURNS; ++turn) {
    const uint at = turn * THREADS + gl_LocalInvocationIndex, row = at / ROW_LANES, lane = at % ROW_LANES;
    if (row < ROWS) {
      const uint count = visible - s0;  // of keys, if fewer than KEYS
      vec4 best = vec4(row_maximum[turn]);  // four chains, each a quarter as long
      [[unroll]] for (uint c4 = 0u; c4 < KEYS / 4u; ++c4) {
        const vec4 score = score4(row, c4) * scale;
        [[unroll]] for (uint e = 0u; e < 4u; ++e)
          best[e] = max(best[e], c4 * 4u + e < count ? score[e] : LOWEST);
      }
      const float maximum = max(max(best.x, best.y), max(best.z, best.w));
      const float shrink = exp2(row_maximum[turn] - maximum);
      row_maximum[turn] = maximum;
      row_sum[turn] *= shrink;
      fill_factor(row, lane, shrink);
      [[unroll]] for (uint i = 0u; i < LANE_KEYS8; ++i) {
        const uint c8 = lane * LANE_KEYS8 + i;
        vec4 low = exp2(score4(row, c8 * 2u) * scale - maximum), high = exp2(score4(row, c8 * 2u + 1u) * scale - maximum);
        [[unroll]] for (uint e = 0u; e < 4u; ++e) {
          low[e] = c8 * 8u + e < count ? low[e] : 0.0;
          high[e] = c8 * 8u + 4u + e < count ? high[e] : 0.0;
        }
        row_sum[turn] += dot(low, vec4(1.0)) + dot(high, vec4(1.0));
        weights[row * WEIGHT_PITCH + c8] =
            uvec4(packHalf2x16(low.xy), packHalf2x16(low.zw), packHalf2x16(high.xy), packHalf2x16(high.zw));
      }
      lane_sums[row * ROW_LANES + lane] = row_sum[turn];
    }
  }
}

void scale_values() {
  [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r) {
    SumMatrix factor;
    coopMatLoad(factor, factors, r * M * (N / 4u), N / 4u, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint i = 0u; i < MY_VALUE_TILES; ++i)
      values[i * HEAD_TILES + r] = values[i * HEAD_TILES + r] * factor;
  }
}

void multiply_values() {
  [[unroll]] for (uint j = 0u; j < KEYS / K; ++j) {
    LeftMatrix left[HEAD_TILES];
    [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
      coopMatLoad(left[r], weights, r * M * WEIGHT_PITCH + j * K8, WEIGHT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint i = 0u; i < MY_VALUE_TILES; ++i) {
      const uint c = min(gl_SubgroupID + i * SUBGROUPS, VALUE_TILES - 1u);  // beyond the last: the last again, not stored
      RightMatrix value;
      coopMatLoad(value, tiles, j * K * KEY_PITCH + c * N8, KEY_PITCH, gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r)
        values[i * HEAD_TILES + r] = coopMatMulAdd(left[r], value, values[i * HEAD_TILES + r]);
    }
  }
}

void store_results(uint split) {
  const uint first_row = CONVERSATION * p.heads;
  [[unroll]] for (uint turn = 0u; turn < ROW_TURNS; ++turn) {
    const uint at = turn * THREADS + gl_LocalInvocationIndex, row = at / ROW_LANES, lane = at % ROW_LANES;
    if (row < ROWS) {
      float sum = 0.0;
      [[unroll]] for (uint i = 0u; i < ROW_LANES; ++i)
        sum += lane_sums[row * ROW_LANES + i];
      fill_factor(row, lane, 1.0 / sum);
      if (lane == 0u && row < p.heads) {
        limits[((first_row + row) * SPLITS + split) * 2u] = row_maximum[turn];
        limits[((first_row + row) * SPLITS + split) * 2u + 1u] = sum;
      }
    }
  }
  barrier();
  scale_values();
  [[unroll]] for (uint i = 0u; i < MY_VALUE_TILES; ++i) {
    const uint c = gl_SubgroupID + i * SUBGROUPS;
    [[unroll]] for (uint r = 0u; r < HEAD_TILES; ++r) {
      HalfMatrix y;
      [[unroll]] for (uint e = 0u; e < y.length(); ++e)
        y[e] = to_act(values[i * HEAD_TILES + r][e]);
      if (c < VALUE_TILES)
        coopMatStore(y, tiles, r * M * RESULT_PITCH + c * N8, RESULT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    }
  }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < p.heads * LATENT8; i += THREADS)
    parts8[((first_row + i / LATENT8) * SPLITS + split) * LATENT8 + i % LATENT8] = tiles[i / LATENT8 * RESULT_PITCH + i % LATENT8];
}

void main() {
  fetch_queries();  // in flight while the position is read, and the keys that depend on it
  const uint split = gl_WorkGroupID.x, visible = STATE_POSITION + 1u, blocks = (visible + KEYS - 1u) / KEYS;
  const uint splits = min((blocks + SPLIT_TILES - 1u) / SPLIT_TILES, SPLITS);
  if (split >= splits)
    return;
  fetch(split * KEYS, visible);
  put_queries();
  barrier();
  load_queries();
  barrier();
  [[unroll]] for (uint i = 0u; i < MY_VALUE_TILES * HEAD_TILES; ++i)
    values[i] = SumMatrix(0.0);
  [[unroll]] for (uint turn = 0u; turn < ROW_TURNS; ++turn) {
    row_maximum[turn] = LOWEST;
    row_sum[turn] = 0.0;
  }
  for (uint block = split; block < blocks; block += splits) {
    put();
    barrier();
    if (block + splits < blocks)
      fetch((block + splits) * KEYS, visible);
    multiply_keys();
    barrier();
    weigh(block * KEYS, visible);
    barrier();
    if (block != split)
      scale_values();
    multiply_values();
    barrier();
  }
  store_results(split);
}
