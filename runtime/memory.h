// Device memory: buffers carved from arenas by VulkanMemoryAllocator, and what they add up to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/status.h"
#include "runtime/vulkan.h"

struct VmaAllocator_T;
struct VmaAllocation_T;

namespace vl2 {

struct DeviceCaps;
class Instance;
class Memory;

/// Where a buffer lives.
enum class MemoryKind {
  Device,    ///< device-local; mapped as well where such memory is host-visible (integrated GPUs, resizable BAR, CPU drivers)
  Upload,    ///< host memory that the device reads: staging
  Host,      ///< the same, to stay: weights that the device reads where they are, or fetches when it wants them
  Readback,  ///< cached host memory that the device writes
};

/// An allocation, or with negative bytes the end of one.
struct MemoryEvent {
  std::string name;
  MemoryKind kind;
  int64_t bytes;
};

/// One VkBuffer with its memory. Destroying it while the device still uses it is an error of the caller.
class Buffer {
 public:
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  VkBuffer handle() const { return handle_; }
  uint64_t bytes() const { return bytes_; }
  MemoryKind kind() const { return kind_; }
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
  VmaAllocator_T* allocator_ = nullptr;
  VmaAllocation_T* allocation_ = nullptr;
  std::byte* mapped_ = nullptr;
  std::unique_ptr<std::byte[]> shell_;  // host memory in place of a device's that has none
  std::string name_;                    // in a rehearsal
  uint64_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::Device;
};

/// The allocator of one device.
class Memory {
 public:
  /// instance          outlives it
  /// heap_limit_bytes  pretends that no device-local heap is larger; 0: as it is
  static Result<std::unique_ptr<Memory>> create(const Instance& instance, VkPhysicalDevice physical, VkDevice device,
                                                const DeviceCaps& caps, uint64_t heap_limit_bytes);
  /// Takes no memory at all: buffers are their sizes, and events() tells of each. Refuses what `like` would refuse for its size.
  static std::unique_ptr<Memory> rehearsal(const Memory& like);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Errors  OutOfMemory, with `name`, the bytes asked for and the bytes that the device still has, or takes in one piece
  Result<std::unique_ptr<Buffer>> allocate(uint64_t bytes, MemoryKind kind, const std::string& name);

  /// Bytes that the device-local heaps may still give, by the driver's own budget where it reports one.
  uint64_t available_bytes() const;
  /// Bytes that host memory which the device reads may still give: of the heap that has most left. No limit on the device's counts.
  uint64_t available_host_bytes() const;
  /// Whether that is other memory than the device's own: not on a CPU driver, and on an integrated GPU where there is one heap.
  bool has_host_heap() const { return has_host_heap_; }
  uint64_t device_bytes_in_use() const { return device_bytes_; }
  uint64_t device_bytes_peak() const { return device_bytes_peak_; }
  /// Whether the host writes straight into Device buffers here, so that uploads need no staging.
  bool maps_device_buffers() const { return maps_device_buffers_; }
  /// Of a rehearsal: what was allocated and freed, in order.
  const std::vector<MemoryEvent>& events() const { return events_; }

 private:
  friend class Buffer;
  Memory() = default;

  const Instance* instance_ = nullptr;  // null in a rehearsal
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VmaAllocator_T* allocator_ = nullptr;
  VmaAllocator_T* host_allocator_ = nullptr;  // not null: of what is no Device buffer, which a limit on the device is not about
  std::atomic<uint64_t> device_bytes_ = 0;
  std::atomic<uint64_t> device_bytes_peak_ = 0;
  uint64_t max_buffer_bytes_ = 0;
  uint64_t heap_limit_bytes_ = 0;
  bool memory_budget_ = false;
  bool hardware_ = true;  // false: there is no memory at all, and buffers are shells
  bool rehearsal_ = false;
  bool maps_device_buffers_ = false;
  bool has_host_heap_ = false;
  std::vector<MemoryEvent> events_;
};

}  // namespace vl2
