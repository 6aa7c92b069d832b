// What expert_gemm_tiled.comp, expert_gemm_dot.comp, expert_gemm_coopmat.comp, expert_gemv.comp and expert_matmul.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_MATMUL_H
#define VL2_INTERFACE_EXPERT_MATMUL_H
#include "interface/gemm.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_MATMUL_X = 0u, EXPERT_MATMUL_WEIGHT = 1u, EXPERT_MATMUL_SLOT_PAIR = 2u, EXPERT_MATMUL_OFFSETS = 3u,
               EXPERT_MATMUL_Y = 4u, EXPERT_MATMUL_SCALES = 5u, EXPERT_MATMUL_X_NUMBERS = 6u;  // bindings

struct ExpertMatmulParams {
  uint first_expert;  // of this dispatch: the weight binding begins with it
  uint end_expert;    // one past the last
  uint columns;       // N: rows of an expert's weight
  uint k;             // elements a row of x and of the weight
  uint row_divisor;   // top_k: a slot's row of x is its pair's token, slot_pair[slot] / top_k; 0: it is the slot
  uint x_row_stride;  // elements from one row to the next
  uint x_offset;      // elements from the start of the binding to the first row
  uint weight_row_stride;
  uint weight_expert_stride;
  uint y_row_stride;
  uint y_offset;
  uint y_is_f32;  // 1: y is f32 although activations are f16
  uint slot_pair_offset;
  uint offsets_offset;
  uint up_offset;  // expert_gemm_coopmat, gated: elements from a row of the weight that makes gate to the one that makes up
};

VL2_SHARED_END
#endif
