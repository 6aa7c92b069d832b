// What pad_resize_horizontal.comp, pad_resize_vertical.comp and pad_resize.cpp agree on.
#ifndef VL2_INTERFACE_PAD_RESIZE_H
#define VL2_INTERFACE_PAD_RESIZE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint PAD_RESIZE_THREADS = 64u;    // per workgroup
VL2_CONST uint PAD_RESIZE_PIXELS = 4u;      // per invocation: 12 bytes, three whole words
VL2_CONST uint PAD_RESIZE_PRECISION = 22u;  // fractional bits of a weight
VL2_CONST uint PAD_RESIZE_BACKGROUND = 127u;
VL2_CONST uint PAD_RESIZE_SOURCE = 0u, PAD_RESIZE_BOUNDS = 1u, PAD_RESIZE_WEIGHTS = 2u, PAD_RESIZE_OUT = 3u;  // bindings

struct PadResizeHorizontalParams {
  uint source_width;    // pixels a row
  uint source_offset;   // bytes from the start of the binding to the first pixel
  uint out_width;       // pixels a row
  uint pixel_count;     // out_width * rows
  uint taps;            // weights a column of the table has
  uint bounds_offset;   // words
  uint weights_offset;  // words
  uint out_offset;      // words
};

struct PadResizeVerticalParams {
  uint source_height;
  uint source_offset;  // bytes
  uint fit_width;      // of the source and of the rectangle on the canvas
  uint fit_height;     // of the rectangle
  uint x;              // top left of the rectangle
  uint y;
  uint canvas_width;
  uint pixel_count;  // of the canvas
  uint taps;         // 0: rows are copied, there is no table
  uint bounds_offset;
  uint weights_offset;
  uint out_offset;  // words
};

VL2_SHARED_END
#endif
