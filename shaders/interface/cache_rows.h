// What cache_quantize.comp, cache_dequantize.comp and cache_rows.cpp agree on, and the kernels that read and write an 8-bit cache themselves.
#ifndef VL2_INTERFACE_CACHE_ROWS_H
#define VL2_INTERFACE_CACHE_ROWS_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint CACHE_BLOCK = 32u;             // elements that share a scale
VL2_CONST float CACHE_MAX_SCALE = 515.5f;     // an f16; times 127 it is less than the largest f16
VL2_CONST uint CACHE_ROWS_THREADS = 128u;     // per workgroup
VL2_CONST uint CACHE_ROWS_X = 0u, CACHE_ROWS_CODES = 1u, CACHE_ROWS_SCALES = 2u;  // bindings; X: the activations

struct CacheQuantizeParams {
  uint count;  // words of scales altogether: rows * segments * words of a segment
  uint segments;
  uint segment_chunks;  // chunks of 8 elements
  uint first_row;       // of the cache
  uint x_offset8;       // in chunks
  uint x_row_stride8;
};

struct CacheDequantizeParams {
  uint count;  // chunks of 8 elements altogether
  uint segment_chunks;
};

VL2_SHARED_END
#endif
