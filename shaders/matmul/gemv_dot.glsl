// Dot products of a few rows of x with neighbouring rows of the weight by one subgroup: the heart of gemv.comp and expert_gemv.comp.
//
// The subgroup's invocations take turns at chunks of 8 elements of K: 16 bytes of a 16-bit weight a load, neighbours side by side. Each chunk
// of x serves GEMV_COLUMNS_AT_ONCE columns. No shared memory, no barrier.
//
// The includer has included matmul/x_rows.glsl, common/weight.glsl and interface/gemm.h.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint COLUMNS_PER_GROUP = 4u;

float dot_sums[GEMV_X_ROWS * GEMV_COLUMNS_AT_ONCE];

// Fills dot_sums in every invocation of the subgroup: for x row m and column j, at m * GEMV_COLUMNS_AT_ONCE + j.
// x_start: the elements at which the rows of x begin. first_column, columns: columns beyond the last repeat it.
void subgroup_dots(uint x_start[GEMV_X_ROWS], uint weight_start, uint weight_row_stride, uint first_column, uint columns, uint k_count) {
  for (uint i = 0u; i < GEMV_X_ROWS * GEMV_COLUMNS_AT_ONCE; ++i)
    dot_sums[i] = 0.0;
  // Counted rather than read from gl_SubgroupSize, which some drivers report larger than the subgroup that runs.
  const uint lane = subgroupExclusiveAdd(1u), lanes = subgroupAdd(1u);
  uint column_start[GEMV_COLUMNS_AT_ONCE];
  for (uint j = 0u; j < GEMV_COLUMNS_AT_ONCE; ++j)
    column_start[j] = weight_start + min(first_column + j, columns - 1u) * weight_row_stride;
  for (uint k = lane * 8u; k < k_count; k += lanes * 8u) {
    vec4 low[GEMV_COLUMNS_AT_ONCE], high[GEMV_COLUMNS_AT_ONCE];
    for (uint j = 0u; j < GEMV_COLUMNS_AT_ONCE; ++j)
      load_weight8(column_start[j] + k, low[j], high[j]);
    for (uint m = 0u; m < GEMV_X_ROWS; ++m) {
      const vec4 x_low = load_x4(x_start[m], k, k_count), x_high = load_x4(x_start[m], k + 4u, k_count);
      for (uint j = 0u; j < GEMV_COLUMNS_AT_ONCE; ++j)
        dot_sums[m * GEMV_COLUMNS_AT_ONCE + j] += dot(x_low, low[j]) + dot(x_high, high[j]);
    }
  }
  for (uint i = 0u; i < GEMV_X_ROWS * GEMV_COLUMNS_AT_ONCE; ++i)
    dot_sums[i] = subgroupAdd(dot_sums[i]);
}
