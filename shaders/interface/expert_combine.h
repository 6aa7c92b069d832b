// What expert_combine.comp and expert_combine.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_COMBINE_H
#define VL2_INTERFACE_EXPERT_COMBINE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_COMBINE_THREADS = 256u;  // per workgroup, each one element of a row
VL2_CONST uint EXPERT_COMBINE_X = 0u, EXPERT_COMBINE_PAIR_SLOT = 1u, EXPERT_COMBINE_WEIGHTS = 2u, EXPERT_COMBINE_SHARED = 3u,
               EXPERT_COMBINE_RESIDUAL = 4u;  // bindings

struct ExpertCombineParams {
  uint width;
  uint top_k;
  uint x_row_stride;  // elements from one row to the next
  uint shared_row_stride;
  uint residual_row_stride;
  uint x_offset;  // elements from the start of the binding to the first one
  uint pair_slot_offset;
  uint weights_offset;
  uint shared_offset;
  uint residual_offset;
  uint x_is_f32;       // only looked at where ACT is f16
  uint shared_is_f32;  // likewise
  uint has_shared;     // 0: there is none
};

VL2_SHARED_END
#endif
