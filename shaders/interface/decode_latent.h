// What decode_latent.comp and decode_attention.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_LATENT_H
#define VL2_INTERFACE_DECODE_LATENT_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_LATENT_THREADS = 256u;
VL2_CONST uint DECODE_LATENT_KV_A = 0u, DECODE_LATENT_NORM = 1u, DECODE_LATENT_ROPE = 2u, DECODE_LATENT_STATE = 3u,
               DECODE_LATENT_CACHE = 4u, DECODE_LATENT_SCALES = 5u;  // bindings; the last of an 8-bit cache
VL2_CONST uint DECODE_LATENT_MAX_WIDTH = 1024u;       // of a row of an 8-bit cache

struct DecodeLatentParams {
  uint latent;
  uint rope;
  float eps;
  uint kv_a_stride;  // elements from one conversation's to the next's
};

VL2_SHARED_END
#endif
