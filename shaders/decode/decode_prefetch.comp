// Reads a piece of a weight beside a level that leaves the memory idle, so that the level that needs it finds it in the cache.
//
// The loads must have a use, or the compiler drops them: all bytes of an invocation fold into a word, which is stored if it is a certain
// one. It hardly ever is, and nobody reads the sink.
//
// Shapes    weight [..] any format, as words    sink [1] u32
// Work      a workgroup DECODE_PREFETCH_THREADS * DECODE_PREFETCH_UNROLL quads of 16 bytes
// Numbers   none
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/decode_prefetch.h"

layout(local_size_x = DECODE_PREFETCH_THREADS) in;
layout(push_constant) uniform Push { DecodePrefetchParams p; };
layout(binding = DECODE_PREFETCH_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_PREFETCH_SINK) writeonly buffer Sink { uint sink[]; };

void main() {
  const uint base = gl_WorkGroupID.x * DECODE_PREFETCH_THREADS * DECODE_PREFETCH_UNROLL + gl_LocalInvocationIndex;
  uvec4 folded = uvec4(0u);
  [[unroll]] for (uint u = 0u; u < DECODE_PREFETCH_UNROLL; ++u)
    folded |= weight_quads[p.first_quad + min(base + u * DECODE_PREFETCH_THREADS, p.quad_count - 1u)];
  const uint word = folded.x | folded.y | folded.z | folded.w;
  if (word == p.nonsense)
    sink[0] = word;
}
