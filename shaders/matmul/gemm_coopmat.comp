// y = activation(x W^T + bias) + residual, or y = silu(gate) * up, by tiles on matrix units: for many rows of x.
//
// Shapes    x [rows, k] f16    weight [columns (gated: 2 columns), k] WEIGHT    bias [columns], residual [rows, columns] f32    y [rows, columns] f16 or f32
// Work      one workgroup a tile of y and a slice of K (slices: y holds one below the other, for add_slices to add); see matmul/gemm_matrix.glsl
// Numbers   products of f16, sums in f32; rounded once, at the store
// Needs     tier 3
// Variants  WEIGHT = f16, BLOCKS
// Source    torch.nn.Linear; gated: DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/matmul.h"
#define X_BINDING MATMUL_X

layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_WEIGHT) readonly buffer Weight { uint weight_words[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer WeightPairs { uvec2 weight_pairs[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
#define VL2_WEIGHT_HALVES
#define SCALES_BINDING MATMUL_SCALES
#include "common/weight.glsl"
#define VL2_STORE_QUADS
#include "matmul/epilogue.glsl"

uint tile_row, tile_column;  // where the tile begins in y
uint x_row, k_first;         // and in x

uint row_x_start(uint row) { return p.x_offset + (x_row + row) * p.x_row_stride + k_first; }
void store_quad(uint row, uint column, uint count, vec4 value) { store_results(tile_row + row, tile_column + column, count, value); }
#define VL2_ADD_AHEAD
#include "matmul/gemm_matrix.glsl"

void main() {
  const uint y_columns = GATED ? TILE_COLUMNS / 2u : TILE_COLUMNS;
  x_row = gl_WorkGroupID.y * TILE_ROWS;
  tile_row = x_row + gl_WorkGroupID.z * p.rows;
  k_first = gl_WorkGroupID.z * p.k_slice;
  tile_column = gl_WorkGroupID.x * y_columns;
  const uint rows = min(TILE_ROWS, p.rows - x_row), columns = min(y_columns, p.columns - tile_column);
  start_tile(rows, tile_column * p.weight_row_stride + k_first, p.weight_row_stride, p.up_offset, columns);
  multiply_tile(rows, columns, min(p.k_slice, p.k - k_first));
}
