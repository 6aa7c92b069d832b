// What router.comp and router.cpp agree on.
#ifndef VL2_INTERFACE_ROUTER_H
#define VL2_INTERFACE_ROUTER_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ROUTER_THREADS = 64u;       // per workgroup; the models have 64 or 72 experts
VL2_CONST uint ROUTER_MAX_EXPERTS = 256u;  // scores of a token in shared memory
VL2_CONST uint ROUTER_MAX_TOP_K = 16u;
VL2_CONST uint ROUTER_LOGITS = 0u, ROUTER_BIAS = 1u, ROUTER_IDS = 2u, ROUTER_WEIGHTS = 3u;  // bindings

struct RouterParams {
  uint expert_count;
  uint top_k;
  uint logits_row_stride;  // elements from one row of logits to the next
  uint logits_offset;      // elements from the start of each binding to the first one
  uint bias_offset;
  uint ids_offset;
  uint weights_offset;
  uint has_bias;   // 0: there is none
  uint sigmoid;    // 0: softmax
  uint normalise;  // divide by the sum of the chosen scores
  float factor;    // routed_scaling_factor
};

VL2_SHARED_END
#endif
