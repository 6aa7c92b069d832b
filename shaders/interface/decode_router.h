// What decode_router.comp and decode_router.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_ROUTER_H
#define VL2_INTERFACE_DECODE_ROUTER_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_ROUTER_MAX_EXPERTS = 256u;
VL2_CONST uint DECODE_ROUTER_MAX_TOP_K = 16u;
VL2_CONST uint DECODE_ROUTER_X = 0u, DECODE_ROUTER_NORM = 1u, DECODE_ROUTER_WEIGHT = 2u, DECODE_ROUTER_BIAS = 3u,
               DECODE_ROUTER_LOGITS = 4u, DECODE_ROUTER_COUNTER = 5u, DECODE_ROUTER_IDS = 6u, DECODE_ROUTER_WEIGHTS = 7u;

struct DecodeRouterParams {
  uint expert_count;
  uint top_k;
  uint row_chunks;  // chunks of 8 elements from one row of the weight to the next
  uint has_bias;
  uint sigmoid;    // 0: softmax
  uint normalise;  // divide by the sum of the chosen scores
  float factor;    // routed_scaling_factor
  float eps;
  uint x_token_eights;  // along z the tokens: 8 elements each, from a token's x to the next's
};

VL2_SHARED_END
#endif
