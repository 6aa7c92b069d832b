// What pixel_unshuffle.comp and pixel_unshuffle.cpp agree on.
#ifndef VL2_INTERFACE_PIXEL_UNSHUFFLE_H
#define VL2_INTERFACE_PIXEL_UNSHUFFLE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint PIXEL_UNSHUFFLE_THREADS = 256u;                  // per workgroup
VL2_CONST uint PIXEL_UNSHUFFLE_X = 0u, PIXEL_UNSHUFFLE_Y = 1u;  // bindings

struct PixelUnshuffleParams {
  uint count;     // elements of y
  uint channels;  // of x
  uint grid;      // rows and columns of x in a view
  uint side;      // rows and columns of y in a view
  uint factor;
  uint x_offset;
  uint y_row_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
