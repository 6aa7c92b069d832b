// What changes from token to token, in a buffer, so that a recorded token can be replayed; what conversations that decode together have
// in common; and decode_advance.comp's bindings.
#ifndef VL2_INTERFACE_DECODE_STATE_H
#define VL2_INTERFACE_DECODE_STATE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_STATE_POSITION = 0u;  // tokens in the cache: where the token that runs now goes
VL2_CONST uint DECODE_STATE_TURN = 1u;      // tokens chosen since the host looked: where the next one goes in the ring
VL2_CONST uint DECODE_STATE_WORDS = 2u;
VL2_CONST uint DECODE_STATE_PITCH = 64u;    // words from one conversation's state to the next's: a binding may begin at any of them

VL2_CONST uint DECODE_CONVERSATIONS = 8u;  // of a dispatch, at most: the length of its arrays of caches

VL2_CONST uint DECODE_ADVANCE_TOKEN = 0u, DECODE_ADVANCE_STATE = 1u, DECODE_ADVANCE_RING = 2u;  // bindings

struct DecodeAdvanceParams {
  uint ring_size;
  uint ring_stride;   // elements from one conversation's to the next's
  uint token_stride;
};

VL2_SHARED_END
#endif
