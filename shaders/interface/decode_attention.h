// What decode_mla_attention.comp, decode_mha_attention.comp and decode_attention.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_ATTENTION_H
#define VL2_INTERFACE_DECODE_ATTENTION_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint DECODE_ATTENTION_Q = 0u, DECODE_ATTENTION_KEYS = 1u, DECODE_ATTENTION_VALUES = 2u, DECODE_ATTENTION_STATE = 3u,
               DECODE_ATTENTION_PARTS = 4u, DECODE_ATTENTION_LIMITS = 5u, DECODE_ATTENTION_COUNTER = 6u,
               DECODE_ATTENTION_WEIGHT = 7u, DECODE_ATTENTION_ROPE = 8u, DECODE_ATTENTION_Y = 9u;  // bindings
VL2_CONST uint DECODE_ATTENTION_KEY_SCALES = 10u, DECODE_ATTENTION_VALUE_SCALES = 11u;  // of an 8-bit cache
VL2_CONST uint DECODE_ATTENTION_MAX_HEAD = 512u;     // elements of a head of MHA
VL2_CONST uint DECODE_ATTENTION_WEIGHT_LANES = 8u;  // invocations that share a row of W_UV

struct DecodeAttentionParams {
  uint heads;
  uint q_width;      // elements of a query head
  uint row_chunks;   // chunks of 8 elements from one row of the cache to the next
  uint value_width;  // elements of a head's result
  float scale;
  uint rows_per_head;       // of kv_b: nope + value width
  uint first_value_row;     // of a head of kv_b: nope
  uint weight_row_chunks;
  uint q_stride;  // elements from one conversation's to the next's
  uint y_stride;
};

VL2_SHARED_END
#endif
