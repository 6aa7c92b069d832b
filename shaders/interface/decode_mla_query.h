// What decode_mla_query.comp and decode_attention.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_MLA_QUERY_H
#define VL2_INTERFACE_DECODE_MLA_QUERY_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_MLA_QUERY_CHUNKS = 8u;   // side by side, of 8 columns each: 128 bytes of a row of a 16-bit weight
VL2_CONST uint DECODE_MLA_QUERY_SLICES = 32u;  // of the rows of the weight
VL2_CONST uint DECODE_MLA_QUERY_THREADS = 256u;
VL2_CONST uint DECODE_MLA_QUERY_Q = 0u, DECODE_MLA_QUERY_KV_B = 1u, DECODE_MLA_QUERY_ROPE = 2u, DECODE_MLA_QUERY_STATE = 3u,
               DECODE_MLA_QUERY_Y = 4u;  // bindings

struct DecodeMlaQueryParams {
  uint nope;
  uint rope;
  uint latent;
  uint rows_per_head;  // of kv_b: nope + value width
  uint row_chunks;     // chunks of 8 elements from one row of kv_b to the next
  uint conversations;  // TOKENS of them a workgroup, the groups of them along z
  uint q_stride;       // elements from one conversation's to the next's
  uint y_stride;
};

VL2_SHARED_END
#endif
