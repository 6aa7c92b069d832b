// What layer_norm.comp and layer_norm.cpp agree on.
#ifndef VL2_INTERFACE_LAYER_NORM_H
#define VL2_INTERFACE_LAYER_NORM_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint LAYER_NORM_THREADS = 128u;  // per workgroup where rows are not whole quads; rows are 216 (demo model) and 1152 wide
VL2_CONST uint LAYER_NORM_X = 0u, LAYER_NORM_WEIGHT = 1u, LAYER_NORM_BIAS = 2u, LAYER_NORM_Y = 3u;  // bindings

struct LayerNormParams {
  uint rows;
  uint width;         // elements per row
  uint x_row_stride;  // elements from one row of x to the next
  uint y_row_stride;
  uint x_offset;  // elements from the start of the binding to the first row
  uint weight_offset;
  uint bias_offset;
  uint y_offset;
  float eps;  // added to the variance
};

VL2_SHARED_END
#endif
