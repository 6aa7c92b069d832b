// The weight matrix of a matmul: exactly one format, chosen by WEIGHT_<format> on the compiler's command line.
//
// Each format declares, for a buffer of 32-bit words named weight_words[]:
//   float load_weight(uint index)    element `index`
//   vec4 load_weight4(uint index)    elements index .. index + 3; index is a multiple of 4
// and, when VL2_WEIGHT_QUADS is defined and the same buffer is also declared as uvec4 weight_quads[], with 16-byte loads where there are so many:
//   void load_weight8(uint index, out vec4 low, out vec4 high)    elements index .. index + 7; index is a multiple of 8
// and, when VL2_WEIGHT_FOURS is defined and the buffer is also declared as uvec2 weight_pairs[] and uvec4 weight_quads[], in as few loads as can be:
//   vec4 load_weight_four(uint index)    as load_weight4
// A format that matrix units multiply, when VL2_WEIGHT_HALVES is defined, gives elements index .. index + 7 as f16, two a word, in two steps, so
// that nothing waits between them; index is a multiple of 8:
//   WeightFetch fetch_weights(uint index)                        the loads
//   uvec4 fetched_halves(WeightFetch fetched, uint index)        the rest
// With VL2_WEIGHT_CHUNKS, instead of all this, for a buffer declared as uvec4 weight_quads[] alone, what a load of 16 bytes brings, unpacked at the
// use, so that many can be in flight in few registers:
//   const uint WEIGHT_CHUNK                                      elements of a chunk: 8, 16 or 32
//   WeightChunk load_weight_chunk(uint chunk)                    numbered from the start of the buffer
//   float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high)    of the eight elements of that number in the chunk
// and with VL2_WEIGHT_CODE_DOTS
//   float weight_code_dot(WeightChunk chunk, XChunk x)           of the chunk with bytes of x; precise, so that every variant of a kernel gives the same
// (plain formats: void unpack_weights(WeightChunk chunk, out vec4 low, out vec4 high), too).
// With VL2_WEIGHT_PARTS, block formats alone, for what is bound at WEIGHT_BINDING, 16 elements from a multiple of 16 on, in two steps; a block of two
// such parts is multiplied by one of x (matmul/quantize_rows.comp) in integers:
//   WeightPart fetch_weight_part(uint index)                     the loads
//   uvec4 part_bytes(WeightPart part)                            the codes as signed bytes
//   float part_number(WeightPart part, uint index)               what scales it: see scaled_sum()
//   const bool PARTS_ARE_APART                                   whether the sums of both parts are scaled apart
//   float scaled_sum(int first, int second, vec2 numbers, vec2 x_numbers)    of a block; where they are not, `second` is the sum of both
// Block formats want SCALES_BINDING, where their plane of scales is bound (runtime/weight_format.h has the layouts).
// Rows are padded to a multiple of 8 elements (zeros) or of a block, so vector loads never straddle rows.
#ifndef VL2_WEIGHT_GLSL
#define VL2_WEIGHT_GLSL
#if defined(WEIGHT_f32)
#include "weights/f32.glsl"
#elif defined(WEIGHT_f16)
#include "weights/f16.glsl"
#elif defined(WEIGHT_bf16)
#include "weights/bf16.glsl"
#elif defined(WEIGHT_q8_0)
#include "weights/q8_0.glsl"
#elif defined(WEIGHT_q4_0)
#include "weights/q4_0.glsl"
#elif defined(WEIGHT_q4_k)
#include "weights/q4_k.glsl"
#elif defined(WEIGHT_q6_k)
#include "weights/q6_k.glsl"
#else
#error "no WEIGHT_<format> given"
#endif
#endif
