// From host memory or files to the device: written straight into place where device memory is host-visible, else through a
// staging ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

class Device;

/// Writes `target`; `first_byte` says where in the whole upload the span starts. Called from one thread, in order.
using UploadSource = std::function<Status(uint64_t first_byte, std::span<std::byte> target)>;

/// Uploads to one device. What was uploaded is on the device after finish().
class Uploader {
 public:
  explicit Uploader(Device& device);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  /// Fills `bytes` of `buffer` (a Device or Host buffer) from byte `place` on from `source`, called with spans whose sizes are multiples of
  /// `piece_bytes`, the last one apart; a row of a matrix is such a piece. At most kStagingBytes go into one call unless a piece
  /// is larger than that.
  ///
  /// Errors  whatever `source` gives, VulkanError, OutOfMemory
  Status upload(const Buffer& buffer, uint64_t place, uint64_t bytes, uint64_t piece_bytes, const UploadSource& source);

  /// Waits for the copies under way.
  Status finish();

  static constexpr uint64_t kStagingBytes = uint64_t{64} << 20;

 private:
  struct Slot;
  Result<Slot*> take_slot(uint64_t bytes);

  Device& device_;
  std::unique_ptr<Slot> slots_[2];
  size_t next_slot_ = 0;
};

/// Uploads `bytes` to `buffer`, from byte `place` on, and waits.
Status upload_bytes(Device& device, const Buffer& buffer, std::span<const std::byte> bytes, uint64_t place = 0);

}  // namespace vl2
