#include "runtime/instance.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace vl2 {

bool has_device_extension(VkPhysicalDevice device, const char* name) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const auto& e) { return std::strcmp(e.extensionName, name) == 0; });
}

namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";
constexpr const char* kHowToInstall =
    "install the Vulkan loader (libvulkan1) and a driver for your GPU, or mesa-vulkan-drivers for the CPU driver lavapipe";

// To name an object the loader (1.4.309) walks its lists of instances, drivers and devices, and crashes when another thread changes
// them: who names shares this; who makes or ends an instance or a device has it alone, and so has who lists devices, as drivers
// without any are dropped then. It guards volk's table of functions as well.
std::shared_mutex instances_mutex;

std::mutex all_messages_mutex;
std::vector<std::string> all_messages;

VKAPI_ATTR VkBool32 VKAPI_CALL on_validation_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                                     const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
  static_cast<std::vector<std::string>*>(user)->push_back(data->pMessage);
  const std::lock_guard lock(all_messages_mutex);
  all_messages.push_back(data->pMessage);
  return VK_FALSE;
}

VkDebugUtilsMessengerCreateInfoEXT messenger_info(std::vector<std::string>* messages) {
  VkDebugUtilsMessengerCreateInfoEXT info{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  info.pfnUserCallback = on_validation_message;
  info.pUserData = messages;
  return info;
}

bool has_layer(const char* name) {
  uint32_t count = 0;
  vkEnumerateInstanceLayerProperties(&count, nullptr);
  std::vector<VkLayerProperties> layers(count);
  vkEnumerateInstanceLayerProperties(&count, layers.data());
  return std::any_of(layers.begin(), layers.end(), [&](const auto& layer) { return std::strcmp(layer.layerName, name) == 0; });
}

DeviceType device_type(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return DeviceType::Discrete;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return DeviceType::Integrated;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return DeviceType::Virtual;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return DeviceType::Cpu;
    default: return DeviceType::Other;
  }
}

std::string hex(const uint8_t* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

void read_limits(const VkPhysicalDeviceLimits& limits, DeviceCaps& caps) {
  caps.max_workgroup_invocations = limits.maxComputeWorkGroupInvocations;
  caps.max_shared_bytes = limits.maxComputeSharedMemorySize;
  caps.max_push_constant_bytes = limits.maxPushConstantsSize;
  std::copy_n(limits.maxComputeWorkGroupCount, 3, caps.max_groups.begin());
  caps.max_storage_buffer_bytes = limits.maxStorageBufferRange;
  caps.max_storage_buffers =
      std::min({limits.maxPerStageDescriptorStorageBuffers, limits.maxPerStageResources, limits.maxDescriptorSetStorageBuffers});
  caps.storage_buffer_alignment = static_cast<uint32_t>(std::max<VkDeviceSize>(limits.minStorageBufferOffsetAlignment, 1));
  caps.timestamp_period_ns = limits.timestampComputeAndGraphics ? static_cast<double>(limits.timestampPeriod) : 0.0;
}

// Products of f16 summed in f32 or f16, unsaturated; for the properties of either matrix extension.
template <typename Properties>
bool multiplies_f16(const Properties& p) {
  return p.AType == VK_COMPONENT_TYPE_FLOAT16_KHR && p.BType == VK_COMPONENT_TYPE_FLOAT16_KHR && p.CType == p.ResultType &&
         (p.CType == VK_COMPONENT_TYPE_FLOAT32_KHR || p.CType == VK_COMPONENT_TYPE_FLOAT16_KHR) && !p.saturatingAccumulation;
}

// Every shape and feature that the matrix kernels ask for, or nothing: a device with half of them runs the tier below.
void read_matrix_caps(VkPhysicalDevice device, DeviceCaps& caps) {
  if (!has_device_extension(device, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME))
    return;
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
  VkPhysicalDeviceVulkan12Features f12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, &matrix};
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &f12};
  vkGetPhysicalDeviceFeatures2(device, &features);
  if (!matrix.cooperativeMatrix || !f12.vulkanMemoryModel || !f12.vulkanMemoryModelDeviceScope ||
      vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR == nullptr)
    return;
  uint32_t count = 0;
  vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, nullptr);
  std::vector<VkCooperativeMatrixPropertiesKHR> shapes(count, {VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR});
  if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, shapes.data()) != VK_SUCCESS)
    return;
  for (const VkCooperativeMatrixPropertiesKHR& s : shapes) {
    if (multiplies_f16(s) && s.scope == VK_SCOPE_SUBGROUP_KHR)
      caps.matrix_shapes.push_back({s.MSize, s.NSize, s.KSize, s.CType == VK_COMPONENT_TYPE_FLOAT32_KHR});
  }
}

void read_workgroup_matrix_caps(VkPhysicalDevice device, DeviceCaps& caps) {
  if (caps.matrix_shapes.empty() || !has_device_extension(device, VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME) ||
      vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV == nullptr)
    return;
  VkPhysicalDeviceCooperativeMatrix2FeaturesNV matrix{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV};
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &matrix};
  vkGetPhysicalDeviceFeatures2(device, &features);
  if (!matrix.cooperativeMatrixWorkgroupScope || !matrix.cooperativeMatrixFlexibleDimensions ||
      !matrix.cooperativeMatrixReductions || !matrix.cooperativeMatrixConversions ||
      !matrix.cooperativeMatrixPerElementOperations || !matrix.cooperativeMatrixTensorAddressing ||
      !matrix.cooperativeMatrixBlockLoads)
    return;
  VkPhysicalDeviceCooperativeMatrix2PropertiesNV limits{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &limits};
  vkGetPhysicalDeviceProperties2(device, &properties);
  caps.workgroup_matrix_shared_bytes = limits.cooperativeMatrixWorkgroupScopeReservedSharedMemory;
  uint32_t count = 0;
  vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV(device, &count, nullptr);
  std::vector<VkCooperativeMatrixFlexibleDimensionsPropertiesNV> shapes(
      count, {VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV});
  if (vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV(device, &count, shapes.data()) != VK_SUCCESS)
    return;
  for (const VkCooperativeMatrixFlexibleDimensionsPropertiesNV& s : shapes) {
    if (multiplies_f16(s) && s.scope == VK_SCOPE_WORKGROUP_KHR)
      caps.workgroup_matrix.push_back(
          {s.MGranularity, s.NGranularity, s.KGranularity, s.workgroupInvocations, s.CType == VK_COMPONENT_TYPE_FLOAT32_KHR});
  }
}

// Both became core with Vulkan 1.3; before, they are extensions.
void read_subgroup_sizes_and_dot(VkPhysicalDevice device, DeviceCaps& caps) {
  if (has_device_extension(device, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) {
    VkPhysicalDeviceSubgroupSizeControlFeatures control{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
    VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &control};
    vkGetPhysicalDeviceFeatures2(device, &features);
    VkPhysicalDeviceSubgroupSizeControlProperties sizes{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &sizes};
    vkGetPhysicalDeviceProperties2(device, &properties);
    if (control.subgroupSizeControl && control.computeFullSubgroups &&
        (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0) {
      caps.min_subgroup_size = sizes.minSubgroupSize;
      caps.max_subgroup_size = sizes.maxSubgroupSize;
    }
  }
  if (has_device_extension(device, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) {
    VkPhysicalDeviceShaderIntegerDotProductProperties dot{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &dot};
    vkGetPhysicalDeviceProperties2(device, &properties);
    VkPhysicalDeviceShaderIntegerDotProductFeatures feature{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
    VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &feature};
    vkGetPhysicalDeviceFeatures2(device, &features);
    caps.packed_dot &= feature.shaderIntegerDotProduct == VK_TRUE;
    caps.integer_dot = caps.packed_dot && dot.integerDotProduct4x8BitPackedSignedAccelerated;
  } else {
    caps.packed_dot = false;
  }
}

// Streaming multiprocessors, compute units, shader cores: each vendor's word for what runs a workgroup.
uint32_t read_cores(VkPhysicalDevice device) {
  VkPhysicalDeviceShaderSMBuiltinsPropertiesNV multiprocessors{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
  VkPhysicalDeviceShaderCoreProperties2AMD units{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD};
  VkPhysicalDeviceShaderCoreBuiltinsPropertiesARM cores{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_BUILTINS_PROPERTIES_ARM};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  const auto ask = [&](const char* extension, auto& answer) {
    if (has_device_extension(device, extension))
      answer.pNext = std::exchange(properties.pNext, &answer);
  };
  ask(VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME, multiprocessors);
  ask(VK_AMD_SHADER_CORE_PROPERTIES_2_EXTENSION_NAME, units);
  ask(VK_ARM_SHADER_CORE_BUILTINS_EXTENSION_NAME, cores);
  vkGetPhysicalDeviceProperties2(device, &properties);
  return std::max({multiprocessors.shaderSMCount, units.activeComputeUnitCount, cores.shaderCoreCount});
}

DeviceCaps read_caps(VkPhysicalDevice device) {
  DeviceCaps caps;
  VkPhysicalDeviceProperties basic{};
  vkGetPhysicalDeviceProperties(device, &basic);
  caps.name = basic.deviceName;
  caps.type = device_type(basic.deviceType);
  caps.vendor_id = basic.vendorID;
  caps.device_id = basic.deviceID;
  caps.driver_version = basic.driverVersion;
  caps.api_version = basic.apiVersion;
  std::copy_n(basic.pipelineCacheUUID, VK_UUID_SIZE, caps.pipeline_cache_uuid.begin());
  read_limits(basic.limits, caps);
  if (basic.apiVersion < VK_API_VERSION_1_2)
    return caps;

  VkPhysicalDeviceVulkan12Properties v12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  VkPhysicalDeviceVulkan11Properties v11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, &v12};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &v11};
  vkGetPhysicalDeviceProperties2(device, &properties);
  caps.driver_name = v12.driverName;
  caps.driver_info = v12.driverInfo;
  caps.uuid = hex(v11.deviceUUID, VK_UUID_SIZE);
  caps.subgroup_size = v11.subgroupSize;
  constexpr VkSubgroupFeatureFlags kNeeded = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  caps.subgroup_arithmetic =
      (v11.subgroupSupportedOperations & kNeeded) == kNeeded && (v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
  caps.subgroup_ballot = caps.subgroup_arithmetic && (v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_BALLOT_BIT) != 0;
  caps.packed_dot = caps.subgroup_arithmetic && (v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_CLUSTERED_BIT) != 0;
  caps.max_allocation_bytes = v11.maxMemoryAllocationSize;
  if (basic.apiVersion >= VK_API_VERSION_1_3) {
    VkPhysicalDeviceVulkan13Properties v13{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceProperties2 newer{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &v13};
    vkGetPhysicalDeviceProperties2(device, &newer);
    caps.max_allocation_bytes = std::min<uint64_t>(caps.max_allocation_bytes, v13.maxBufferSize);
  }

  VkPhysicalDeviceVulkan12Features f12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceVulkan11Features f11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, &f12};
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &f11};
  vkGetPhysicalDeviceFeatures2(device, &features);
  caps.float16 = f12.shaderFloat16;
  caps.storage16 = f11.storageBuffer16BitAccess;
  caps.storage_buffer_arrays = features.features.shaderStorageBufferArrayDynamicIndexing;

  VkPhysicalDeviceMemoryProperties memory{};
  vkGetPhysicalDeviceMemoryProperties(device, &memory);
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      caps.device_local_bytes = std::max<uint64_t>(caps.device_local_bytes, memory.memoryHeaps[i].size);
  // RADV without hardware has heaps of 0 bytes, and crashes when asked for their budget.
  caps.memory_budget = caps.device_local_bytes > 0 && has_device_extension(device, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  caps.cores = read_cores(device);
  read_subgroup_sizes_and_dot(device, caps);
  read_matrix_caps(device, caps);
  read_workgroup_matrix_caps(device, caps);
  return caps;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string list_names(const std::vector<DeviceEntry>& devices) {
  std::string names;
  for (size_t i = 0; i < devices.size(); ++i)
    names += (i == 0 ? "" : "; ") + std::to_string(i) + " " + devices[i].caps.name;
  return names;
}

int rank_of(DeviceType type) {
  switch (type) {
    case DeviceType::Discrete: return 0;
    case DeviceType::Integrated: return 1;
    case DeviceType::Virtual: return 2;
    case DeviceType::Other: return 3;
    case DeviceType::Cpu: return 4;
  }
  return 5;
}

}  // namespace

Result<std::unique_ptr<Instance>> Instance::create(const InstanceOptions& options) {
  std::unique_ptr<Instance> instance(new Instance);  // before the lock, which its destructor takes
  const std::unique_lock lock(instances_mutex);
  if (volkInitialize() != VK_SUCCESS)
    return fail(Code::NoDevice, "vulkan: no loader (libvulkan.so.1) on this system: ", kHowToInstall);
  if (volkGetInstanceVersion() < VK_API_VERSION_1_2)
    return fail(Code::NoDevice, "vulkan: the loader is older than 1.2: ", kHowToInstall);
  if (options.validation && !has_layer(kValidationLayer))
    return fail(Code::NotFound, "vulkan: validation was asked for, but ", kValidationLayer,
                " is not installed (package vulkan-validationlayers)");

  // 1.3 for the SPIR-V 1.6 of tier 4's shaders; everything else is content with 1.2.
  const VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "vl2", 1, "vl2", 1, VK_API_VERSION_1_3};
  VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(&instance->validation_messages_);
  const VkValidationFeatureEnableEXT enabled[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
  VkValidationFeaturesEXT features{VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT, &messenger, 1, enabled, 0, nullptr};
  const char* const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};

  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  if (options.validation) {
    info.pNext = &features;
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &kValidationLayer;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = extensions;
  }
  const VkResult created = vkCreateInstance(&info, nullptr, &instance->handle_);
  if (created == VK_ERROR_INCOMPATIBLE_DRIVER)
    return fail(Code::NoDevice, "vulkan: no driver on this system: ", kHowToInstall);
  VL2_TRY(vk_status(created, "vkCreateInstance"));
  // Device functions too come through the loader, which finds the right driver for each handle: a process may use several
  // devices.
  volkLoadInstance(instance->handle_);
  if (options.validation) {
    VL2_VK(vkCreateDebugUtilsMessengerEXT(instance->handle_, &messenger, nullptr, &instance->messenger_));
    instance->set_name_ = vkSetDebugUtilsObjectNameEXT;
  }
  return instance;
}

Result<VkDevice> Instance::create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo& info) const {
  const std::unique_lock lock(instances_mutex);
  VkDevice device = VK_NULL_HANDLE;
  VL2_VK(vkCreateDevice(physical, &info, nullptr, &device));
  return device;
}

void Instance::destroy_device(VkDevice device) const {
  const std::unique_lock lock(instances_mutex);
  vkDestroyDevice(device, nullptr);
}

void Instance::name_object(VkDevice device, VkObjectType type, uint64_t object, const char* name) const {
  if (set_name_ == nullptr)
    return;
  VkDebugUtilsObjectNameInfoEXT label{VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
  label.objectType = type;
  label.objectHandle = object;
  label.pObjectName = name;
  const std::shared_lock lock(instances_mutex);
  set_name_(device, &label);
}

std::vector<std::string> all_validation_messages() {
  const std::lock_guard lock(all_messages_mutex);
  return all_messages;
}

Instance::~Instance() {
  const std::unique_lock lock(instances_mutex);
  if (messenger_ != VK_NULL_HANDLE) {
    // Asked for by name: another instance without the extension may have been made since.
    const auto destroy =
        reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(vkGetInstanceProcAddr(handle_, "vkDestroyDebugUtilsMessengerEXT"));
    destroy(handle_, messenger_, nullptr);
  }
  if (handle_ != VK_NULL_HANDLE)
    vkDestroyInstance(handle_, nullptr);
}

Result<std::vector<DeviceEntry>> Instance::devices() const {
  const std::unique_lock lock(instances_mutex);
  uint32_t count = 0;
  VL2_VK(vkEnumeratePhysicalDevices(handle_, &count, nullptr));
  std::vector<VkPhysicalDevice> handles(count);
  VL2_VK(vkEnumeratePhysicalDevices(handle_, &count, handles.data()));
  std::vector<DeviceEntry> entries;
  for (const VkPhysicalDevice handle : handles) {
    DeviceEntry entry{handle, read_caps(handle), {}};
    entry.unusable = missing_for_tier0(entry.caps);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<size_t> choose_device(const std::vector<DeviceEntry>& devices, std::string_view wanted) {
  if (devices.empty())
    return fail(Code::NoDevice, "vulkan: no device found: ", kHowToInstall);
  if (wanted.empty()) {
    const DeviceEntry* best = nullptr;
    for (const DeviceEntry& entry : devices)
      if (entry.unusable.empty() && (best == nullptr || rank_of(entry.caps.type) < rank_of(best->caps.type)))
        best = &entry;
    if (best == nullptr)
      return fail(Code::NoDevice, "vulkan: no usable device: ", devices[0].caps.name, ": ", devices[0].unusable);
    return static_cast<size_t>(best - devices.data());
  }

  size_t index = devices.size();
  size_t number = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (error == std::errc{} && end == wanted.data() + wanted.size() && wanted.size() < 10) {
    index = number;
  } else {
    std::string uuid = lower(wanted);
    uuid.erase(std::remove(uuid.begin(), uuid.end(), '-'), uuid.end());
    for (size_t i = devices.size(); i-- > 0;)
      if (devices[i].caps.uuid == uuid || lower(devices[i].caps.name).find(lower(wanted)) != std::string::npos)
        index = i;
  }
  if (index >= devices.size())
    return fail(Code::NotFound, "device: got \"", std::string(wanted),
                "\", wanted a number, name or UUID of: ", list_names(devices));
  if (!devices[index].unusable.empty())
    return fail(Code::Unsupported, "device: ", devices[index].caps.name, " cannot run vl2: ", devices[index].unusable);
  return index;
}

}  // namespace vl2
