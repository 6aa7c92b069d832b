// Rotates the pairs (a, b) of every head: (a cos - b sin, b cos + a sin).
//
// Shapes    x, y [rows, heads, 2 * half_width] f32 or ACT    table [positions, half_width, 2] f32: cos, sin
// Work      one thread a pair, which it reads whole before it writes: y may be x
// Numbers   f32; cos and sin from the table, made on the host, since a GPU's own may be wrong at large angles
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, apply_rotary_pos_emb. That one also moves the pairs apart (2i -> i, 2i + 1 -> i + half);
//           queries and keys would be permuted alike, so scores are the same without.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/rope.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = ROPE_THREADS) in;
layout(push_constant) uniform Push { RopeParams p; };
layout(binding = ROPE_X) readonly buffer X { act_t x[]; };
layout(binding = ROPE_TABLE) readonly buffer Table { float table[]; };
layout(binding = ROPE_Y) writeonly buffer Y { act_t y[]; };
#ifdef ACT_f16
layout(binding = ROPE_X) readonly buffer X32 { float x_f32[]; };
layout(binding = ROPE_Y) writeonly buffer Y32 { float y_f32[]; };
#endif

float load_x(uint index) {
#ifdef ACT_f16
  if (p.x_is_f32 != 0u)
    return x_f32[index];
#endif
  return float(x[index]);
}

void store_y(uint index, float value) {
#ifdef ACT_f16
  if (p.y_is_f32 != 0u) {
    y_f32[index] = value;
    return;
  }
#endif
  y[index] = to_act(value);
}

void main() {
  const uint index = flat_group() * ROPE_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint pair = index % p.half_width, head = index / p.half_width % p.heads, row = index / p.half_width / p.heads;
  const uint first = p.interleaved != 0u ? 2u * pair : pair;
  const uint step = p.interleaved != 0u ? 1u : p.half_width;
  const uint from = p.x_offset + row * p.x_row_stride + head * p.x_head_stride + first;
  const uint to = p.y_offset + row * p.y_row_stride + head * p.y_head_stride + first;
  const uint angle = p.table_offset + ((p.first_position + row) * p.half_width + pair) * 2u;
  const float cosine = table[angle], sine = table[angle + 1u];
  const float a = load_x(from), b = load_x(from + step);
  store_y(to, a * cosine - b * sine);
  store_y(to + step, b * cosine + a * sine);
}
