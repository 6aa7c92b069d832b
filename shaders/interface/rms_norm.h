// What rms_norm.comp and rms_norm.cpp agree on.
#ifndef VL2_INTERFACE_RMS_NORM_H
#define VL2_INTERFACE_RMS_NORM_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint RMS_NORM_THREADS = 256u;                                 // per workgroup; rows are 512 to 2560 wide
VL2_CONST uint RMS_NORM_X = 0u, RMS_NORM_WEIGHT = 1u, RMS_NORM_Y = 2u;  // bindings

struct RmsNormParams {
  uint width;         // elements per row
  uint x_row_stride;  // elements from one row of x to the next
  uint y_row_stride;
  uint x_offset;  // elements from the start of the binding to the first row
  uint y_offset;
  float eps;  // added to the mean square
};

VL2_SHARED_END
#endif
