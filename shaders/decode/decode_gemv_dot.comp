// decode_gemv.comp for weights in blocks, by dot products of bytes: x is rounded to signed bytes with a scale for every 32 elements.
//
// Shapes    as decode_gemv.comp; a multiple of 32 elements of K. X_BYTES: x_codes and x_scales as decode_bytes.comp stores them, instead of x and norm
// Work      one workgroup SETS sets of ROWS rows of the weight, which its subgroups share out; a subgroup's invocations share K. Unless X_BYTES
//           says that they are made, each workgroup makes the bytes of all of x (of TOKENS tokens) first, while its first weights are on their way;
//           codes as floats, four instructions an element, take longer than the weights (H200, 580.159: experts gate_up of Small in Q4_0 31 us, 10 here)
// Numbers   products of bytes summed in integers over 32 elements (Q6_K: 16), in f32 beyond, in an order fixed by the sizes. x loses what 8 bits
//           lose: 0.4 % of the largest of 32, at random
// Needs     integer dot products; subgroup arithmetic and clusters; workgroups of a multiple of 4 invocations
// Variants  WEIGHT = BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm, DeepseekV2MLP, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "decode/gemv_bindings.glsl"
layout(binding = DECODE_GEMV_X_CODES) readonly buffer XCodes { uvec4 given_codes[]; };
layout(binding = DECODE_GEMV_X_SCALES) readonly buffer XScales { vec2 given_scales[]; };
#include "decode/x_bytes.glsl"
#define VL2_WEIGHT_CHUNKS
#define VL2_WEIGHT_CODE_DOTS
#include "common/weight.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 4u;
layout(constant_id = 2) const uint UNROLL = 2u;  // chunks of K that are in flight a row
layout(constant_id = 3) const uint SETS = 8u;
layout(constant_id = 4) const uint CHUNKS = 1u;  // of WEIGHT_CHUNK elements of K
layout(constant_id = 5) const bool NORM = false;
layout(constant_id = 8) const uint TOKENS = 1u;  // rows of x, for each weight that is loaded
layout(constant_id = 9) const bool X_BYTES = false;  // are given
#include "decode/gemv_rows.glsl"

const uint ALL_RESULTS = TOKENS * RESULTS;
const uint BLOCKS = CHUNKS * WEIGHT_CHUNK / 32u;
const uint BLOCK_PITCH = BLOCKS + 1u;
const uint MAX_SUBGROUPS = 64u;
const uint STAGED = X_BYTES ? 0u : TOKENS;
shared uvec4 x_codes[STAGED * 2u * BLOCK_PITCH + 1u];  // of each token the first 16 elements of all blocks, then the second
shared vec2 x_scales[STAGED * BLOCKS + 1u];            // scale, and scale times the sum of the codes
shared float subgroup_squares[STAGED * MAX_SUBGROUPS + 1u];

// Four invocations a block. All invocations stay until the last block, since they reduce together.
void stage_token(uint t) {
  float square = 0.0;
  for (uint first = 0u; first < 4u * BLOCKS; first += gl_WorkGroupSize.x) {
    const uint e = first + gl_LocalInvocationIndex, block = e / 4u, part = e % 4u;
    vec4 low, high;
    load_x8(t, min(e, 4u * BLOCKS - 1u), low, high);
    if (NORM) {
      vec4 norm_low, norm_high;
      load_norm8(min(e, 4u * BLOCKS - 1u), norm_low, norm_high);
      square += e < 4u * BLOCKS ? square_of(low, high) : 0.0;
      low *= norm_low;
      high *= norm_high;
    }
    const XBytes bytes = x_bytes(low, high);
    if (e >= 4u * BLOCKS)
      continue;
    const uint at = (2u * t + part / 2u) * BLOCK_PITCH + block;
    if (part % 2u == 0u)
      x_codes[at].xy = bytes.words;
    else
      x_codes[at].zw = bytes.words;
    if (part == 0u)
      x_scales[t * BLOCKS + block] = bytes.scales;
  }
  if (NORM) {
    square = subgroupAdd(square);
    if (subgroupElect())
      subgroup_squares[t * MAX_SUBGROUPS + gl_SubgroupID] = square;
  }
}

void stage_x() {
  for (uint t = 0u; t < TOKENS; ++t)
    stage_token(t);
  barrier();
}

uint x_rows[TOKENS];  // X_BYTES: the tokens' places among those whose bytes are given

XChunk x_chunk(uint t, uint chunk) {
  const uint block = chunk * WEIGHT_CHUNK / 32u;
  const uint codes = (X_BYTES ? 2u * x_rows[t] * BLOCKS : 2u * t * BLOCK_PITCH) + block, second = X_BYTES ? BLOCKS : BLOCK_PITCH;
  const vec2 scale = X_BYTES ? given_scales[x_rows[t] * (BLOCKS + 1u) + block] : x_scales[t * BLOCKS + block];
  if (WEIGHT_CHUNK == 16u) {
    const uint at = codes + (chunk & 1u) * second;
    return XChunk(X_BYTES ? given_codes[at] : x_codes[at], uvec4(0u), scale.x, scale.y);
  }
  return XChunk(X_BYTES ? given_codes[codes] : x_codes[codes], X_BYTES ? given_codes[codes + second] : x_codes[codes + second], scale.x, scale.y);
}

// What the sums of row t are multiplied by.
float x_scale(uint t) {
  if (X_BYTES)
    return given_scales[x_rows[t] * (BLOCKS + 1u) + BLOCKS].x;
  if (!NORM)
    return 1.0;
  float square = 0.0;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    square += subgroup_squares[t * MAX_SUBGROUPS + i];
  return rms_scale(square, 32u * BLOCKS, p.eps);
}

WeightChunk chunks[UNROLL * ROWS];

// Those of K from `base` on; beyond the end the last again, which is not counted.
void fetch_chunks(uint base, uint lane, uint lanes) {
  [[unroll]] for (uint u = 0u; u < UNROLL; ++u)
    [[unroll]] for (uint r = 0u; r < ROWS; ++r)
      chunks[u * ROWS + r] = load_weight_chunk(weight_chunk_of(r, min(base + u * lanes + lane, CHUNKS - 1u)));
}

void main() {
  const uint lane = subgroupExclusiveAdd(1u), lanes = subgroupAdd(1u);  // counted: see matmul/gemv_dot.glsl
  const uint results = (p.rows + RESULTS - 1u) / RESULTS;               // sets
  uint set = gl_SubgroupID;
  start_rows((ROW_GROUP * SETS + set) * RESULTS);
  fetch_chunks(0u, lane, lanes);
  if (X_BYTES) {
    [[unroll]] for (uint t = 0u; t < TOKENS; ++t)
      x_rows[t] = token_of(t);
  } else {
    stage_x();
  }
  float scales[TOKENS];
  [[unroll]] for (uint t = 0u; t < TOKENS; ++t)
    scales[t] = x_scale(t);
  for (; set < SETS && ROW_GROUP * SETS + set < results; set += gl_NumSubgroups) {
    if (set >= gl_NumSubgroups)
      start_rows((ROW_GROUP * SETS + set) * RESULTS);
    const float gain = gain_of(min(lane, ALL_RESULTS - 1u) / RESULTS, min(lane, ALL_RESULTS - 1u) % RESULTS);
    float sums[TOKENS * ROWS];
    [[unroll]] for (uint i = 0u; i < TOKENS * ROWS; ++i)
      sums[i] = 0.0;
    for (uint base = 0u; base < CHUNKS; base += lanes * UNROLL) {
      if (base != 0u || set >= gl_NumSubgroups)
        fetch_chunks(base, lane, lanes);
      [[unroll]] for (uint u = 0u; u < UNROLL; ++u) {
        const uint c = base + u * lanes + lane;
        [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
          const XChunk x = x_chunk(t, min(c, CHUNKS - 1u));
          [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            // Precise: a driver that fuses products and sums here does so in one variant and not in the other.
            precise const float part = weight_code_dot(chunks[u * ROWS + r], x);
            precise const float sum = sums[t * ROWS + r] + (c < CHUNKS ? part : 0.0);
            sums[t * ROWS + r] = sum;
          }
        }
      }
    }
    [[unroll]] for (uint i = 0u; i < TOKENS * ROWS; ++i)
      sums[i] = subgroupAdd(sums[i]);
    // An invocation a result; a subgroup may have fewer.
    for (uint first = 0u; first < ALL_RESULTS; first += lanes) {
      const uint own = first + lane;
      float sum = 0.0, up_sum = 0.0, scale = 1.0;
      [[unroll]] for (uint i = 0u; i < ALL_RESULTS; ++i) {
        const uint at = i / RESULTS * ROWS + i % RESULTS;
        sum = own == i ? sums[at] : sum;
        if (PAIRS)
          up_sum = own == i ? sums[at + RESULTS] : up_sum;
        scale = own == i ? scales[i / RESULTS] : scale;
      }
      if (own < ALL_RESULTS)
        store_result(own / RESULTS, own % RESULTS, sum, up_sum, scale, first == 0u ? gain : gain_of(own / RESULTS, own % RESULTS));
    }
  }
}
