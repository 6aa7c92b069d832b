// Tensors from the device to .npy.
#pragma once

#include <string>

#include "runtime/recorder.h"

namespace vl2 {

/// Waits for what is recorded, and writes an f32 or f16 view as f32. It is contiguous, or the same rows again and again: the
/// first stride 0, the others contiguous.
///
/// Errors  those of Recorder::download and write_npy
Status save_tensor(Recorder& rec, const TensorView& view, const std::string& path);

}  // namespace vl2
