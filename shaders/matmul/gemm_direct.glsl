// One tile of x W^T on a CPU driver: the heart of gemm_direct.comp and expert_gemm_direct.comp.
//
// A workgroup is one subgroup, which such a driver runs as one vector. It makes ROW_VECTORS * LANES rows times COLUMN_VECTORS * LANES columns:
// a lane owns a column of each vector of columns and all the rows, and keeps its sums in registers.
//
// What it costs there (llvmpipe of Mesa 25.0.7, read from its code): every load is made lane by lane, each with its mask tested, its bounds
// checked and the buffer's address fetched anew, 20 to 26 instructions a lane for four neighbouring words; the driver does not see that an
// address is the same in all lanes when a loop's counter is part of it. An arithmetic instruction is one for all lanes, and so is a broadcast
// from a lane that is a constant. So each lane loads four elements of a row of x that is its own, and hands them to the others by broadcast:
// a row costs an eighth of what it costs when all lanes load it. Four elements of K a step: with eight the loop outgrows the cache for
// instructions (32 KiB) and takes 1.5 times as long.
//
// The includer has included matmul/x_rows.glsl, common/weight.glsl with VL2_WEIGHT_FOURS and interface/gemm.h, and has defined column_bias()
// and store_biased().
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
layout(local_size_x_id = 0) in;                            // the subgroup's size
layout(constant_id = 1) const uint ROW_VECTORS = 2u;       // rows of a tile / LANES
layout(constant_id = 2) const uint COLUMN_VECTORS = 4u;    // columns of a tile / LANES
const uint LANES = gl_WorkGroupSize.x;
const uint TILE_ROWS = ROW_VECTORS * LANES, TILE_COLUMNS = COLUMN_VECTORS * LANES;

float tile_sums[TILE_ROWS * COLUMN_VECTORS];  // [row][vector of columns]

// Fills tile_sums. x_start: the elements at which rows i * LANES + this lane begin. weight_start: likewise of columns (rows of the weight).
// Rows and columns that do not exist repeat others; their results are not to be stored.
void multiply_tile(uint x_start[ROW_VECTORS], uint weight_start[COLUMN_VECTORS], uint k_count) {
  [[unroll]] for (uint i = 0u; i < TILE_ROWS * COLUMN_VECTORS; ++i)
    tile_sums[i] = 0.0;
  for (uint k = 0u; k < k_count; k += 4u) {
    vec4 weights[COLUMN_VECTORS];
    [[unroll]] for (uint j = 0u; j < COLUMN_VECTORS; ++j)
      weights[j] = load_weight_four(weight_start[j] + k);
    [[unroll]] for (uint i = 0u; i < ROW_VECTORS; ++i) {
      const vec4 own = load_x4(x_start[i], k, k_count);
      [[unroll]] for (uint lane = 0u; lane < LANES; ++lane) {
        const vec4 x_value = vec4(subgroupBroadcast(own.x, lane), subgroupBroadcast(own.y, lane), subgroupBroadcast(own.z, lane),
                                  subgroupBroadcast(own.w, lane));
        [[unroll]] for (uint j = 0u; j < COLUMN_VECTORS; ++j)
          tile_sums[(i * LANES + lane) * COLUMN_VECTORS + j] += dot(x_value, weights[j]);
      }
    }
  }
}

// Stores tile_sums as the tile whose first result is at (first_row, first_column), as far as its rows and columns exist.
void store_tile(uint first_row, uint first_column, uint rows, uint columns) {
  // In a loop: unrolled, the stores are most of what the driver compiles. A loop needs an array that an index can reach, so not the sums
  // themselves, which belong in registers.
  float results[TILE_ROWS * COLUMN_VECTORS];
  [[unroll]] for (uint i = 0u; i < TILE_ROWS * COLUMN_VECTORS; ++i)
    results[i] = tile_sums[i];
  [[dont_unroll]] for (uint j = 0u; j < COLUMN_VECTORS; ++j) {
    const uint column = j * LANES + gl_SubgroupInvocationID;
    if (column >= columns)
      continue;
    const float bias = column_bias(first_column + column);
    [[dont_unroll]] for (uint row = 0u; row < rows; ++row)
      store_biased(first_row + row, first_column + column, results[row * COLUMN_VECTORS + j] + bias);
  }
}
