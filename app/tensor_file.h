// Tensors from the device to .npy.
#pragma once

#include <string>

#include "runtime/recorder.h"

namespace vl2 {

/// Waits for what is recorded, and writes a contiguous f32 or f16 view as f32.
///
/// Errors  those of Recorder::download and write_npy
Status save_tensor(Recorder& rec, const TensorView& view, const std::string& path);

}  // namespace vl2
