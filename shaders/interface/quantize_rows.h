// What quantize_rows.comp and quantize_rows.cpp agree on.
#ifndef VL2_INTERFACE_QUANTIZE_ROWS_H
#define VL2_INTERFACE_QUANTIZE_ROWS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint QUANTIZE_ROWS_BLOCK = 32u;     // elements that share a scale
VL2_CONST uint QUANTIZE_ROWS_THREADS = 128u;  // per workgroup; a thread makes a block
VL2_CONST uint QUANTIZE_ROWS_X = 0u, QUANTIZE_ROWS_CODES = 1u, QUANTIZE_ROWS_NUMBERS = 2u;  // bindings

struct QuantizeRowsParams {
  uint blocks;      // of all rows
  uint row_blocks;  // of a row
  uint x_row_stride;
  uint x_offset;  // elements from the start of the binding to the first row
};

VL2_SHARED_END
#endif
