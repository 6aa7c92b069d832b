// What mla_decode_attention.comp and mla_decode_attention.cpp agree on.
#ifndef VL2_INTERFACE_MLA_DECODE_ATTENTION_H
#define VL2_INTERFACE_MLA_DECODE_ATTENTION_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint MLA_DECODE_ATTENTION_Q = 0u, MLA_DECODE_ATTENTION_CACHE = 1u, MLA_DECODE_ATTENTION_Y = 2u;  // bindings

struct MlaDecodeAttentionParams {
  uint depth;        // elements of a query and of a row of the cache: latent, then rope
  uint value_width;  // elements of the latent
  uint first_position;
  uint q_row_stride;  // elements from one row, head to the next
  uint q_head_stride;
  uint q_offset;  // elements from the start of the binding to the first one
  uint cache_row_stride;
  uint cache_offset;
  uint y_row_stride;
  uint y_head_stride;
  uint y_offset;
  float scale;
};

VL2_SHARED_END
#endif
