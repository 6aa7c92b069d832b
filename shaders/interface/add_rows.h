// What add_rows.comp and add_rows.cpp agree on.
#ifndef VL2_INTERFACE_ADD_ROWS_H
#define VL2_INTERFACE_ADD_ROWS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ADD_ROWS_THREADS = 256u;               // per workgroup
VL2_CONST uint ADD_ROWS_ADDED = 0u, ADD_ROWS_X = 1u;  // bindings

struct AddRowsParams {
  uint count;  // elements of x
  uint width;
  uint period;  // rows of the block that is added
  uint added_row_stride;
  uint added_offset;
  uint x_row_stride;
  uint x_offset;
};

VL2_SHARED_END
#endif
