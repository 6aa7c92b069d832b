// What patchify.comp and patchify.cpp agree on.
#ifndef VL2_INTERFACE_PATCHIFY_H
#define VL2_INTERFACE_PATCHIFY_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint PATCHIFY_THREADS = 256u;                // per workgroup
VL2_CONST uint PATCHIFY_CANVAS = 0u, PATCHIFY_Y = 1u;  // bindings

struct PatchifyParams {
  uint count;          // elements of y
  uint canvas_width;   // pixels
  uint canvas_offset;  // bytes from the start of the binding to the first pixel
  uint view_size;      // pixels
  uint patch_size;     // pixels
  uint grid;           // patches along a side of a view
  uint tiles_w;        // tiles along the canvas
  uint first_tile;
  uint y_row_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
