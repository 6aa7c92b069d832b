// What matmul does to a sum before the store: bias, activation, residual.
#include "common/activation.glsl"

layout(constant_id = 6) const uint ACTIVATION = 0u;  // a constant, because it is code an unrolled store makes many times
layout(binding = MATMUL_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = MATMUL_RESIDUAL) readonly buffer Residual { float residual[]; };
#define Y_BINDING MATMUL_Y
#include "matmul/store.glsl"

// `column` counts from the first of this dispatch, here and below.
float column_bias(uint column) { return p.has_bias != 0u ? bias[p.bias_offset + p.first_column + column] : 0.0; }

// What is left to do to a sum that has its bias.
void store_biased(uint row, uint column, float value) {
  const uint y_column = p.first_column + column;
  if (ACTIVATION == MATMUL_GELU_TANH)
    value = gelu_tanh(value);
  else if (ACTIVATION == MATMUL_GELU_ERF)
    value = gelu_erf(value);
  if (p.has_residual != 0u)
    value += residual[p.residual_offset + row * p.residual_row_stride + y_column];
  store_y(p.y_offset + row * p.y_row_stride + y_column, value);
}

void store_result(uint row, uint column, float value) { store_biased(row, column, value + column_bias(column)); }

#ifdef VL2_STORE_QUADS
layout(binding = MATMUL_RESIDUAL) readonly buffer ResidualQuads { vec4 residual_quads[]; };

// Four columns at once, in as few stores as their alignment allows.
void store_results(uint row, uint column, uint count, vec4 value) {
  if (!Y_QUADS || count < 4u) {
    [[dont_unroll]] for (uint c = 0u; c < count; ++c)
      store_result(row, column + c, value[c]);
    return;
  }
  const uint y_column = p.first_column + column;
  if (p.has_bias != 0u) {
    const uint at = p.bias_offset + y_column;
    value += vec4(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
  }
  if (ACTIVATION == MATMUL_GELU_TANH)
    value = vec4(gelu_tanh(value.x), gelu_tanh(value.y), gelu_tanh(value.z), gelu_tanh(value.w));
  else if (ACTIVATION == MATMUL_GELU_ERF)
    value = vec4(gelu_erf(value.x), gelu_erf(value.y), gelu_erf(value.z), gelu_erf(value.w));
  if (p.has_residual != 0u)
    value += residual_quads[(p.residual_offset + row * p.residual_row_stride + y_column) >> 2];
  store_y_quad(p.y_offset + row * p.y_row_stride + y_column, value);
}
#endif
