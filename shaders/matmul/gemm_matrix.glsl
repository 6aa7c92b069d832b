// One tile of x W^T on matrix units: the heart of gemm_coopmat.comp and expert_gemm_coopmat.comp.
//
// A workgroup makes TILE_ROWS x TILE_COLUMNS results, each of its subgroups SUBGROUP_ROWS x SUBGROUP_COLUMNS of them as matrices of the device's
// shape (MATRIX_M x MATRIX_N, MATRIX_K deep), summed in f32. Steps of TILE_K elements of K pass through shared memory: while the units multiply
// one step, the next is on its way from memory to registers, 16 bytes a load; with two STAGES it is parked beside the step in use, which saves
// one of two barriers. Rows in shared memory are 16 bytes longer than a step, so that the rows of a matrix lie in different banks; and where a
// step is shorter than 128 bytes, neighbouring invocations load rows that lie apart, so that what eight of them park hits every bank once.
// What lies beyond the end of K is the weight's to be zero, and it is made zero on the way to shared memory: looked at right behind the load, it
// would be waited for before the multiplication that should hide it. x repeats its last elements there.
// The row blocks of the subgroups are interleaved: a tile that has a half or a quarter of its rows costs every subgroup as much less.
// With GATED, a subgroup's columns are gate's and then the matching ones of up, and silu(gate) * up is stored: half as many columns.
// Sizes are specialisation constants: runtime/tuning.cpp chooses.
//
// The includer has included common/weight.glsl with VL2_WEIGHT_HALVES (it gives eight elements as f16, whatever they are stored as, on the way
// from registers to shared memory), and has
// defined X_BINDING, row_x_start(tile row) and store_quad(tile row, column of y, columns that exist, four values).
#pragma use_vulkan_memory_model
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#include "common/act_type.glsl"
#include "common/activation.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TILE_ROWS = 128u;
layout(constant_id = 2) const uint TILE_COLUMNS = 128u;
layout(constant_id = 3) const uint SUBGROUP_ROWS = 64u;
layout(constant_id = 4) const uint SUBGROUP_COLUMNS = 32u;
layout(constant_id = 5) const uint TILE_K = 32u;
layout(constant_id = 7) const uint STAGES = 2u;  // 6: matmul/epilogue.glsl
layout(constant_id = 8) const uint MATRIX_M = 16u;
layout(constant_id = 9) const uint MATRIX_N = 16u;
layout(constant_id = 10) const uint MATRIX_K = 16u;
layout(constant_id = 11) const uint X_ALIGNMENT = 1u;  // 8, 4 or 1: what divides the first element, the stride and the width of the rows of x
layout(constant_id = 13) const bool GATED = false;     // 12: Y_QUADS of the includer
layout(constant_id = 14) const bool WHOLE_STEPS = false;  // TILE_K divides k
layout(constant_id = 15) const uint FETCH_PARTS = 1u;  // the products of a step between which the next one's loads are spread
layout(constant_id = 30) const uint SUBGROUP_SIZE = 32u;

const uint TILE_THREADS = gl_WorkGroupSize.x;
const uint CHUNKS = TILE_K / 8u;  // of 8 elements, 16 bytes: what a load brings
const uint ROW_PITCH = CHUNKS + 1u;
const uint STAGE_CHUNKS = (TILE_ROWS + TILE_COLUMNS) * ROW_PITCH;
const uint X_LOADS = TILE_ROWS * CHUNKS / TILE_THREADS;
const uint WEIGHT_LOADS = TILE_COLUMNS * CHUNKS / TILE_THREADS;
const uint ROWS_A_LOAD = TILE_THREADS / CHUNKS;  // that all invocations bring at once
const uint SUBGROUPS_ALONG_COLUMNS = TILE_COLUMNS / SUBGROUP_COLUMNS;
const uint SUBGROUPS_ALONG_ROWS = TILE_ROWS / SUBGROUP_ROWS;
const uint ROW_BLOCKS = SUBGROUP_ROWS / MATRIX_M;
const uint COLUMN_BLOCKS = SUBGROUP_COLUMNS / MATRIX_N;
const uint GATED_COLUMNS = SUBGROUP_COLUMNS / 2u;
const uint STRIP_QUADS = SUBGROUP_COLUMNS / 4u;  // a strip: a subgroup's results of one row block, in f32
const uint STRIP_PITCH = STRIP_QUADS + 1u;
const uint STRIPS_QUADS = SUBGROUPS_ALONG_ROWS * SUBGROUPS_ALONG_COLUMNS * MATRIX_M * STRIP_PITCH;
const uint SHARED_QUADS = STAGES * STAGE_CHUNKS > STRIPS_QUADS ? STAGES * STAGE_CHUNKS : STRIPS_QUADS;

shared uvec4 tile[SHARED_QUADS];  // per stage x, then the weight; behind the last step the strips

layout(binding = X_BINDING) readonly buffer X { float16_t x[]; };
layout(binding = X_BINDING) readonly buffer XPairs { uvec2 x_quads[]; };
layout(binding = X_BINDING) readonly buffer XChunks { uvec4 x_chunks[]; };

// x[start + k .. start + k + 7] as f16 pairs, any of the row's elements for those from k_end on; k is a multiple of 8.
uvec4 load_x8(uint start, uint k, uint k_end) {
  if (X_ALIGNMENT == 8u)
    return x_chunks[(start + (WHOLE_STEPS ? k : min(k, k_end - 8u))) >> 3];
  if (X_ALIGNMENT == 4u)
    return uvec4(x_quads[(start + min(k, k_end - 4u)) >> 2], x_quads[(start + min(k + 4u, k_end - 4u)) >> 2]);
  uvec4 chunk;
  for (uint i = 0u; i < 4u; ++i) {
    const uint at = k + 2u * i;
    chunk[i] = packFloat2x16(f16vec2(x[start + min(at, k_end - 1u)], x[start + min(at + 1u, k_end - 1u)]));
  }
  return chunk;
}

uint x_start[X_LOADS], weight_start[WEIGHT_LOADS];  // the elements where this invocation's rows begin
uvec4 x_fetched[X_LOADS];
WeightFetch weight_fetched[WEIGHT_LOADS];

uint load_row(uint i) {
  uint row = gl_LocalInvocationIndex / CHUNKS;
  if (ROWS_A_LOAD % 8u == 0u && 8u % CHUNKS == 0u) {
    const uint within = row % 8u, together = 8u / CHUNKS;  // rows of the same 128 bytes
    row = row - within + within / together + within % together * CHUNKS;
  }
  return row + i * ROWS_A_LOAD;
}
uint load_chunk() { return gl_LocalInvocationIndex % CHUNKS; }

// Where the weight has elements for those from `k` on: there, or the row's last.
uint existing_k(uint k, uint k_end) { return WHOLE_STEPS ? k : min(k, (k_end - 1u) & ~7u); }

// One of so many parts of the loads of the step that begins at k.
void fetch_part(const uint part, const uint parts, uint k, uint k_end) {
  const uint at = k + 8u * load_chunk();
  [[unroll]] for (uint i = 0u; i < X_LOADS; ++i)
    if (i * parts / X_LOADS == part)
      x_fetched[i] = load_x8(x_start[i], at, k_end);
  const uint weight_at = existing_k(at, k_end);
  [[unroll]] for (uint i = 0u; i < WEIGHT_LOADS; ++i)
    if (i * parts / WEIGHT_LOADS == part)
      weight_fetched[i] = fetch_weights(weight_start[i] + weight_at);
}

// Parks the step that begins at k.
void park_step(uint stage, uint k, uint k_end) {
  const uint at = stage * STAGE_CHUNKS + load_chunk();
  [[unroll]] for (uint i = 0u; i < X_LOADS; ++i)
    tile[at + load_row(i) * ROW_PITCH] = x_fetched[i];
  const bool exists = WHOLE_STEPS || k + 8u * load_chunk() < k_end;
  const uint weight_at = existing_k(k + 8u * load_chunk(), k_end);
  [[unroll]] for (uint i = 0u; i < WEIGHT_LOADS; ++i)
    tile[at + (TILE_ROWS + load_row(i)) * ROW_PITCH] = exists ? fetched_halves(weight_fetched[i], weight_start[i] + weight_at) : uvec4(0u);
}

vec4 strip_quad(uint at) { return uintBitsToFloat(tile[at]); }

// Fills x_start and weight_start. first_weight: the element at which the tile's first column begins; up_offset: from a gate row to its up row;
// columns: those of y that exist in this tile. Rows and columns beyond the last repeat it; their results are not stored.
void start_tile(uint rows, uint first_weight, uint weight_row_stride, uint up_offset, uint columns) {
  [[unroll]] for (uint i = 0u; i < X_LOADS; ++i)
    x_start[i] = row_x_start(min(load_row(i), rows - 1u));
  [[unroll]] for (uint i = 0u; i < WEIGHT_LOADS; ++i) {
    const uint column = load_row(i);
    if (GATED) {
      const uint within = column % SUBGROUP_COLUMNS;
      const uint y_column = column / SUBGROUP_COLUMNS * GATED_COLUMNS + within % GATED_COLUMNS;
      weight_start[i] = first_weight + min(y_column, columns - 1u) * weight_row_stride + (within < GATED_COLUMNS ? 0u : up_offset);
    } else {
      weight_start[i] = first_weight + min(column, columns - 1u) * weight_row_stride;
    }
  }
}

coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sums[ROW_BLOCKS * COLUMN_BLOCKS];

uint subgroup_row() { return gl_SubgroupID / SUBGROUPS_ALONG_COLUMNS; }
uint subgroup_column() { return gl_SubgroupID % SUBGROUPS_ALONG_COLUMNS; }

// Sums of the tile's first row_blocks * SUBGROUPS_ALONG_ROWS * MATRIX_M rows; row_blocks is a constant.
void multiply_blocks(const uint row_blocks, uint k_count) {
  const uint parts = min(FETCH_PARTS, CHUNKS / (MATRIX_K / 8u));
  fetch_part(0u, 1u, 0u, k_count);
  park_step(0u, 0u, k_count);
  uint stage = 0u;
  [[dont_unroll]] for (uint k = 0u; k < k_count; k += TILE_K) {
    barrier();
    const bool more = k + TILE_K < k_count;
    const uint next = more ? k + TILE_K : k;  // behind the last step that step once more: a branch would part the products
    if (parts == 1u)
      fetch_part(0u, 1u, next, k_count);
    const uint x_tile = stage * STAGE_CHUNKS + subgroup_row() * MATRIX_M * ROW_PITCH;
    const uint weight_tile = stage * STAGE_CHUNKS + (TILE_ROWS + subgroup_column() * SUBGROUP_COLUMNS) * ROW_PITCH;
    [[unroll]] for (uint step_k = 0u; step_k < CHUNKS; step_k += MATRIX_K / 8u) {
      coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> x_blocks[ROW_BLOCKS];
      [[unroll]] for (uint i = 0u; i < row_blocks; ++i)
        coopMatLoad(x_blocks[i], tile, x_tile + i * SUBGROUPS_ALONG_ROWS * MATRIX_M * ROW_PITCH + step_k, ROW_PITCH,
                    gl_CooperativeMatrixLayoutRowMajor);
      if (parts > 1u && step_k / (MATRIX_K / 8u) < parts)
        fetch_part(step_k / (MATRIX_K / 8u), parts, next, k_count);
      [[unroll]] for (uint j = 0u; j < COLUMN_BLOCKS; ++j) {
        coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> weight_block;
        coopMatLoad(weight_block, tile, weight_tile + j * MATRIX_N * ROW_PITCH + step_k, ROW_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint i = 0u; i < row_blocks; ++i)
          sums[i * COLUMN_BLOCKS + j] = coopMatMulAdd(x_blocks[i], weight_block, sums[i * COLUMN_BLOCKS + j]);
      }
    }
    if (STAGES == 1u)
      barrier();
    else
      stage ^= 1u;
    if (more)
      park_step(stage, k + TILE_K, k_count);
  }
}

#ifdef VL2_ADD_AHEAD
// A subgroup's loads of the residual before it adds the first: one by one, each waits for memory. H200: x 1152 x 1152 182 to 236 TFLOP/s.
const uint ADD_QUADS = 4u;
const bool ADDS_AHEAD = ACTIVATION == 0u && Y_QUADS && !GATED && MATRIX_M * STRIP_QUADS % (ADD_QUADS * SUBGROUP_SIZE) == 0u;
#endif

void store_tile(uint rows, uint columns) {
  barrier();  // the strips overwrite the last step
  const uint strip = gl_SubgroupID * MATRIX_M * STRIP_PITCH;
  const uint quads = GATED ? STRIP_QUADS / 2u : STRIP_QUADS;  // of y, a row
  const uint first_column = subgroup_column() * quads * 4u;
  [[unroll]] for (uint i = 0u; i < ROW_BLOCKS; ++i) {
    const uint first_row = (i * SUBGROUPS_ALONG_ROWS + subgroup_row()) * MATRIX_M;
    if (first_row < rows) {  // the whole subgroup
      [[unroll]] for (uint j = 0u; j < COLUMN_BLOCKS; ++j)
        coopMatStore(sums[i * COLUMN_BLOCKS + j], tile, strip + j * MATRIX_N / 4u, STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
      subgroupBarrier();
#ifdef VL2_ADD_AHEAD
      if (ADDS_AHEAD && p.has_residual != 0u && p.y_is_f32 != 0u && first_row + MATRIX_M <= rows && first_column + SUBGROUP_COLUMNS <= columns) {
        const uint y_row = tile_row + first_row, y_column = p.first_column + tile_column + first_column;
        [[dont_unroll]] for (uint first = gl_SubgroupInvocationID; first < MATRIX_M * STRIP_QUADS; first += ADD_QUADS * SUBGROUP_SIZE) {
          vec4 added[ADD_QUADS];
          [[unroll]] for (uint u = 0u; u < ADD_QUADS; ++u) {
            const uint at = first + u * SUBGROUP_SIZE, row = y_row + at / STRIP_QUADS, column = y_column + at % STRIP_QUADS * 4u;
            added[u] = residual_quads[(p.residual_offset + row * p.residual_row_stride + column) >> 2];
          }
          if (p.has_bias != 0u)
            [[unroll]] for (uint u = 0u; u < ADD_QUADS; ++u) {
              const uint from = p.bias_offset + y_column + (first + u * SUBGROUP_SIZE) % STRIP_QUADS * 4u;
              added[u] += vec4(bias[from], bias[from + 1u], bias[from + 2u], bias[from + 3u]);
            }
          [[unroll]] for (uint u = 0u; u < ADD_QUADS; ++u) {
            const uint at = first + u * SUBGROUP_SIZE, row = y_row + at / STRIP_QUADS, column = y_column + at % STRIP_QUADS * 4u;
            y_f32_quads[(p.y_offset + row * p.y_row_stride + column) >> 2] =
                strip_quad(strip + at / STRIP_QUADS * STRIP_PITCH + at % STRIP_QUADS) + added[u];
          }
        }
        subgroupBarrier();
        continue;
      }
#endif
      [[dont_unroll]] for (uint at = gl_SubgroupInvocationID; at < MATRIX_M * quads; at += SUBGROUP_SIZE) {
        const uint row = at / quads, quad = at % quads, column = first_column + quad * 4u;
        vec4 value = strip_quad(strip + row * STRIP_PITCH + quad);
        if (GATED) {
          const vec4 up = strip_quad(strip + row * STRIP_PITCH + quad + quads);
          value = vec4(silu(value.x), silu(value.y), silu(value.z), silu(value.w)) * up;
        }
        if (first_row + row < rows && column < columns)
          store_quad(first_row + row, column, min(columns - column, 4u), value);
      }
      subgroupBarrier();
    }
  }
}

// Multiplies as few row blocks as the rows need (all, a half or a quarter), and stores the tile.
void multiply_tile(uint rows, uint columns, uint k_count) {
  [[unroll]] for (uint i = 0u; i < ROW_BLOCKS * COLUMN_BLOCKS; ++i)
    sums[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);
  if (ROW_BLOCKS % 4u == 0u && rows * 4u <= TILE_ROWS)
    multiply_blocks(ROW_BLOCKS / 4u, k_count);
  else if (ROW_BLOCKS % 2u == 0u && rows * 2u <= TILE_ROWS)
    multiply_blocks(ROW_BLOCKS / 2u, k_count);
  else
    multiply_blocks(ROW_BLOCKS, k_count);
  store_tile(rows, columns);
}
