// Bindings of the expert kernels but for x, the row of x that a slot multiplies, and the store.
#include "interface/expert_matmul.h"

layout(push_constant) uniform Push { ExpertMatmulParams p; };
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer Weight { uint weight_words[]; };
layout(binding = EXPERT_MATMUL_SLOT_PAIR) readonly buffer SlotPair { uint slot_pair[]; };
layout(binding = EXPERT_MATMUL_OFFSETS) readonly buffer Offsets { uint offsets[]; };
#define Y_BINDING EXPERT_MATMUL_Y
#include "matmul/store.glsl"

// The first slot of an expert; of the one past the last: the number of slots.
uint first_slot(uint expert) { return offsets[p.offsets_offset + expert]; }

// Which expert's tile number `tile` is, counted over the experts of this dispatch, tile_rows slots a tile: `tile` becomes the number among the
// expert's own, whose slots are begin .. end - 1. False when there are fewer tiles.
bool find_tile(inout uint tile, uint tile_rows, out uint expert, out uint begin, out uint end) {
  begin = end = 0u;
  for (expert = p.first_expert; expert < p.end_expert; ++expert) {
    begin = first_slot(expert);
    end = first_slot(expert + 1u);
    const uint tiles = (end - begin + tile_rows - 1u) / tile_rows;
    if (tile < tiles)
      return true;
    tile -= tiles;
  }
  return false;
}

uint slot_x_start(uint slot) {
  const uint row = p.row_divisor == 0u ? slot : slot_pair[p.slot_pair_offset + slot] / p.row_divisor;
  return p.x_offset + row * p.x_row_stride;
}

void store_result(uint slot, uint column, float value) {
  store_y(p.y_offset + slot * p.y_row_stride + column, value);
}

#ifdef VL2_STORE_QUADS
// Four columns at once, in as few stores as their alignment allows.
void store_results(uint slot, uint column, uint count, vec4 value) {
  if (!Y_QUADS || count < 4u) {
    [[dont_unroll]] for (uint c = 0u; c < count; ++c)
      store_result(slot, column + c, value[c]);
    return;
  }
  store_y_quad(p.y_offset + slot * p.y_row_stride + column, value);
}
#endif
