// A picture resized onto a canvas with a grey background, byte for byte as Pillow does it.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// The table of one axis: which source pixels an output pixel sums, with which weights. Empty views where the axis keeps its
/// size.
struct ResampleAxis {
  TensorView bounds;   ///< i32 or u32 [out, 2]: first source index, count of source pixels, 1 .. ksize
  TensorView weights;  ///< i32 [out, ksize]: 22 fractional bits; those from the count on are not read

  bool empty() const { return bounds.empty(); }
};

/// Where the picture goes on the canvas, and how it gets its size.
struct PadResize {
  uint32_t fit_width = 0, fit_height = 0;  ///< of the resized picture
  uint32_t x = 0, y = 0;                   ///< of its top left pixel on the canvas
  ResampleAxis horizontal, vertical;       ///< an axis is empty exactly when the picture has the fitted size along it
  TensorView scratch;                      ///< u8 [source_height, fit_width, 3], contiguous; may be empty when `horizontal` is
};

/// Records canvas = 127 outside the fitted rectangle and the resized picture inside it.
///
/// Horizontal pass first, into `scratch`, then the vertical one into the canvas; each sums in 32-bit integers from 1 << 21,
/// shifts right by 22 and clips to 0 .. 255. A pass whose axis is empty is skipped. Table entries that reach past the picture are
/// pulled back to its edge.
///
/// picture  u8 [height, width, 3], contiguous, at any offset, at most 2^28 pixels; cut into bands of rows where it is larger than
/// a binding canvas   u8 [canvas_height, canvas_width, 3], contiguous. Canvas and scratch start at an offset that a shader can
/// bind, and own the whole
///          of their last 32-bit word: its bytes past the last pixel become 0
/// Errors   BadArgument, BadShape, BadDType; Unsupported when four rows of the picture, the whole scratch or the canvas are
/// larger than a
///          binding: nothing is recorded, and the message names the tensor
/// Cost     reads the picture about once per binding, the taps come from the cache; writes scratch and canvas once
/// Source   Pillow src/libImaging/Resample.c; PIL.ImageOps.pad
Status pad_resize(Recorder& rec, const TensorView& picture, const PadResize& resize, const TensorView& canvas);

}  // namespace vl2
