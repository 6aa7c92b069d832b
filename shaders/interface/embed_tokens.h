// What embed_tokens.comp and embed_tokens.cpp agree on.
#ifndef VL2_INTERFACE_EMBED_TOKENS_H
#define VL2_INTERFACE_EMBED_TOKENS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EMBED_TOKENS_THREADS = 256u;                                          // per workgroup
VL2_CONST uint EMBED_TOKENS_TABLE = 0u, EMBED_TOKENS_IDS = 1u, EMBED_TOKENS_Y = 2u,
               EMBED_TOKENS_SCALES = 3u;  // bindings

struct EmbedTokensParams {
  uint count;  // elements of y
  uint width;
  uint first_id;    // the id of the first row that is bound
  uint id_count;    // rows that are bound
  uint vocabulary;  // rows of the whole table; the dispatch of the first rows writes zeros for ids past it
  uint table_row_stride;
  uint ids_offset;
  uint ids_stride;
  uint y_row_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
