// One GPU in use: its queue, its memory, its pipelines.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "runtime/device_caps.h"
#include "runtime/instance.h"
#include "runtime/memory.h"
#include "runtime/pipeline.h"
#include "runtime/quirks.h"
#include "runtime/tensor.h"
#include "runtime/tuning.h"

namespace vl2 {

struct DeviceOptions {
  std::string device;                 ///< an index, a UUID or a part of a name; empty: the best one
  bool validation = false;            ///< validation layers, for tests and debugging
  bool count_saturation = false;      ///< count stores that did not fit f16
  int tier = -1;                      ///< highest tier of kernels to use; -1: the device's best
  bool pipeline_statistics = false;   ///< let PipelineStore::statistics() tell registers and spills; Unsupported where it cannot
  std::string quirks;                 ///< "+name,-name"
  std::string cache_dir;              ///< where pipelines and tuning are kept between runs; empty: nowhere
  bool tuned = true;                  ///< go by what `vl2 tune` measured, where it did
  uint64_t heap_limit_bytes = 0;      ///< pretend that no heap is larger; 0: as it is, here and below
  uint64_t max_allocation_bytes = 0;  ///< pretend that no buffer may be larger
  uint64_t max_binding_bytes = 0;     ///< pretend that no binding may be larger
};

/// Options from the environment: VL2_DEVICE, VL2_VALIDATION, VL2_TIER, VL2_QUIRKS, VL2_CACHE_DIR, VL2_CHECK, VL2_HEAP_LIMIT
/// (bytes), VL2_TUNING (off: as if the device was never tuned).
///
/// Without VL2_CACHE_DIR the cache is $XDG_CACHE_HOME/vl2 or ~/.cache/vl2; VL2_CACHE_DIR set but empty means no cache.
/// Errors  BadArgument: a number that is none, VL2_TUNING neither on nor off
Result<DeviceOptions> device_options_from_environment();

/// Everything a Recorder needs. One thread at a time.
class Device {
 public:
  /// Errors  NoDevice, NotFound, Unsupported (see choose_device), BadArgument (quirks), VulkanError
  static Result<std::unique_ptr<Device>> create(const DeviceOptions& options);
  /// A device with the caps and the tier of `like` and no driver behind it: everything is checked and counted (Memory::events(),
  /// PipelineStore::count()), nothing is allocated, made or run. What it is used for needs no change.
  static std::unique_ptr<Device> rehearsal(const Device& like);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  VkDevice handle() const { return handle_; }
  VkQueue queue() const { return queue_; }
  uint32_t queue_family() const { return queue_family_; }
  const DeviceCaps& caps() const { return caps_; }
  const Quirks& quirks() const { return quirks_; }
  uint32_t tier() const { return tier_; }
  /// What plans go by: measured on this device, or known of others.
  const DeviceTuning& tuning() const { return tuning_; }
  /// For a tuner's results, and tests; before anything is planned.
  void set_tuning(DeviceTuning tuning) { tuning_ = std::move(tuning); }
  /// One line about a tuning that could not be used; empty when all is well.
  const std::string& tuning_notice() const { return tuning_notice_; }
  /// False for a driver without hardware (RADV_FORCE_FAMILY): pipelines are made, buffers are empty shells, nothing is recorded;
  /// and for a rehearsal.
  bool executes() const { return handle_ != VK_NULL_HANDLE && caps_.device_local_bytes > 0; }
  /// The type of stored activations in this device's tier.
  DType act() const { return tier_ >= 1 ? DType::F16 : DType::F32; }
  Memory& memory() { return *memory_; }
  const Memory& memory() const { return *memory_; }
  PipelineStore& pipelines() { return *pipelines_; }
  const Instance& instance() const { return *instance_; }

  /// Counters of f16 stores that saturated, host-visible. Dispatches take turns with them, so that two that may overlap never
  /// share one.
  const Buffer& saturation_buffer() const { return *saturation_; }
  static constexpr uint32_t kSaturationCounters = 4096;
  static constexpr uint32_t kSaturationStride = 256;  ///< bytes; the largest alignment that Vulkan lets a device ask for
  /// Their sum now: valid after Recorder::finish(); 0 unless counting was asked for.
  uint64_t saturated_stores() const;

 private:
  Device() = default;
  Status create_logical_device(VkPhysicalDevice physical, const DeviceOptions& options);

  std::unique_ptr<Instance> instance_;
  DeviceCaps caps_;
  Quirks quirks_;
  uint32_t tier_ = 0;
  DeviceTuning tuning_;
  std::string tuning_notice_;
  VkDevice handle_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  uint32_t queue_family_ = 0;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<PipelineStore> pipelines_;
  std::unique_ptr<Buffer> saturation_;
};

}  // namespace vl2
