// The Vulkan loader, the validation layers, and the list of devices to choose from.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/device_caps.h"
#include "runtime/vulkan.h"

namespace vl2 {

struct InstanceOptions {
  bool validation = false;  ///< Khronos validation layer with synchronisation validation; NotFound if it is not installed
};

/// A device as the list shows it.
struct DeviceEntry {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  DeviceCaps caps;
  std::string unusable;  ///< why it cannot be used; empty when it can
};

/// The loader and one VkInstance.
class Instance {
 public:
  /// Errors  NoDevice: no loader, with what to install; NotFound: validation asked for and missing; VulkanError
  static Result<std::unique_ptr<Instance>> create(const InstanceOptions& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  VkInstance handle() const { return handle_; }

  /// Every physical device in the driver's order: the index is what `--device N` means.
  Result<std::vector<DeviceEntry>> devices() const;

  /// A logical device, which the instance outlives; destroy_device() ends it.
  Result<VkDevice> create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo& info) const;
  void destroy_device(VkDevice device) const;

  /// Names an object of one of this instance's devices, for validation messages and capture tools; does nothing without
  /// validation. Threads: any.
  void name_object(VkDevice device, VkObjectType type, uint64_t object, const char* name) const;

  /// What the validation layers said so far, a line each.
  const std::vector<std::string>& validation_messages() const { return validation_messages_; }

 private:
  Instance() = default;

  VkInstance handle_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  PFN_vkSetDebugUtilsObjectNameEXT set_name_ = nullptr;
  std::vector<std::string> validation_messages_;
};

/// Whether the driver of a physical device offers a device extension.
bool has_device_extension(VkPhysicalDevice device, const char* name);

/// What the validation layers said to any instance of this process, those that are gone too: how a program shows it at its end.
std::vector<std::string> all_validation_messages();

/// Which device `wanted` means: an index, a UUID, or a part of a name in any case; empty: discrete before integrated before
/// virtual before CPU.
///
/// Errors  NoDevice: the list is empty or nothing in it is usable; NotFound: no match, with the list; Unsupported: the match is
/// unusable
Result<size_t> choose_device(const std::vector<DeviceEntry>& devices, std::string_view wanted);

}  // namespace vl2
