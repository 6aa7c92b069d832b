#include "runtime/memory.h"

#include <algorithm>

#include "runtime/device_caps.h"
#include "runtime/instance.h"

#define VMA_STATIC_VULKAN_FUNCTIONS 0
#define VMA_DYNAMIC_VULKAN_FUNCTIONS 1
#include <vk_mem_alloc.h>

namespace vl2 {

namespace {

// From here on a buffer has device memory of its own: blocks of 256 MB, of which three of 75 MB leave 31 unused, would miss what a
// plan counted on.
constexpr uint64_t kOwnMemoryBytes = uint64_t{16} << 20;

VmaAllocationCreateInfo allocation_info(MemoryKind kind) {
  VmaAllocationCreateInfo info{};
  info.usage = VMA_MEMORY_USAGE_AUTO;
  switch (kind) {
    case MemoryKind::Device:
      info.usage = VMA_MEMORY_USAGE_AUTO_PREFER_DEVICE;
      info.requiredFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
      info.flags = VMA_ALLOCATION_CREATE_HOST_ACCESS_SEQUENTIAL_WRITE_BIT |
                   VMA_ALLOCATION_CREATE_HOST_ACCESS_ALLOW_TRANSFER_INSTEAD_BIT | VMA_ALLOCATION_CREATE_MAPPED_BIT;
      break;
    case MemoryKind::Upload:
    case MemoryKind::Host:
      info.usage = VMA_MEMORY_USAGE_AUTO_PREFER_HOST;
      info.flags = VMA_ALLOCATION_CREATE_HOST_ACCESS_SEQUENTIAL_WRITE_BIT | VMA_ALLOCATION_CREATE_MAPPED_BIT;
      break;
    case MemoryKind::Readback:
      info.usage = VMA_MEMORY_USAGE_AUTO_PREFER_HOST;
      info.flags = VMA_ALLOCATION_CREATE_HOST_ACCESS_RANDOM_BIT | VMA_ALLOCATION_CREATE_MAPPED_BIT;
      break;
  }
  return info;
}

VkBufferCreateInfo buffer_info(uint64_t bytes) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = bytes;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
               VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;
  return info;
}

// Whether the type of memory that Device buffers get is one that the host sees.
bool finds_mapped_memory(VmaAllocator allocator) {
  const VkBufferCreateInfo info = buffer_info(uint64_t{1} << 20);
  const VmaAllocationCreateInfo wanted = allocation_info(MemoryKind::Device);
  uint32_t type = 0;
  VkMemoryPropertyFlags flags = 0;
  if (vmaFindMemoryTypeIndexForBufferInfo(allocator, &info, &wanted, &type) == VK_SUCCESS)
    vmaGetMemoryTypeProperties(allocator, type, &flags);
  return (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
}

}  // namespace

Result<std::unique_ptr<Memory>> Memory::create(const Instance& instance, VkPhysicalDevice physical, VkDevice device,
                                               const DeviceCaps& caps, uint64_t heap_limit_bytes) {
  std::unique_ptr<Memory> memory(new Memory);
  memory->physical_ = physical;
  memory->device_ = device;
  memory->max_buffer_bytes_ = caps.max_allocation_bytes;
  memory->heap_limit_bytes_ = heap_limit_bytes;
  memory->memory_budget_ = caps.memory_budget;
  memory->instance_ = &instance;

  memory->hardware_ = caps.device_local_bytes > 0;
  if (!memory->hardware_)
    return memory;

  VmaVulkanFunctions functions{};
  functions.vkGetInstanceProcAddr = vkGetInstanceProcAddr;
  functions.vkGetDeviceProcAddr = vkGetDeviceProcAddr;
  VmaAllocatorCreateInfo info{};
  info.instance = instance.handle();
  info.physicalDevice = physical;
  info.device = device;
  info.pVulkanFunctions = &functions;
  info.vulkanApiVersion = VK_API_VERSION_1_2;
  if (caps.memory_budget)
    info.flags |= VMA_ALLOCATOR_CREATE_EXT_MEMORY_BUDGET_BIT;
  VkPhysicalDeviceMemoryProperties properties{};
  vkGetPhysicalDeviceMemoryProperties(physical, &properties);
  std::array<VkDeviceSize, VK_MAX_MEMORY_HEAPS> limits;
  for (uint32_t heap = 0; heap < VK_MAX_MEMORY_HEAPS; ++heap) {
    const bool local = (properties.memoryHeaps[heap].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
    limits[heap] = local ? heap_limit_bytes : VK_WHOLE_SIZE;
  }
  for (uint32_t type = 0; type < properties.memoryTypeCount; ++type) {
    const VkMemoryType& memory_type = properties.memoryTypes[type];
    memory->has_host_heap_ |= (memory_type.propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0 &&
                              (properties.memoryHeaps[memory_type.heapIndex].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) == 0;
  }
  // What is in host memory is no part of the card's: where both are of one heap, it has an allocator without the limit.
  if (heap_limit_bytes != 0) {
    VL2_VK(vmaCreateAllocator(&info, &memory->host_allocator_));
    info.pHeapSizeLimit = limits.data();
  }
  VL2_VK(vmaCreateAllocator(&info, &memory->allocator_));
  memory->maps_device_buffers_ = finds_mapped_memory(memory->allocator_);
  return memory;
}

std::unique_ptr<Memory> Memory::rehearsal(const Memory& like) {
  std::unique_ptr<Memory> memory(new Memory);
  memory->max_buffer_bytes_ = like.max_buffer_bytes_;
  memory->maps_device_buffers_ = like.maps_device_buffers_;
  memory->has_host_heap_ = like.has_host_heap_;
  memory->hardware_ = false;
  memory->rehearsal_ = true;
  return memory;
}

Memory::~Memory() {
  for (VmaAllocator_T* const allocator : {allocator_, host_allocator_})
    if (allocator != nullptr)
      vmaDestroyAllocator(allocator);
}

Result<std::unique_ptr<Buffer>> Memory::allocate(uint64_t bytes, MemoryKind kind, const std::string& name) {
  const uint64_t rounded = std::max<uint64_t>((bytes + 15) / 16 * 16, 16);
  if (rounded > max_buffer_bytes_ && max_buffer_bytes_ != 0)
    return fail(Code::OutOfMemory, name, ": needs ", bytes, " bytes in one piece, this device allocates at most ",
                max_buffer_bytes_);

  std::unique_ptr<Buffer> buffer(new Buffer);
  if (rehearsal_) {
    buffer->memory_ = this;
    buffer->name_ = name;
    buffer->bytes_ = rounded;
    buffer->kind_ = kind;
    events_.push_back({name, kind, static_cast<int64_t>(rounded)});
    return buffer;
  }
  if (!hardware_) {
    buffer->bytes_ = rounded;
    buffer->kind_ = kind;
    if (kind == MemoryKind::Upload || kind == MemoryKind::Readback) {
      buffer->shell_ = std::make_unique<std::byte[]>(rounded);
      buffer->mapped_ = buffer->shell_.get();
    }
    return buffer;
  }
  const VkBufferCreateInfo info = buffer_info(rounded);
  VmaAllocationCreateInfo wanted = allocation_info(kind);
  if (rounded >= kOwnMemoryBytes)
    wanted.flags |= VMA_ALLOCATION_CREATE_DEDICATED_MEMORY_BIT;
  VmaAllocationInfo got{};
  buffer->allocator_ = kind != MemoryKind::Device && host_allocator_ != nullptr ? host_allocator_ : allocator_;
  const VkResult result = vmaCreateBuffer(buffer->allocator_, &info, &wanted, &buffer->handle_, &buffer->allocation_, &got);
  if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
    return fail(Code::OutOfMemory, name, ": needs ", bytes, " bytes, ",
                kind == MemoryKind::Device ? "the device has " : "host memory that the device reads has ",
                kind == MemoryKind::Device ? available_bytes() : available_host_bytes(), " left");
  VL2_TRY(vk_status(result, "vmaCreateBuffer"));

  buffer->memory_ = this;
  buffer->bytes_ = rounded;
  buffer->kind_ = kind;
  buffer->mapped_ = static_cast<std::byte*>(got.pMappedData);
  vmaSetAllocationName(buffer->allocator_, buffer->allocation_, name.c_str());
  instance_->name_object(device_, VK_OBJECT_TYPE_BUFFER, reinterpret_cast<uint64_t>(buffer->handle_), name.c_str());
  if (kind == MemoryKind::Device) {
    device_bytes_ += rounded;
    device_bytes_peak_ = std::max<uint64_t>(device_bytes_peak_, device_bytes_);
  }
  return buffer;
}

uint64_t Memory::available_bytes() const {
  if (!hardware_)
    return 0;
  const auto left = [](uint64_t whole, uint64_t used) { return whole > used ? whole - used : 0; };
  VkPhysicalDeviceMemoryBudgetPropertiesEXT driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                               memory_budget_ ? &driver : nullptr};
  vkGetPhysicalDeviceMemoryProperties2(physical_, &properties);
  std::array<VmaBudget, VK_MAX_MEMORY_HEAPS> held{};
  vmaGetHeapBudgets(allocator_, held.data());
  uint64_t best = 0;
  for (uint32_t heap = 0; heap < properties.memoryProperties.memoryHeapCount; ++heap) {
    if (!(properties.memoryProperties.memoryHeaps[heap].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT))
      continue;
    const VmaStatistics& ours = held[heap].statistics;
    uint64_t free = memory_budget_ ? left(driver.heapBudget[heap], driver.heapUsage[heap])
                                   : left(properties.memoryProperties.memoryHeaps[heap].size, ours.blockBytes);
    // The limit is on what this process takes; the driver's usage may be the whole system's (lavapipe).
    if (heap_limit_bytes_ != 0)
      free = std::min(free, left(heap_limit_bytes_, ours.blockBytes));
    best = std::max(best, free + ours.blockBytes - ours.allocationBytes);  // blocks held but not handed out are free
  }
  return best;
}

uint64_t Memory::available_host_bytes() const {
  if (!hardware_)
    return 0;
  VkPhysicalDeviceMemoryBudgetPropertiesEXT driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                               memory_budget_ ? &driver : nullptr};
  vkGetPhysicalDeviceMemoryProperties2(physical_, &properties);
  const VkPhysicalDeviceMemoryProperties& of = properties.memoryProperties;
  uint64_t best = 0;
  for (uint32_t type = 0; type < of.memoryTypeCount; ++type) {
    const uint32_t heap = of.memoryTypes[type].heapIndex;
    const bool local = (of.memoryHeaps[heap].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
    if ((of.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0 || (has_host_heap_ && local))
      continue;
    const uint64_t whole = memory_budget_ ? driver.heapBudget[heap] : of.memoryHeaps[heap].size;
    const uint64_t used = memory_budget_ ? driver.heapUsage[heap] : 0;
    best = std::max(best, whole > used ? whole - used : 0);
  }
  return best;
}

Buffer::~Buffer() {
  if (memory_ != nullptr && memory_->rehearsal_)
    memory_->events_.push_back({name_, kind_, -static_cast<int64_t>(bytes_)});
  if (handle_ == VK_NULL_HANDLE || memory_ == nullptr)
    return;
  vmaDestroyBuffer(allocator_, handle_, allocation_);
  if (kind_ == MemoryKind::Device)
    memory_->device_bytes_ -= bytes_;
}

Status Buffer::flush(uint64_t offset, uint64_t bytes) const {
  if (shell_ != nullptr)
    return {};
  return vk_status(vmaFlushAllocation(allocator_, allocation_, offset, bytes), "vmaFlushAllocation");
}

Status Buffer::invalidate(uint64_t offset, uint64_t bytes) const {
  if (shell_ != nullptr)
    return {};
  return vk_status(vmaInvalidateAllocation(allocator_, allocation_, offset, bytes), "vmaInvalidateAllocation");
}

}  // namespace vl2
