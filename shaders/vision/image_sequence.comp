// The sequence of one picture: rows of view 0 with a newline each, the separator, rows of the merged tiles with a newline each.
//
// Shapes    features [1 + tiles, side^2, width] ACT    newline, separator [width] f32    y [rows, width] f32
// Work      one invocation an element of y
// Numbers   copies
// Needs     32-bit words; 16-bit storage for f16
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek_vl_v2.py, prepare_inputs_embeds (tile_tag "2D", global_view_pos "head")
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/image_sequence.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = IMAGE_SEQUENCE_THREADS) in;
layout(push_constant) uniform Push { ImageSequenceParams p; };
layout(binding = IMAGE_SEQUENCE_FEATURES) readonly buffer Features { act_t features[]; };
layout(binding = IMAGE_SEQUENCE_NEWLINE) readonly buffer Newline { float newline[]; };
layout(binding = IMAGE_SEQUENCE_SEPARATOR) readonly buffer Separator { float separator[]; };
layout(binding = IMAGE_SEQUENCE_Y) writeonly buffer Y { float y[]; };

// The element of row `grid_y`, column `grid_x` of `columns` tokens and a newline; views first_view ... lie side by side.
float grid_value(uint first_view, uint grid_y, uint grid_x, uint columns, uint element) {
  if (grid_x == columns)
    return newline[p.newline_offset + element];
  const uint view = first_view + grid_y / p.side * (columns / p.side) + grid_x / p.side;
  const uint token = grid_y % p.side * p.side + grid_x % p.side;
  return float(features[p.features_offset + view * p.view_stride + token * p.row_stride + element]);
}

void main() {
  const uint index = flat_group() * IMAGE_SEQUENCE_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint row = index / p.width, element = index % p.width;
  const uint whole_rows = p.side * (p.side + 1u), columns = p.side * p.tiles_w;
  float value;
  if (row < whole_rows) {
    value = grid_value(0u, row / (p.side + 1u), row % (p.side + 1u), p.side, element);
  } else if (row == whole_rows) {
    value = separator[p.separator_offset + element];
  } else {
    const uint tile_row = row - whole_rows - 1u;
    value = grid_value(1u, tile_row / (columns + 1u), tile_row % (columns + 1u), columns, element);
  }
  y[p.y_offset + row * p.y_row_stride + element] = value;
}
