// What mla_expand_value.comp and mla_expand_value.cpp agree on.
#ifndef VL2_INTERFACE_MLA_EXPAND_VALUE_H
#define VL2_INTERFACE_MLA_EXPAND_VALUE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint MLA_EXPAND_VALUE_ROWS = 16u;   // elements of y a workgroup
VL2_CONST uint MLA_EXPAND_VALUE_LANES = 16u;  // threads that share the sum of one
VL2_CONST uint MLA_EXPAND_VALUE_THREADS = MLA_EXPAND_VALUE_ROWS * MLA_EXPAND_VALUE_LANES;
VL2_CONST uint MLA_EXPAND_VALUE_U = 0u, MLA_EXPAND_VALUE_KV_B = 1u, MLA_EXPAND_VALUE_Y = 2u;  // bindings

struct MlaExpandValueParams {
  uint first_head;  // head of group y = 0: the bound part of kv_b starts there
  uint nope;
  uint value_width;
  uint latent;        // columns of kv_b
  uint u_row_stride;  // elements from one row, head to the next
  uint u_head_stride;
  uint u_offset;  // elements from the start of the binding to the first one
  uint kv_b_row_stride;
  uint kv_b_offset;
  uint y_row_stride;
  uint y_head_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
