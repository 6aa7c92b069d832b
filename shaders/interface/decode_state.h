// What changes from token to token, in a buffer, so that a recorded token can be replayed; and decode_advance.comp's bindings.
#ifndef VL2_INTERFACE_DECODE_STATE_H
#define VL2_INTERFACE_DECODE_STATE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_STATE_POSITION = 0u;  // tokens in the cache: where the token that runs now goes
VL2_CONST uint DECODE_STATE_TURN = 1u;      // tokens chosen since the host looked: where the next one goes in the ring
VL2_CONST uint DECODE_STATE_WORDS = 2u;

VL2_CONST uint DECODE_ADVANCE_TOKEN = 0u, DECODE_ADVANCE_STATE = 1u, DECODE_ADVANCE_RING = 2u;  // bindings

struct DecodeAdvanceParams {
  uint ring_size;
};

VL2_SHARED_END
#endif
