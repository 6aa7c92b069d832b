// The file that keeps what `vl2 tune` measured between runs: a few lines of text, and their checksum.
#pragma once

#include <string>

#include "runtime/status.h"
#include "runtime/tuning.h"

namespace vl2 {

/// What a file had to say.
enum class TuningState {
  None,     ///< there is no file
  Used,     ///< the tuning is the file's
  Foreign,  ///< measured on another device, with another driver, by another version, or with other kernels
  Damaged,  ///< it is no such file, or not all of it, or tells of what this device cannot do
};

struct ReadTuning {
  TuningState state = TuningState::None;
  DeviceTuning tuning;  ///< of a file that is not used: known_tuning()
  std::string notice;   ///< Damaged: one line for the user
};

/// Where the tuning of a device is kept.
std::string tuning_path(const std::string& cache_dir, const DeviceCaps& caps);

ReadTuning read_tuning(const std::string& path, const DeviceCaps& caps);

/// Errors  IoError
Status write_tuning(const std::string& path, const DeviceCaps& caps, const DeviceTuning& tuning);

/// The file's text, for a device with this UUID, this driver and these kernels: every number as it was, to the last bit.
std::string format_tuning(const DeviceCaps& caps, const DeviceTuning& tuning);
ReadTuning parse_tuning(std::string_view text, const DeviceCaps& caps);

}  // namespace vl2
