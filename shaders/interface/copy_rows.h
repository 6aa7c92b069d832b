// What copy_rows.comp and copy_rows.cpp agree on.
#ifndef VL2_INTERFACE_COPY_ROWS_H
#define VL2_INTERFACE_COPY_ROWS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint COPY_ROWS_THREADS = 256u;            // per workgroup, an element each
VL2_CONST uint COPY_ROWS_X = 0u, COPY_ROWS_Y = 1u;  // bindings

struct CopyRowsParams {
  uint count;  // elements altogether
  uint heads;  // 1 for rows that are not cut into heads
  uint width;
  uint x_row_stride;  // elements from one row to the next
  uint x_head_stride;
  uint y_row_stride;
  uint y_head_stride;
  uint x_offset;  // elements from the start of the binding to the first one
  uint y_offset;
  uint x_is_f32;  // in the f16 variant: x or y holds f32 nevertheless
  uint y_is_f32;
};

VL2_SHARED_END
#endif
