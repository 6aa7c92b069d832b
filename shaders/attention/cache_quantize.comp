// Rows into the 8-bit cache: of every block of CACHE_BLOCK elements its scale, and each element divided by it.
//
// Shapes    x [rows, segments * width] ACT, rows may be strided    codes [capacity, segments * width] bytes, scales [capacity, segments, words]:
//           see common/cache_codes.glsl; width a multiple of 8
// Work      one invocation a word of scales: two blocks
// Numbers   scale: largest magnitude / 127, rounded to f16; codes rounded to nearest by the rounded scale
// Variants  ACT = f32 | f16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/cache_codes.glsl"
#include "common/flat_grid.glsl"
#include "decode/act_chunk.glsl"

layout(local_size_x = CACHE_ROWS_THREADS) in;
layout(push_constant) uniform Push { CacheQuantizeParams p; };
layout(binding = CACHE_ROWS_X) readonly buffer X { uvec4 x_quads[]; };
layout(binding = CACHE_ROWS_CODES) writeonly buffer Codes { uvec2 codes[]; };
layout(binding = CACHE_ROWS_SCALES) writeonly buffer Scales { uint scales[]; };

const uint BLOCK_CHUNKS = CACHE_BLOCK / 8u;

void main() {
  const uint index = flat_group() * CACHE_ROWS_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint words = CACHE_SCALE_WORDS(p.segment_chunks), word = index % words, segment = index / words;  // the segment of all rows
  const uint row = segment / p.segments, first = word * 2u * BLOCK_CHUNKS, chunks = min(p.segment_chunks - first, 2u * BLOCK_CHUNKS);
  const uint from = p.x_offset8 + row * p.x_row_stride8 + segment % p.segments * p.segment_chunks + first;
  const uint cached_segment = p.first_row * p.segments + segment;
  vec2 pair = vec2(0.0);
  [[unroll]] for (uint block = 0u; block < 2u; ++block) {
    vec4 low[BLOCK_CHUNKS], high[BLOCK_CHUNKS];
    vec4 largest = vec4(0.0);
    [[unroll]] for (uint i = 0u; i < BLOCK_CHUNKS; ++i) {  // beyond the last: the last again
      unpack_acts(LOAD_ACT_CHUNK(x_quads, from + min(block * BLOCK_CHUNKS + i, chunks - 1u)), low[i], high[i]);
      if (block * BLOCK_CHUNKS + i < chunks)
        largest = max(largest, max(abs(low[i]), abs(high[i])));
    }
    pair[block] = cache_scale(max(max(largest.x, largest.y), max(largest.z, largest.w)));
    [[unroll]] for (uint i = 0u; i < BLOCK_CHUNKS; ++i)
      if (block * BLOCK_CHUNKS + i < chunks)
        codes[cached_segment * p.segment_chunks + first + block * BLOCK_CHUNKS + i] = cache_codes(low[i], high[i], pair[block]);
  }
  scales[cached_segment * words + word] = packHalf2x16(pair);
}
