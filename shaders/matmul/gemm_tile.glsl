// One tile of x W^T: the heart of gemm_tiled.comp and expert_gemm_tiled.comp.
//
// A workgroup makes TILE_ROWS x TILE_COLUMNS results, each invocation ROWS_PER_THREAD x COLUMNS_PER_THREAD of them in registers. Its rows and
// columns lie a workgroup's width apart, so that neighbours read neighbouring words and store neighbouring results.
// Steps of TILE_K elements of K pass through shared memory as f32, the next one on its way to registers while one is multiplied. CPU drivers, which have no shared memory worth the name and switch between all the invocations of a group at a
// barrier, take matmul/gemm_direct.glsl.
// Sizes are specialisation constants: runtime/tuning.cpp chooses.
//
// The includer has included matmul/x_rows.glsl, common/weight.glsl and interface/gemm.h, and has defined store_result(row, column, value).
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x_id = 0, local_size_y_id = 1) in;  // invocations along the columns, and along the rows
layout(constant_id = 2) const uint ROWS_PER_THREAD = 4u;
layout(constant_id = 3) const uint COLUMNS_PER_THREAD = 4u;
layout(constant_id = 7) const uint TILE_K = 16u;  // 4: matmul/x_rows.glsl
const uint TILE_ROWS = gl_WorkGroupSize.y * ROWS_PER_THREAD;
const uint TILE_COLUMNS = gl_WorkGroupSize.x * COLUMNS_PER_THREAD;
const uint TILE_THREADS = gl_WorkGroupSize.x * gl_WorkGroupSize.y;
const uint STEP_QUADS = TILE_K / 4u;
const uint X_PITCH = TILE_ROWS + 1u;  // one more than the rows: a step's stores hit different banks
const uint WEIGHT_PITCH = TILE_COLUMNS + 1u;
const uint WEIGHT_STEP = TILE_K * X_PITCH;  // where the weight's step begins
const uint STEP_SIZE = WEIGHT_STEP + TILE_K * WEIGHT_PITCH;
const uint X_FETCHES = (TILE_ROWS * STEP_QUADS + TILE_THREADS - 1u) / TILE_THREADS;
const uint WEIGHT_FETCHES = (TILE_COLUMNS * STEP_QUADS + TILE_THREADS - 1u) / TILE_THREADS;

shared uint tile_x_start[TILE_ROWS];  // the element at which each row of x begins
shared float tile_memory[STEP_SIZE];  // a step of x, then of the weight

float tile_sums[ROWS_PER_THREAD * COLUMNS_PER_THREAD];
vec4 x_fetched[X_FETCHES], weight_fetched[WEIGHT_FETCHES];

uint tile_row(uint i) { return gl_LocalInvocationID.y + i * gl_WorkGroupSize.y; }
uint tile_column(uint j) { return gl_LocalInvocationID.x + j * gl_WorkGroupSize.x; }

// A step is fetched without a look at what comes, which would be waited for; what lies beyond K's end the weight makes zero when it is parked.
void fetch_step(uint weight_start, uint weight_row_stride, uint columns, uint k, uint k_count) {
  [[unroll]] for (uint i = 0u; i < X_FETCHES; ++i) {
    const uint at = i * TILE_THREADS + gl_LocalInvocationIndex;
    x_fetched[i] = load_x4_or_others(tile_x_start[min(at / STEP_QUADS, TILE_ROWS - 1u)], k + at % STEP_QUADS * 4u, k_count);
  }
  [[unroll]] for (uint i = 0u; i < WEIGHT_FETCHES; ++i) {
    const uint at = i * TILE_THREADS + gl_LocalInvocationIndex;
    const uint column = min(at / STEP_QUADS, columns - 1u);
    weight_fetched[i] = load_weight4(weight_start + column * weight_row_stride + min(k + at % STEP_QUADS * 4u, (k_count - 1u) & ~3u));
  }
}

void park_step(uint k, uint k_count) {
  [[unroll]] for (uint i = 0u; i < X_FETCHES; ++i) {
    const uint at = i * TILE_THREADS + gl_LocalInvocationIndex, row = at / STEP_QUADS, step_k = at % STEP_QUADS * 4u;
    if (row < TILE_ROWS)
      for (uint c = 0u; c < 4u; ++c)
        tile_memory[(step_k + c) * X_PITCH + row] = x_fetched[i][c];
  }
  [[unroll]] for (uint i = 0u; i < WEIGHT_FETCHES; ++i) {
    const uint at = i * TILE_THREADS + gl_LocalInvocationIndex, column = at / STEP_QUADS, step_k = at % STEP_QUADS * 4u;
    if (column < TILE_COLUMNS)
      for (uint c = 0u; c < 4u; ++c)
        tile_memory[WEIGHT_STEP + (step_k + c) * WEIGHT_PITCH + column] = k + step_k + c < k_count ? weight_fetched[i][c] : 0.0;
  }
}

// Fills tile_sums. weight_start: the element at which the tile's first column (a row of the weight) begins. columns: those that exist; the
// ones beyond repeat the last, and their results are not to be stored. tile_x_start is filled for all TILE_ROWS.
void multiply_tile(uint weight_start, uint weight_row_stride, uint columns, uint k_count) {
  for (uint i = 0u; i < ROWS_PER_THREAD * COLUMNS_PER_THREAD; ++i)
    tile_sums[i] = 0.0;
  barrier();  // tile_x_start
  fetch_step(weight_start, weight_row_stride, columns, 0u, k_count);
  for (uint k = 0u; k < k_count; k += TILE_K) {
    park_step(k, k_count);
    barrier();
    if (k + TILE_K < k_count)
      fetch_step(weight_start, weight_row_stride, columns, k + TILE_K, k_count);
    for (uint step_k = 0u; step_k < TILE_K; ++step_k) {
      float x_values[ROWS_PER_THREAD], weight_values[COLUMNS_PER_THREAD];
      for (uint i = 0u; i < ROWS_PER_THREAD; ++i)
        x_values[i] = tile_memory[step_k * X_PITCH + tile_row(i)];
      for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j)
        weight_values[j] = tile_memory[WEIGHT_STEP + step_k * WEIGHT_PITCH + tile_column(j)];
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
