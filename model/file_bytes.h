// Bytes from and to open files: all of them or an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "runtime/status.h"

namespace vl2 {

/// A file descriptor that closes itself; empty where there is none.
class OpenFile {
 public:
  OpenFile() = default;
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  /// Opens a file for reading; empty, with errno set, where that fails.
  explicit OpenFile(const std::string& path);
  /// A second descriptor of the same open file; empty, with errno set, where that fails.
  static OpenFile duplicate(int descriptor);
  ~OpenFile();
  OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  explicit operator bool() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_ = -1;
};

/// Fills `target` with the bytes from `first` on. Threads: any.
///
/// Errors  IoError, beginning with `name`: the system refused, or the file ends there
Status read_file_at(int descriptor, const std::string& name, uint64_t first, std::span<std::byte> target);

/// Writes all of `bytes` at `first`. Threads: any.
///
/// Errors  IoError, beginning with `name`: the system refused ("No space left on device")
Status write_file_at(int descriptor, const std::string& name, uint64_t first, std::span<const std::byte> bytes);

}  // namespace vl2
