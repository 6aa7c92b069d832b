// What mla_attention.comp and mla_attention.cpp agree on.
#ifndef VL2_INTERFACE_MLA_ATTENTION_H
#define VL2_INTERFACE_MLA_ATTENTION_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint MLA_ATTENTION_Q = 0u, MLA_ATTENTION_KV = 1u, MLA_ATTENTION_K_ROPE = 2u, MLA_ATTENTION_Y = 3u;  // bindings

struct MlaAttentionParams {
  uint query_count;
  uint key_count;
  uint nope;  // elements of a query and of a key without position; of kv, the values start after them
  uint rope;  // elements with position
  uint value_width;
  uint first_position;
  uint q_row_stride;  // elements from one row, head to the next
  uint q_head_stride;
  uint q_offset;  // elements from the start of the binding to the first one
  uint kv_row_stride;
  uint kv_head_stride;
  uint kv_offset;
  uint k_rope_row_stride;
  uint k_rope_offset;
  uint y_row_stride;
  uint y_head_stride;
  uint y_offset;
  float scale;
};

VL2_SHARED_END
#endif
