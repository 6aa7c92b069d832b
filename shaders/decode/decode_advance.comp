// The end of a token: it goes into the ring that the host reads, and the state moves on to the next.
//
// Shapes    token [1] u32    state [DECODE_STATE_WORDS] u32    ring [ring_size] u32
// Work      one invocation
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_state.h"

layout(local_size_x = 1) in;
layout(push_constant) uniform Push { DecodeAdvanceParams p; };
layout(binding = DECODE_ADVANCE_TOKEN) readonly buffer Token { uint token[]; };
layout(binding = DECODE_ADVANCE_STATE) buffer State { uint state[]; };
layout(binding = DECODE_ADVANCE_RING) writeonly buffer Ring { uint ring[]; };

void main() {
  ring[state[DECODE_STATE_TURN] % p.ring_size] = token[0];
  state[DECODE_STATE_TURN] += 1u;
  state[DECODE_STATE_POSITION] += 1u;
}
