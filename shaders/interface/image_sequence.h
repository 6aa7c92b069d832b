// What image_sequence.comp and image_sequence.cpp agree on.
#ifndef VL2_INTERFACE_IMAGE_SEQUENCE_H
#define VL2_INTERFACE_IMAGE_SEQUENCE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint IMAGE_SEQUENCE_THREADS = 256u;  // per workgroup
VL2_CONST uint IMAGE_SEQUENCE_FEATURES = 0u, IMAGE_SEQUENCE_NEWLINE = 1u, IMAGE_SEQUENCE_SEPARATOR = 2u,
               IMAGE_SEQUENCE_Y = 3u;  // bindings

struct ImageSequenceParams {
  uint count;  // elements of y
  uint width;
  uint side;     // tokens along a side of a view
  uint tiles_w;  // tiles along a row of the grid
  uint view_stride;
  uint row_stride;  // of features
  uint features_offset;
  uint newline_offset;
  uint separator_offset;
  uint y_row_stride;
  uint y_offset;
};

VL2_SHARED_END
#endif
