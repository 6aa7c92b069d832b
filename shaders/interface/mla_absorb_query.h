// What mla_absorb_query.comp and mla_absorb_query.cpp agree on.
#ifndef VL2_INTERFACE_MLA_ABSORB_QUERY_H
#define VL2_INTERFACE_MLA_ABSORB_QUERY_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint MLA_ABSORB_QUERY_QUADS = 16u;   // a workgroup makes 16 times 4 columns
VL2_CONST uint MLA_ABSORB_QUERY_SLICES = 16u;  // threads that share the sum of one column
VL2_CONST uint MLA_ABSORB_QUERY_THREADS = MLA_ABSORB_QUERY_QUADS * MLA_ABSORB_QUERY_SLICES;
VL2_CONST uint MLA_ABSORB_QUERY_Q = 0u, MLA_ABSORB_QUERY_KV_B = 1u, MLA_ABSORB_QUERY_Y = 2u;  // bindings

struct MlaAbsorbQueryParams {
  uint first_head;  // head of group y = 0: the bound part of kv_b starts there
  uint nope;
  uint rope;
  uint latent;         // columns of kv_b
  uint rows_per_head;  // of kv_b
  uint q_row_stride;   // elements from one row, head to the next
  uint q_head_stride;
  uint q_offset;  // elements from the start of the binding to the first one
  uint kv_b_row_stride;
  uint kv_b_offset;
  uint y_row_stride;
  uint y_head_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
