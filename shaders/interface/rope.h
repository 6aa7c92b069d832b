// What rope.comp and rope.cpp agree on.
#ifndef VL2_INTERFACE_ROPE_H
#define VL2_INTERFACE_ROPE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ROPE_THREADS = 64u;                         // per workgroup, a pair each
VL2_CONST uint ROPE_X = 0u, ROPE_TABLE = 1u, ROPE_Y = 2u;  // bindings

struct RopeParams {
  uint count;  // pairs altogether: rows * heads * half_width
  uint heads;
  uint half_width;  // pairs a head
  uint first_position;
  uint interleaved;   // 1: pairs (2i, 2i + 1); 0: pairs (i, i + half_width)
  uint x_row_stride;  // elements from one row to the next
  uint x_head_stride;
  uint y_row_stride;
  uint y_head_stride;
  uint x_offset;  // elements from the start of the binding to the first one
  uint table_offset;
  uint y_offset;
  uint x_is_f32;  // in the f16 variant: x or y holds f32 nevertheless
  uint y_is_f32;
};

VL2_SHARED_END
#endif
