// The weight matrix of a matmul: exactly one format, chosen by WEIGHT_<format> on the compiler's command line.
//
// Each format declares, for a buffer of 32-bit words named weight_words[]:
//   float load_weight(uint index)    element `index`
//   vec4 load_weight4(uint index)    elements index .. index + 3; index is a multiple of 4
// and, when VL2_WEIGHT_QUADS is defined and the same buffer is also declared as uvec4 weight_quads[], with 16-byte loads:
//   void load_weight8(uint index, out vec4 low, out vec4 high)    elements index .. index + 7; index is a multiple of 8
// and, when VL2_WEIGHT_FOURS is defined and the buffer is also declared as uvec2 weight_pairs[] and uvec4 weight_quads[], in one load:
//   vec4 load_weight_four(uint index)    as load_weight4
// A format that matrix units multiply, when VL2_WEIGHT_HALVES is defined:
//   uvec4 load_weight_halves(uint index)    elements index .. index + 7 as f16, two a word; index is a multiple of 8
// Rows are padded to a multiple of WEIGHT_ROW_ALIGN elements (zeros), so vector loads never straddle rows.
#ifndef VL2_WEIGHT_GLSL
#define VL2_WEIGHT_GLSL
#if defined(WEIGHT_f32)
#include "weights/f32.glsl"
#elif defined(WEIGHT_f16)
#include "weights/f16.glsl"
#elif defined(WEIGHT_bf16)
#include "weights/bf16.glsl"
#else
#error "no WEIGHT_<format> given"
#endif
#endif
