// What decode_mla_matrix.comp, decode_mla_values.comp and decode_attention.cpp agree on.
#ifndef VL2_INTERFACE_DECODE_MLA_MATRIX_H
#define VL2_INTERFACE_DECODE_MLA_MATRIX_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

// Specialisation constants of decode_mla_matrix.comp: constant_id of each.
VL2_CONST uint DECODE_MLA_MATRIX_THREADS = 0u;
VL2_CONST uint DECODE_MLA_MATRIX_M = 1u, DECODE_MLA_MATRIX_N = 2u, DECODE_MLA_MATRIX_K = 3u;  // rows, columns, depth of a product
VL2_CONST uint DECODE_MLA_MATRIX_HEAD_TILES = 4u;
VL2_CONST uint DECODE_MLA_MATRIX_KEYS = 5u;
VL2_CONST uint DECODE_MLA_MATRIX_DEPTH = 6u;
VL2_CONST uint DECODE_MLA_MATRIX_LATENT = 7u;
VL2_CONST uint DECODE_MLA_MATRIX_SPLITS = 8u;
VL2_CONST uint DECODE_MLA_MATRIX_SPLIT_TILES = 9u;
VL2_CONST uint DECODE_MLA_MATRIX_DEPTH_PARTS = 10u;
VL2_CONST uint DECODE_MLA_MATRIX_ROW_LANES = 11u;

VL2_CONST uint DECODE_MLA_MATRIX_Q = 0u, DECODE_MLA_MATRIX_CACHE = 1u, DECODE_MLA_MATRIX_STATE = 2u, DECODE_MLA_MATRIX_PARTS = 3u,
               DECODE_MLA_MATRIX_LIMITS = 4u, DECODE_MLA_MATRIX_SCALES = 5u;  // bindings; the last of an 8-bit cache

struct DecodeMlaMatrixParams {
  uint heads;
  float scale;
  uint q_stride;  // elements from one conversation's to the next's
};

VL2_CONST uint DECODE_MLA_VALUES_PARTS = 0u, DECODE_MLA_VALUES_LIMITS = 1u, DECODE_MLA_VALUES_STATE = 2u, DECODE_MLA_VALUES_WEIGHT = 3u,
               DECODE_MLA_VALUES_Y = 4u;  // bindings

struct DecodeMlaValuesParams {
  uint value_width;
  uint rows_per_head;      // of kv_b: nope + value width
  uint weight_row_chunks;  // chunks of 8 elements from one row of kv_b to the next
  uint y_stride;           // elements from one conversation's to the next's
};

VL2_SHARED_END
#endif
