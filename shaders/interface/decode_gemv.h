// What decode_gemv.comp and decode_gemv.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_GEMV_H
#define VL2_INTERFACE_DECODE_GEMV_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_GEMV_X = 0u, DECODE_GEMV_NORM = 1u, DECODE_GEMV_WEIGHT = 2u, DECODE_GEMV_IDS = 3u,
               DECODE_GEMV_EXPERT_WEIGHTS = 4u, DECODE_GEMV_ADDEND = 5u, DECODE_GEMV_Y = 6u, DECODE_GEMV_SCALES = 7u,
               DECODE_GEMV_X_CODES = 8u, DECODE_GEMV_X_SCALES = 9u;  // bindings; the last two of decode_gemv_dot alone

// Constant 7: whose rows of the weight.
VL2_CONST uint DECODE_GEMV_DENSE = 0u;
VL2_CONST uint DECODE_GEMV_EXPERT_ROWS = 1u;  // those of expert ids[gl_WorkGroupID.y]; results times its routing weight
VL2_CONST uint DECODE_GEMV_EXPERT_SUM = 2u;   // K runs over all chosen experts, one after the other
VL2_CONST uint DECODE_GEMV_HEAD_ROWS = 3u;    // those of head gl_WorkGroupID.y, times that head's row of x

struct DecodeGemvParams {
  uint rows;           // results of this dispatch (of an expert): rows of the weight, or pairs of them
  uint first_row;      // where they begin in y
  uint row_chunks;     // chunks (WEIGHT_CHUNK elements) from one row of the weight to the next
  uint pair_rows;      // rows from a gate to its up
  uint expert_chunks;  // chunks from one expert or head to the next
  uint first_chunk;    // of the first row
  uint segment_chunks; // EXPERT_SUM: chunks of K of one expert
  uint expert_count;
  uint y_stride;       // EXPERT_ROWS, HEAD_ROWS: elements of y from one to the next
  uint has_addend;     // y gains it
  uint accumulate;     // y gains the result
  float eps;
  uint tokens;            // each with its own x, ids and y; TOKENS of them a workgroup
  uint x_token_eights;    // 8 elements each, from a token's x to the next's
  uint y_token_stride;    // elements
  uint addend_token_stride;
  uint choices;           // of ids and expert_weights, a token's
};

VL2_SHARED_END
#endif
