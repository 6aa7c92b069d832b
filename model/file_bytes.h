// Bytes from and to open files: all of them or an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/status.h"

namespace vl2 {

/// Fills `target` with the bytes from `first` on. Threads: any.
///
/// Errors  IoError, beginning with `name`: the system refused, or the file ends there
Status read_file_at(int descriptor, const std::string& name, uint64_t first, std::span<std::byte> target);

/// Writes all of `bytes` at `first`. Threads: any.
///
/// Errors  IoError, beginning with `name`: the system refused ("No space left on device")
Status write_file_at(int descriptor, const std::string& name, uint64_t first, std::span<const std::byte> bytes);

}  // namespace vl2
