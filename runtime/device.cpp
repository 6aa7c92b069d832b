#include "runtime/device.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/tuning_file.h"

namespace vl2 {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

template <typename T>
Status read_number(const char* name, T& target) {
  const std::string text = environment(name);
  if (text.empty())
    return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(Code::BadArgument, name, ": got \"", text, "\", wanted a number");
  return {};
}

constexpr uint64_t kSaturationBytes = uint64_t{Device::kSaturationCounters} * Device::kSaturationStride;

bool is_on(const char* name, bool otherwise = false) {
  const std::string value = environment(name);
  return value.empty() ? otherwise : value != "0";
}

#ifdef VL2_VALIDATE_BY_DEFAULT
constexpr bool kValidateByDefault = true;  // the preset `debug`
#else
constexpr bool kValidateByDefault = false;
#endif

// A family that computes and draws nothing, where there is one: no state of drawing has to be waited for at a barrier. H200, driver
// 580.159: a token of Small 2.15 instead of 2.20 ms, of Tiny 0.63 instead of 0.67.
Result<uint32_t> find_compute_family(VkPhysicalDevice physical) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families.data());
  const auto computes = [&](uint32_t i) {
    return (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0 && families[i].queueCount > 0;
  };
  for (uint32_t i = 0; i < count; ++i)
    if (computes(i) && (families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0)
      return i;
  for (uint32_t i = 0; i < count; ++i)
    if (computes(i))
      return i;
  return fail(Code::Unsupported, "device: no queue that computes");
}

}  // namespace

Result<DeviceOptions> device_options_from_environment() {
  DeviceOptions options;
  options.device = environment("VL2_DEVICE");
  options.validation = is_on("VL2_VALIDATION", kValidateByDefault);
  options.count_saturation = is_on("VL2_CHECK");
  options.quirks = environment("VL2_QUIRKS");
  const std::string tuning = environment("VL2_TUNING");
  if (!tuning.empty() && tuning != "on" && tuning != "off")
    return fail(Code::BadArgument, "VL2_TUNING: got \"", tuning, "\", wanted on or off");
  options.tuned = tuning != "off";
  VL2_TRY(read_number("VL2_TIER", options.tier));
  VL2_TRY(read_number("VL2_HEAP_LIMIT", options.heap_limit_bytes));
  if (std::getenv("VL2_CACHE_DIR") != nullptr)
    options.cache_dir = environment("VL2_CACHE_DIR");
  else if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty())
    options.cache_dir = xdg + "/vl2";
  else if (const std::string home = environment("HOME"); !home.empty())
    options.cache_dir = home + "/.cache/vl2";
  return options;
}

Status Device::create_logical_device(VkPhysicalDevice physical, const DeviceOptions& options) {
  VL2_ASSIGN(queue_family_, find_compute_family(physical));
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueFamilyIndex = queue_family_;
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;

  const bool matrix = tier_ >= 3, workgroup_matrix = tier_ >= 4;
  const bool size_control = caps_.max_subgroup_size > 0;
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix_features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
  matrix_features.cooperativeMatrix = VK_TRUE;
  VkPhysicalDeviceCooperativeMatrix2FeaturesNV matrix2_features{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV};
  matrix2_features.cooperativeMatrixWorkgroupScope = VK_TRUE;
  matrix2_features.cooperativeMatrixFlexibleDimensions = VK_TRUE;
  matrix2_features.cooperativeMatrixReductions = VK_TRUE;
  matrix2_features.cooperativeMatrixConversions = VK_TRUE;
  matrix2_features.cooperativeMatrixPerElementOperations = VK_TRUE;
  matrix2_features.cooperativeMatrixTensorAddressing = VK_TRUE;
  matrix2_features.cooperativeMatrixBlockLoads = VK_TRUE;
  VkPhysicalDeviceSubgroupSizeControlFeatures size_features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
  size_features.subgroupSizeControl = VK_TRUE;
  size_features.computeFullSubgroups = VK_TRUE;
  void* chain = nullptr;
  std::vector<const char*> extensions;
  const auto use = [&](bool wanted, const char* extension, auto& feature) {
    if (!wanted)
      return;
    extensions.push_back(extension);
    feature.pNext = std::exchange(chain, &feature);
  };
  use(matrix, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, matrix_features);
  use(workgroup_matrix, VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME, matrix2_features);
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot_features{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
  dot_features.shaderIntegerDotProduct = VK_TRUE;
  use(caps_.packed_dot, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, dot_features);
  use(size_control, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, size_features);
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics_features{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
  statistics_features.pipelineExecutableInfo = VK_TRUE;
  if (options.pipeline_statistics && !has_device_extension(physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME))
    return fail(Code::Unsupported, caps_.name, ": the driver tells nothing about compiled pipelines");
  use(options.pipeline_statistics, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, statistics_features);

  VkPhysicalDeviceVulkan12Features f12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, chain};
  f12.shaderFloat16 = caps_.float16;
  f12.vulkanMemoryModel = matrix;
  f12.vulkanMemoryModelDeviceScope = matrix;
  VkPhysicalDeviceVulkan11Features f11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, &f12};
  f11.storageBuffer16BitAccess = caps_.storage16;
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &f11};
  features.features.shaderStorageBufferArrayDynamicIndexing = caps_.storage_buffer_arrays;

  if (caps_.memory_budget)
    extensions.push_back(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &features};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  VL2_ASSIGN(handle_, instance_->create_device(physical, info));
  vkGetDeviceQueue(handle_, queue_family_, 0, &queue_);
  return {};
}

Result<std::unique_ptr<Device>> Device::create(const DeviceOptions& options) {
  std::unique_ptr<Device> device(new Device);
  VL2_ASSIGN(device->instance_, Instance::create({.validation = options.validation}));
  VL2_ASSIGN(const std::vector<DeviceEntry> entries, device->instance_->devices());
  VL2_ASSIGN(const size_t index, choose_device(entries, options.device));
  device->caps_ = entries[index].caps;
  if (options.max_allocation_bytes != 0)
    device->caps_.max_allocation_bytes = std::min(device->caps_.max_allocation_bytes, options.max_allocation_bytes);
  if (options.max_binding_bytes != 0)
    device->caps_.max_storage_buffer_bytes = std::min(device->caps_.max_storage_buffer_bytes, options.max_binding_bytes);
  VL2_ASSIGN(device->quirks_, find_quirks(device->caps_, options.quirks));
  device->tier_ = choose_tier(device->caps_, device->quirks_, options.tier);
  if (device->tier_ == 2)
    device->caps_.integer_dot = true;  // or the tier was asked for by number
  device->tuning_ = known_tuning(device->caps_);
  if (options.tuned && !options.cache_dir.empty()) {
    ReadTuning read = read_tuning(tuning_path(options.cache_dir, device->caps_), device->caps_);
    device->tuning_ = std::move(read.tuning);
    device->tuning_notice_ = std::move(read.notice);
  }
  VL2_TRY(device->create_logical_device(entries[index].handle, options));
  VL2_ASSIGN(device->memory_,
             Memory::create(*device->instance_, entries[index].handle, device->handle_, device->caps_, options.heap_limit_bytes));
  VL2_ASSIGN(device->pipelines_,
             PipelineStore::create(*device->instance_, device->handle_, device->caps_,
                                   {options.cache_dir, options.count_saturation, options.pipeline_statistics}));
  VL2_ASSIGN(device->saturation_, device->memory_->allocate(kSaturationBytes, MemoryKind::Readback, "saturation counters"));
  std::memset(device->saturation_->mapped(), 0, kSaturationBytes);
  VL2_TRY(device->saturation_->flush(0, kSaturationBytes));
  return device;
}

std::unique_ptr<Device> Device::rehearsal(const Device& like) {
  std::unique_ptr<Device> device(new Device);
  device->caps_ = like.caps_;
  device->quirks_ = like.quirks_;
  device->tier_ = like.tier_;
  device->tuning_ = like.tuning_;
  device->memory_ = Memory::rehearsal(*like.memory_);
  device->pipelines_ = PipelineStore::rehearsal();
  return device;
}

Device::~Device() {
  if (handle_ == VK_NULL_HANDLE)
    return;
  if (executes())
    vkDeviceWaitIdle(handle_);
  saturation_.reset();
  pipelines_.reset();
  memory_.reset();
  instance_->destroy_device(handle_);
}

uint64_t Device::saturated_stores() const {
  if (saturation_ == nullptr || !saturation_->invalidate(0, kSaturationBytes).ok())
    return 0;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kSaturationCounters; ++i) {
    uint32_t count = 0;
    std::memcpy(&count, saturation_->mapped() + size_t{i} * kSaturationStride, sizeof(count));
    sum += count;
  }
  return sum;
}

}  // namespace vl2
