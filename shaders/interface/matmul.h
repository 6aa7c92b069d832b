// What gemm_tiled.comp, gemm_dot.comp, gemm_coopmat.comp, gemv.comp, add_slices.comp and matmul.cpp agree on.
#ifndef VL2_INTERFACE_MATMUL_H
#define VL2_INTERFACE_MATMUL_H
#include "interface/gemm.h"
VL2_SHARED_BEGIN

VL2_CONST uint MATMUL_X = 0u, MATMUL_WEIGHT = 1u, MATMUL_BIAS = 2u, MATMUL_RESIDUAL = 3u, MATMUL_Y = 4u, MATMUL_SCALES = 5u,
               MATMUL_X_NUMBERS = 6u;                        // bindings
VL2_CONST uint MATMUL_GELU_TANH = 1u, MATMUL_GELU_ERF = 2u;  // enum class Activation

VL2_CONST uint ADD_SLICES_THREADS = 256u;  // per workgroup; a thread makes four columns of a row

struct MatmulParams {
  uint rows;          // M, of x and y
  uint columns;       // rows of the weight in this dispatch
  uint k;             // elements a row of x and of the weight; add_slices: how many slices there are
  uint first_column;  // where the columns of this dispatch begin in y, bias and residual
  uint x_row_stride;  // elements from one row to the next
  uint x_offset;      // elements from the start of the binding to the first row
  uint weight_row_stride;
  uint y_row_stride;
  uint y_offset;
  uint y_is_f32;  // 1: y is f32 although activations are f16
  uint has_bias;
  uint bias_offset;
  uint has_residual;
  uint residual_row_stride;
  uint residual_offset;
  uint k_slice;    // elements of K that a workgroup multiplies: gl_WorkGroupID.z says which; `rows` further rows of y a slice
  uint up_offset;  // gemm_coopmat, gated: elements from a row of the weight that makes gate to the one that makes up
};

VL2_SHARED_END
#endif
