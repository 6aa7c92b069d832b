// What decode_gemv.comp and decode_gemv_dot.comp share: bindings, where the rows of a workgroup or a subgroup begin, and what becomes of their sums.
//
// The includer has included interface/decode_gemv.h and, with VL2_WEIGHT_CHUNKS, common/weight.glsl, and declares ROWS, CHUNKS and
// TOKENS; the globals are set by start_rows(). Of several tokens, workgroups that read the same rows for others are neighbours, and find them in the
// L2 cache: tokens lie along x and rows along z; of one token, rows lie along x. With experts TOKENS is 1, as each token has its own.
#include "common/activation.glsl"

layout(constant_id = 6) const bool PAIRS = false;  // the first half of ROWS are gates, the second their ups
layout(constant_id = 7) const uint EXPERTS = DECODE_GEMV_DENSE;
layout(constant_id = 10) const bool ONE_TOKEN = false;
#define TOKEN_GROUP (ONE_TOKEN ? 0u : gl_WorkGroupID.x)
#define ROW_GROUP (ONE_TOKEN ? gl_WorkGroupID.x : gl_WorkGroupID.z)
const uint RESULTS = PAIRS ? ROWS / 2u : ROWS;

uint first_result;     // of this dispatch
uint row_start[ROWS];  // chunks
float expert_weight;

uint weight_chunk_of(uint r, uint c) {
  if (EXPERTS != DECODE_GEMV_EXPERT_SUM)
    return row_start[r] + c;
  const uint chosen = c / p.segment_chunks;
  return row_start[r] + min(ids[TOKEN_GROUP * p.choices + chosen], p.expert_count - 1u) * p.expert_chunks + (c - chosen * p.segment_chunks);
}

// The token of row t of this workgroup; beyond the last: the last again, and nothing is stored.
uint token_of(uint t) { return min(TOKEN_GROUP * TOKENS + t, p.tokens - 1u); }

void load_x8(uint t, uint e, out vec4 low, out vec4 high) {
  const uint at = token_of(t) * p.x_token_eights + (EXPERTS == DECODE_GEMV_HEAD_ROWS ? gl_WorkGroupID.y * CHUNKS * WEIGHT_CHUNK / 8u + e : e);
  low = x_quads[2u * at];
  high = x_quads[2u * at + 1u];
}

void load_norm8(uint e, out vec4 low, out vec4 high) {
  low = norm_quads[2u * e];
  high = norm_quads[2u * e + 1u];
}

void start_rows(uint first) {
  first_result = first;
  uint begin = p.first_chunk;
  if (EXPERTS == DECODE_GEMV_EXPERT_ROWS)
    begin += min(ids[TOKEN_GROUP * p.choices + gl_WorkGroupID.y], p.expert_count - 1u) * p.expert_chunks;
  if (EXPERTS == DECODE_GEMV_HEAD_ROWS)
    begin += gl_WorkGroupID.y * p.expert_chunks;
  [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
    const uint row = min(first + r % RESULTS, p.rows - 1u);  // beyond the last: the last again
    row_start[r] = begin + (row + (r >= RESULTS ? p.pair_rows : 0u)) * p.row_chunks;
  }
  expert_weight = EXPERTS == DECODE_GEMV_EXPERT_ROWS ? expert_weights[TOKEN_GROUP * p.choices + gl_WorkGroupID.y] : 1.0;
}

uint place_of(uint t, uint r) {
  const uint row = min(first_result + r, p.rows - 1u);
  const bool many = EXPERTS == DECODE_GEMV_EXPERT_ROWS || EXPERTS == DECODE_GEMV_HEAD_ROWS;
  return token_of(t) * p.y_token_stride + p.first_row + row + (many ? gl_WorkGroupID.y * p.y_stride : 0u);
}

// What row r of token t's results gains: asked for before the weights, so that nothing is waited for between the last sum and the store.
float gain_of(uint t, uint r) {
  float gain = 0.0;
  if (p.has_addend != 0u)
    gain += addend[token_of(t) * p.addend_token_stride + p.first_row + min(first_result + r, p.rows - 1u)];
  if (p.accumulate != 0u)
    gain += y[place_of(t, r)];
  return gain;
}

void store_result(uint t, uint r, float sum, float up_sum, float scale, float gain) {
  if (first_result + r >= p.rows || TOKEN_GROUP * TOKENS + t >= p.tokens)
    return;
  precise float value = sum * scale;
  if (PAIRS)
    value = silu(value) * (up_sum * scale);
  if (EXPERTS == DECODE_GEMV_EXPERT_ROWS)
    value *= expert_weight;
  value += gain;
  y[place_of(t, r)] = value;
}
