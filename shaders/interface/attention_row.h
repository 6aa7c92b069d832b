// Sizes of the kernel in attention/row.glsl, which attention_row.comp and mla_decode_attention.comp share.
#ifndef VL2_INTERFACE_ATTENTION_ROW_H
#define VL2_INTERFACE_ATTENTION_ROW_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint ATTENTION_ROW_THREADS = 256u;  // and keys a block
VL2_CONST uint ATTENTION_ROW_LANES = 16u;     // threads that share the dot product of one key
VL2_CONST uint ATTENTION_ROW_COLUMNS = 64u;   // of the values: a thread takes every 64th; their number a thread is constant_id 0
VL2_CONST uint ATTENTION_ROW_MAX_DEPTH = 1024u;

VL2_SHARED_END
#endif
