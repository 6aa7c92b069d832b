// What the matmul kernels and their operators share.
#ifndef VL2_INTERFACE_GEMM_H
#define VL2_INTERFACE_GEMM_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint GEMV_MAX_ROWS = 8u;         // more rows of x than this go through tiles
VL2_CONST uint GEMV_COLUMNS_AT_ONCE = 2u;  // columns that a subgroup makes at a time

VL2_SHARED_END
#endif
