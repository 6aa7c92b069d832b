// A canvas cut into views and each view into patches, as rows of a matrix: the patch embedding is then a matmul.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

struct Patchify {
  uint32_t view_size = 384;  ///< the canvas is tiles of view_size x view_size, row-major
  uint32_t patch_size =
      14;  ///< floor(view_size / patch_size) a side; the pixels left over at the right and at the bottom are never read
  uint32_t first_tile = 0;  ///< the tile that y starts with; y's row count says how many follow
};

/// Records y[tile * grid^2 + gy * grid + gx][c * patch_size^2 + dy * patch_size + dx] = (pixel / 255 - 0.5) / 0.5,
/// with grid = floor(view_size / patch_size).
///
/// canvas  u8 [height, width, 3], contiguous, at any offset; both sides multiples of view_size
/// y       [tiles * grid^2, 3 * patch_size^2] f32 or f16; rows may be strided and start anywhere; what lies between them is left
/// alone Errors  BadShape, BadDType, BadArgument: nothing is recorded, and the message names the tensor Cost    reads the canvas
/// once, writes y once Source  DeepSeek-VL2 processing_deepseek_vl_v2.py, siglip_vit.py (PatchEmbed's weight order)
Status patchify(Recorder& rec, const TensorView& canvas, const TensorView& y, const Patchify& options = {});

}  // namespace vl2
