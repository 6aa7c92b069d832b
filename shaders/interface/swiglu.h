// What swiglu.comp and swiglu.cpp agree on.
#ifndef VL2_INTERFACE_SWIGLU_H
#define VL2_INTERFACE_SWIGLU_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint SWIGLU_THREADS = 64u;          // results per workgroup
VL2_CONST uint SWIGLU_X = 0u, SWIGLU_Y = 1u;  // bindings

struct SwigluParams {
  uint rows;
  uint width;         // elements per row of y; x has twice as many
  uint x_row_stride;  // elements from one row to the next
  uint y_row_stride;
  uint x_offset;  // elements from the start of the binding to the first row
  uint y_offset;
  uint x_is_f32;  // 1: x is f32 although activations are f16
};

VL2_SHARED_END
#endif
