// The end of a token: it goes into the ring that the host reads, and the state moves on to the next.
//
// Shapes    token u32, state [DECODE_STATE_WORDS] u32 and ring [ring_size] u32, of each conversation
// Work      one invocation a conversation
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_state.h"

layout(local_size_x = 1) in;
layout(push_constant) uniform Push { DecodeAdvanceParams p; };
layout(binding = DECODE_ADVANCE_TOKEN) readonly buffer Token { uint token[]; };
layout(binding = DECODE_ADVANCE_STATE) buffer State { uint state[]; };
layout(binding = DECODE_ADVANCE_RING) writeonly buffer Ring { uint ring[]; };

void main() {
  const uint conversation = gl_WorkGroupID.x, at = conversation * DECODE_STATE_PITCH;
  ring[conversation * p.ring_stride + state[at + DECODE_STATE_TURN] % p.ring_size] = token[conversation * p.token_stride];
  state[at + DECODE_STATE_TURN] += 1u;
  state[at + DECODE_STATE_POSITION] += 1u;
}
