// What decode_bytes.comp, decode_gemv_dot.comp and decode_bytes.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_BYTES_H
#define VL2_INTERFACE_DECODE_BYTES_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_BYTES_X = 0u, DECODE_BYTES_NORM = 1u, DECODE_BYTES_CODES = 2u, DECODE_BYTES_SCALES = 3u;  // bindings

struct DecodeBytesParams {
  uint x_token_eights;  // 8 elements each, from a token's x to the next's
  float eps;
};

VL2_SHARED_END
#endif
