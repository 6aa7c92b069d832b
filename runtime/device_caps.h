// What a GPU reports, as plain data that a test can write by hand, and what follows from it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace vl2 {

struct Quirks;

enum class DeviceType { Discrete, Integrated, Virtual, Cpu, Other };

const char* device_type_name(DeviceType type);

struct DeviceCaps {
  std::string name;
  std::string driver_name;  ///< "llvmpipe", "NVIDIA", "radv", ...
  std::string driver_info;
  std::string uuid;  ///< 32 hexadecimal digits
  DeviceType type = DeviceType::Other;
  uint32_t vendor_id = 0;
  uint32_t device_id = 0;
  uint32_t driver_version = 0;
  uint32_t api_version = 0;
  std::array<uint8_t, 16> pipeline_cache_uuid{};

  uint32_t subgroup_size = 0;
  bool subgroup_arithmetic = false;  ///< basic and arithmetic subgroup operations in compute shaders
  uint32_t max_workgroup_invocations = 0;
  uint32_t max_shared_bytes = 0;
  uint32_t max_push_constant_bytes = 0;
  std::array<uint32_t, 3> max_groups{};
  uint64_t max_storage_buffer_bytes = 0;  ///< of one binding
  uint64_t max_allocation_bytes = 0;
  uint32_t storage_buffer_alignment = 1;  ///< bytes, of a binding's offset
  uint64_t device_local_bytes = 0;        ///< of the largest device-local heap
  bool float16 = false;                   ///< f16 arithmetic
  bool storage16 = false;                 ///< 16-bit storage buffers
  double timestamp_period_ns = 0;         ///< 0: no timestamps on the compute queue
  bool memory_budget = false;             ///< VK_EXT_memory_budget
};

/// Why this device cannot run even tier 0; empty when it can.
std::string missing_for_tier0(const DeviceCaps& caps);

/// The tier of kernels for a device: 0 base (f32, 32-bit words), 1 half (f16 storage and arithmetic).
///
/// forced  what VL2_TIER asks for, or -1; it can only lower the tier
uint32_t choose_tier(const DeviceCaps& caps, const Quirks& quirks, int forced);

}  // namespace vl2
