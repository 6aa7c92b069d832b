// One tile of x W^T by dot products of bytes: the heart of gemm_dot.comp and expert_gemm_dot.comp.
//
// A workgroup makes TILE_ROWS x TILE_COLUMNS results, each invocation ROWS_PER_THREAD x COLUMNS_PER_THREAD of them in registers, a workgroup's
// width apart as in matmul/gemm_tile.glsl. Steps of TILE_K elements of K pass through shared memory as signed bytes, the next one on its way to
// registers while one is multiplied. What is loaded, parked and multiplied at a time is a part: 16 elements of a row, 16 bytes, with one number.
// A block of two parts is summed in integers and then scaled; an invocation holds a block of its columns and takes its rows one by one, so that
// integer sums and rows of x live in a few registers: columns are to be no more than rows.
// Neighbouring invocations load neighbouring parts of a row; in shared memory a part's rows lie side by side, and the parts so far apart that
// eight neighbours park into different banks.
// Sizes are specialisation constants: runtime/tuning.cpp chooses.
//
// The includer has included common/weight.glsl with VL2_WEIGHT_PARTS and interface/gemm.h, and has defined X_CODES_BINDING, X_NUMBERS_BINDING (see
// matmul/quantize_rows.comp) and store_result(row, column, value).
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x_id = 0, local_size_y_id = 1) in;  // invocations along the columns, and along the rows
layout(constant_id = 2) const uint ROWS_PER_THREAD = 4u;
layout(constant_id = 3) const uint COLUMNS_PER_THREAD = 4u;
layout(constant_id = 7) const uint TILE_K = 64u;  // 32, 64 or 128; 4 to 6: as the other kernels have them
layout(binding = X_CODES_BINDING) readonly buffer XCodes { uvec4 x_codes[]; };
layout(binding = X_NUMBERS_BINDING) readonly buffer XNumbers { float x_numbers[]; };

const uint TILE_ROWS = gl_WorkGroupSize.y * ROWS_PER_THREAD;
const uint TILE_COLUMNS = gl_WorkGroupSize.x * COLUMNS_PER_THREAD;
const uint TILE_THREADS = gl_WorkGroupSize.x * gl_WorkGroupSize.y;
const uint PART = 16u, PARTS = TILE_K / PART;
const uint X_PITCH = TILE_ROWS + 8u / PARTS;
const uint WEIGHT_PITCH = TILE_COLUMNS + 8u / PARTS;
const uint X_FETCHES = (TILE_ROWS * PARTS + TILE_THREADS - 1u) / TILE_THREADS;
const uint WEIGHT_FETCHES = (TILE_COLUMNS * PARTS + TILE_THREADS - 1u) / TILE_THREADS;

shared uint tile_x_start[TILE_ROWS];  // the part at which each row of x begins
shared uvec4 x_parts[PARTS * X_PITCH], weight_parts[PARTS * WEIGHT_PITCH];
shared float x_part_numbers[PARTS * X_PITCH], weight_part_numbers[PARTS * WEIGHT_PITCH];

float tile_sums[ROWS_PER_THREAD * COLUMNS_PER_THREAD];
uvec4 x_fetched[X_FETCHES];
float x_fetched_numbers[X_FETCHES];
WeightPart weight_fetched[WEIGHT_FETCHES];

uint tile_row(uint i) { return gl_LocalInvocationID.y + i * gl_WorkGroupSize.y; }
uint tile_column(uint j) { return gl_LocalInvocationID.x + j * gl_WorkGroupSize.x; }

// Of fetch number i: which row (or column) of the tile, and which part of the step.
uvec2 fetched_place(uint i) {
  const uint at = i * TILE_THREADS + gl_LocalInvocationIndex;
  return uvec2(at / PARTS, at % PARTS);
}

// The element of the weight from which fetch number i comes. Beyond the end of K: the last part.
uint weight_index(uint i, uint weight_start, uint weight_row_stride, uint columns, uint k, uint k_count) {
  const uvec2 place = fetched_place(i);
  return weight_start + min(place.x, columns - 1u) * weight_row_stride + min(k + place.y * PART, k_count - PART);
}

void fetch_step(uint weight_start, uint weight_row_stride, uint columns, uint k, uint k_count) {
  [[unroll]] for (uint i = 0u; i < X_FETCHES; ++i) {
    const uvec2 place = fetched_place(i);
    const uint part = tile_x_start[min(place.x, TILE_ROWS - 1u)] + min(k / PART + place.y, k_count / PART - 1u);
    x_fetched[i] = x_codes[part];
    x_fetched_numbers[i] = x_numbers[part];
  }
  [[unroll]] for (uint i = 0u; i < WEIGHT_FETCHES; ++i)
    weight_fetched[i] = fetch_weight_part(weight_index(i, weight_start, weight_row_stride, columns, k, k_count));
}

// x is made zero beyond the end of K: so are the products, whatever the weight is.
void park_step(uint weight_start, uint weight_row_stride, uint columns, uint k, uint k_count) {
  [[unroll]] for (uint i = 0u; i < X_FETCHES; ++i) {
    const uvec2 place = fetched_place(i);
    const bool there = k + place.y * PART < k_count;
    if (place.x < TILE_ROWS) {
      x_parts[place.y * X_PITCH + place.x] = there ? x_fetched[i] : uvec4(0u);
      x_part_numbers[place.y * X_PITCH + place.x] = there ? x_fetched_numbers[i] : 0.0;
    }
  }
  [[unroll]] for (uint i = 0u; i < WEIGHT_FETCHES; ++i) {
    const uvec2 place = fetched_place(i);
    const uint index = weight_index(i, weight_start, weight_row_stride, columns, k, k_count);
    if (place.x < TILE_COLUMNS) {
      weight_parts[place.y * WEIGHT_PITCH + place.x] = part_bytes(weight_fetched[i]);
      weight_part_numbers[place.y * WEIGHT_PITCH + place.x] = part_number(weight_fetched[i], index);
    }
  }
}

void multiply_block(uint block) {
  uvec4 weight_first[COLUMNS_PER_THREAD], weight_second[COLUMNS_PER_THREAD];
  vec2 weight_numbers[COLUMNS_PER_THREAD];
  [[unroll]] for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j) {
    const uint at = 2u * block * WEIGHT_PITCH + tile_column(j);
    weight_first[j] = weight_parts[at];
    weight_second[j] = weight_parts[at + WEIGHT_PITCH];
    weight_numbers[j] = vec2(weight_part_numbers[at], weight_part_numbers[at + WEIGHT_PITCH]);
  }
  [[unroll]] for (uint i = 0u; i < ROWS_PER_THREAD; ++i) {
    const uint at = 2u * block * X_PITCH + tile_row(i);
    const uvec4 first = x_parts[at], second = x_parts[at + X_PITCH];
    const vec2 numbers = vec2(x_part_numbers[at], x_part_numbers[at + X_PITCH]);
    [[unroll]] for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j) {
      const int first_sum = quad_dot_add(weight_first[j], first, 0);
      const int second_sum = quad_dot_add(weight_second[j], second, PARTS_ARE_APART ? 0 : first_sum);
      tile_sums[i * COLUMNS_PER_THREAD + j] += scaled_sum(first_sum, second_sum, weight_numbers[j], numbers);
    }
  }
}

// Fills tile_sums. weight_start: the element at which the tile's first column (a row of the weight) begins. columns: those that exist; the
// ones beyond repeat the last, and their results are not to be stored. tile_x_start is filled for all TILE_ROWS. k_count: a multiple of 32.
void multiply_tile(uint weight_start, uint weight_row_stride, uint columns, uint k_count) {
  [[unroll]] for (uint i = 0u; i < ROWS_PER_THREAD * COLUMNS_PER_THREAD; ++i)
    tile_sums[i] = 0.0;
  barrier();  // tile_x_start
  fetch_step(weight_start, weight_row_stride, columns, 0u, k_count);
  for (uint k = 0u; k < k_count; k += TILE_K) {
    park_step(weight_start, weight_row_stride, columns, k, k_count);
    barrier();
    if (k + TILE_K < k_count)
      fetch_step(weight_start, weight_row_stride, columns, k + TILE_K, k_count);
    [[dont_unroll]] for (uint block = 0u; block < PARTS / 2u; ++block)
      multiply_block(block);
    barrier();
  }
}

// Stores tile_sums as the tile whose first result is at (first_row, first_column), as far as its rows and columns exist.
void store_tile(uint first_row, uint first_column, uint rows, uint columns) {
  [[unroll]] for (uint i = 0u; i < ROWS_PER_THREAD; ++i)
    [[unroll]] for (uint j = 0u; j < COLUMNS_PER_THREAD; ++j)
      if (tile_row(i) < rows && tile_column(j) < columns)
        store_result(first_row + tile_row(i), first_column + tile_column(j), tile_sums[i * COLUMNS_PER_THREAD + j]);
}
