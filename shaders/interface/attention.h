// What attention.comp, attention_row.comp and attention.cpp agree on.
#ifndef VL2_INTERFACE_ATTENTION_H
#define VL2_INTERFACE_ATTENTION_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ATTENTION_Q = 0u, ATTENTION_K = 1u, ATTENTION_V = 2u, ATTENTION_Y = 3u;  // bindings

struct AttentionParams {
  uint query_count;
  uint key_count;
  uint depth;        // elements of a query and of a key
  uint value_width;  // elements of a value
  uint causal;
  uint first_position;
  uint q_batch_stride;  // elements from one batch, row, head to the next
  uint q_row_stride;
  uint q_head_stride;
  uint q_offset;  // elements from the start of the binding to the first one
  uint k_batch_stride;
  uint k_row_stride;
  uint k_head_stride;
  uint k_offset;
  uint v_batch_stride;
  uint v_row_stride;
  uint v_head_stride;
  uint v_offset;
  uint y_batch_stride;
  uint y_row_stride;
  uint y_head_stride;
  uint y_offset;
  float scale;
};

VL2_SHARED_END
#endif
