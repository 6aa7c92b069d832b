// What decode_prefetch.comp and decode_prefetch.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_PREFETCH_H
#define VL2_INTERFACE_DECODE_PREFETCH_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_PREFETCH_WEIGHT = 0u, DECODE_PREFETCH_SINK = 1u;  // bindings
VL2_CONST uint DECODE_PREFETCH_THREADS = 128u;
VL2_CONST uint DECODE_PREFETCH_UNROLL = 8u;  // loads of 16 bytes that an invocation has in flight

struct DecodePrefetchParams {
  uint first_quad;  // of 16 bytes, in the binding
  uint quad_count;
  uint nonsense;    // what the bytes hardly ever fold to
};

VL2_SHARED_END
#endif
