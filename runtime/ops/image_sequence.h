// The projected views of one picture in the order in which the language model reads them.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

struct ImageGrid {
  uint32_t tiles_w = 1, tiles_h = 1;
  uint32_t side = 14;  ///< tokens along a side of a view

  /// Rows of the sequence: side * (side + 1) of the whole picture, the separator, side * tiles_h * (side * tiles_w + 1) of the
  /// tiles.
  uint64_t row_count() const {
    return uint64_t{side} * (side + 1) + 1 + uint64_t{side} * tiles_h * (uint64_t{side} * tiles_w + 1);
  }
};

/// Records the sequence: the whole picture (view 0) row by row with a newline after each, the separator, then the tiles (views 1
/// ..., row-major) merged into one grid, a newline after each of its full rows.
///
/// features   [1 + tiles_w * tiles_h, side^2, width] f32 or f16; views and rows may be strided and start anywhere
/// newline    [width] f32
/// separator  [width] f32
/// y          [grid.row_count(), width] f32; rows may be strided and start anywhere
/// Errors     BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost       reads features once, writes y once
/// Source     DeepSeek-VL2 modeling_deepseek_vl_v2.py, prepare_inputs_embeds (tile_tag "2D", global_view_pos "head")
Status image_sequence(Recorder& rec, const TensorView& features, const TensorView& newline, const TensorView& separator,
                      const ImageGrid& grid, const TensorView& y);

}  // namespace vl2
