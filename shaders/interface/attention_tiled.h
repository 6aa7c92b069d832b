// Sizes of the kernel in attention/tiled.glsl, which attention.comp and mla_attention.comp share.
#ifndef VL2_INTERFACE_ATTENTION_TILED_H
#define VL2_INTERFACE_ATTENTION_TILED_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ATTENTION_TILED_THREADS = 64u;
VL2_CONST uint ATTENTION_TILED_QUERIES = 64u;  // a workgroup: 8 groups of 8
VL2_CONST uint ATTENTION_TILED_KEYS = 64u;     // a block: 8 groups of 8
VL2_CONST uint ATTENTION_TILED_COLUMNS = 8u;   // of the values: a thread takes every 8th; their number a thread is constant_id 0

VL2_CONST uint ATTENTION_MAX_WIDTH = 192u;        // of queries and keys; the kernel itself has no limit
VL2_CONST uint ATTENTION_MAX_VALUE_WIDTH = 128u;  // a thread keeps 8 queries times an eighth of it in registers

VL2_SHARED_END
#endif
