// One tile of x W^T: the heart of gemm_tiled.comp and expert_gemm_tiled.comp.
//
// A workgroup makes TILE_ROWS x TILE_COLUMNS results, each invocation ROWS_PER_THREAD x COLUMNS_PER_THREAD of them in registers. Its rows and
// columns lie a workgroup's width apart, so that neighbours read neighbouring words and store neighbouring results.
// Steps of GEMM_TILE_K elements of K pass through shared memory as f32. CPU drivers, which have no shared memory worth the name and switch between
// all the invocations of a group at a barrier, take matmul/gemm_direct.glsl.
// Sizes are specialisation constants: runtime/tuning.cpp chooses.
//
// The includer has included matmul/x_rows.glsl, common/weight.glsl and interface/gemm.h, and has defined store_result(row, column, value).
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x_id = 0, local_size_y_id = 1) in;  // invocations along the columns, and along the rows
layout(constant_id = 2) const uint ROWS_PER_THREAD = 4u;
layout(constant_id = 3) const uint COLUMNS_PER_THREAD = 4u;
const uint TILE_ROWS = gl_WorkGroupSize.y * ROWS_PER_THREAD;
const uint TILE_COLUMNS = gl_WorkGroupSize.x * COLUMNS_PER_THREAD;
const uint TILE_THREADS = gl_WorkGroupSize.x * gl_WorkGroupSize.y;
const uint X_PITCH = TILE_ROWS + 1u;  // one more than the rows: a step's stores hit different banks
const uint WEIGHT_PITCH = TILE_COLUMNS + 1u;

shared uint tile_x_start[TILE_ROWS];  // the element at which each row of x begins
shared float tile_x[GEMM_TILE_K * X_PITCH];
shared float tile_weight[GEMM_TILE_K * WEIGHT_PITCH];

float tile_sums[ROWS_PER_THREAD * COLUMNS_PER_THREAD];

uint tile_row(uint i) { return gl_LocalInvocationID.y + i * gl_WorkGroupSize.y; }
uint tile_column(uint j) { return gl_LocalInvocationID.x + j * gl_WorkGroupSize.x; }

// Fills tile_sums. weight_start: the element at which the tile's first column (a row of the weight) begins. columns: those that exist; the
// ones beyond repeat the last, and their results are not to be stored. tile_x_start is filled for all TILE_ROWS.
void multiply_tile(uint weight_start, uint weight_row_stride, uint columns, uint k_count) {
  for (uint i = 0u; i < ROWS_PER_THREAD * COLUMNS_PER_THREAD; ++i)
    tile_sums[i] = 0.0;
  barrier();  // tile_x_start
  const uint quads = GEMM_TILE_K / 4u;
  for (uint k = 0u; k < k_count; k += GEMM_TILE_K) {
    for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS * quads; i += TILE_THREADS) {
      const uint row = i / quads, step_k = i % quads * 4u;
      const vec4 value = load_x4(tile_x_start[row], k + step_k, k_count);
      for (uint c = 0u; c < 4u; ++c)
        tile_x[(step_k + c) * X_PITCH + row] = value[c];
    }
    for (uint i = gl_LocalInvocationIndex; i < TILE_COLUMNS * quads; i += TILE_THREADS) {
      const uint column = i / quads, step_k = i % quads * 4u;
      vec4 value = vec4(0.0);
      if (k + step_k < k_count)
        value = load_weight4(weight_start + min(column, columns - 1u) * weight_row_stride + k + step_k);
      for (uint c = 0u; c < 4u; ++c)
        tile_weight[(step_k + c) * WEIGHT_PITCH + column] = value[c];
    }
    barrier();
    for (uint step_k = 0u; step_k < GEMM_TILE_K; ++step_k) {
      float x_values[ROWS_PER_THREAD], weight_values[COLUMNS_PER_THREAD];
      for (uint i = 0u; i < ROWS_PER_THREAD; ++i)
        x_values[i] = tile_x[step_k * X_PITCH + tile_row(i)];
      for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j)
        weight_values[j] = tile_weight[step_k * WEIGHT_PITCH + tile_column(j)];
      for (uint i = 0u; i < ROWS_PER_THREAD; ++i)
        for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j)
          tile_sums[i * COLUMNS_PER_THREAD + j] += x_values[i] * weight_values[j];
    }
    barrier();
  }
}

// Stores tile_sums as the tile whose first result is at (first_row, first_column), as far as its rows and columns exist.
void store_tile(uint first_row, uint first_column, uint rows, uint columns) {
  for (uint i = 0u; i < ROWS_PER_THREAD; ++i)
    for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j)
      if (tile_row(i) < rows && tile_column(j) < columns)
        store_result(first_row + tile_row(i), first_column + tile_column(j), tile_sums[i * COLUMNS_PER_THREAD + j]);
}
