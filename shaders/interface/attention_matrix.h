// Specialisation constants of the kernel in attention/matrix.glsl, which attention_matrix.comp and mla_attention_matrix.comp share.
#ifndef VL2_INTERFACE_ATTENTION_MATRIX_H
#define VL2_INTERFACE_ATTENTION_MATRIX_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

// constant_id of each
VL2_CONST uint ATTENTION_MATRIX_THREADS = 0u;
VL2_CONST uint ATTENTION_MATRIX_M = 1u, ATTENTION_MATRIX_N = 2u, ATTENTION_MATRIX_K = 3u;  // rows, columns, depth of a product
VL2_CONST uint ATTENTION_MATRIX_ROW_TILES = 4u;
VL2_CONST uint ATTENTION_MATRIX_KEYS = 5u;
VL2_CONST uint ATTENTION_MATRIX_DEPTH = 6u;
VL2_CONST uint ATTENTION_MATRIX_VALUE_WIDTH = 7u;
VL2_CONST uint ATTENTION_MATRIX_PREFETCH = 8u;

VL2_SHARED_END
#endif
