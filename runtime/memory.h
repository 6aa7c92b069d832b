// Device memory: buffers carved from arenas by VulkanMemoryAllocator, and what they add up to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/status.h"
#include "runtime/vulkan.h"

struct VmaAllocator_T;
struct VmaAllocation_T;

namespace vl2 {

struct DeviceCaps;
class Memory;

/// Where a buffer lives.
enum class MemoryKind {
  Device,    ///< device-local; mapped as well where such memory is host-visible (integrated GPUs, resizable BAR, CPU drivers)
  Upload,    ///< host memory that the device reads: staging
  Readback,  ///< cached host memory that the device writes
};

/// One VkBuffer with its memory. Destroying it while the device still uses it is an error of the caller.
class Buffer {
 public:
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  VkBuffer handle() const { return handle_; }
  uint64_t bytes() const { return bytes_; }
  /// The host's view of the bytes, or null where the memory is not host-visible.
  std::byte* mapped() const { return mapped_; }
  /// Makes host writes visible to the device, or device writes to the host; only non-coherent memory needs it, any may call it.
  Status flush(uint64_t offset, uint64_t bytes) const;
  Status invalidate(uint64_t offset, uint64_t bytes) const;

 private:
  friend class Memory;
  Buffer() = default;

  Memory* memory_ = nullptr;
  VkBuffer handle_ = VK_NULL_HANDLE;
  VmaAllocation_T* allocation_ = nullptr;
  std::byte* mapped_ = nullptr;
  std::unique_ptr<std::byte[]> shell_;  // host memory in place of a device's that has none
  uint64_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::Device;
};

/// The allocator of one device.
class Memory {
 public:
  /// heap_limit_bytes  pretends that no heap is larger; 0: as it is
  static Result<std::unique_ptr<Memory>> create(VkInstance instance, VkPhysicalDevice physical, VkDevice device,
                                                const DeviceCaps& caps, uint64_t heap_limit_bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Errors  OutOfMemory, with `name`, the bytes asked for and the bytes that the device still has
  Result<std::unique_ptr<Buffer>> allocate(uint64_t bytes, MemoryKind kind, const std::string& name);

  /// Bytes that the device-local heaps may still give, by the driver's own budget where it reports one.
  uint64_t available_bytes() const;
  uint64_t device_bytes_in_use() const { return device_bytes_; }
  uint64_t device_bytes_peak() const { return device_bytes_peak_; }

 private:
  friend class Buffer;
  Memory() = default;

  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VmaAllocator_T* allocator_ = nullptr;
  std::atomic<uint64_t> device_bytes_ = 0;
  std::atomic<uint64_t> device_bytes_peak_ = 0;
  uint64_t max_buffer_bytes_ = 0;
  bool debug_names_ = false;
  bool hardware_ = true;  // false: there is no memory at all, and buffers are shells
};

}  // namespace vl2
