// What a GPU reports, as plain data that a test can write by hand, and what follows from it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace vl2 {

struct Quirks;

enum class DeviceType { Discrete, Integrated, Virtual, Cpu, Other };

const char* device_type_name(DeviceType type);

/// A product that one subgroup computes: f16 [m, k] x f16 [k, n], summed in f16 or f32 (VK_KHR_cooperative_matrix).
struct MatrixShape {
  uint32_t m = 0, n = 0, k = 0;
  bool f32_sum = false;
  bool operator==(const MatrixShape&) const = default;
};

/// Products that a workgroup of `invocations` computes: any multiples of m, n, k, f16 in (VK_NV_cooperative_matrix2).
struct WorkgroupMatrix {
  uint32_t m = 0, n = 0, k = 0;
  uint32_t invocations = 0;
  bool f32_sum = false;
  bool operator==(const WorkgroupMatrix&) const = default;
};

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
  bool subgroup_ballot = false;      ///< subgroupBroadcast among them
  uint32_t cores = 0;                ///< that run workgroups, where the driver tells; 0: it does not
  uint32_t max_workgroup_invocations = 0;
  uint32_t max_shared_bytes = 0;
  uint32_t max_push_constant_bytes = 0;
  std::array<uint32_t, 3> max_groups{};
  uint64_t max_storage_buffer_bytes = 0;  ///< of one binding
  uint64_t max_allocation_bytes = 0;      ///< of one buffer: maxMemoryAllocationSize, and maxBufferSize where there is one
  uint32_t storage_buffer_alignment = 1;  ///< bytes, of a binding's offset
  uint32_t max_storage_buffers = 0;       ///< bindings of a shader, arrays by their lengths
  bool storage_buffer_arrays = false;     ///< of which a shader may choose one as it runs, a workgroup the same
  uint64_t device_local_bytes = 0;        ///< of the largest device-local heap
  bool float16 = false;                   ///< f16 arithmetic
  bool storage16 = false;                 ///< 16-bit storage buffers
  double timestamp_period_ns = 0;         ///< 0: no timestamps on the compute queue
  bool memory_budget = false;             ///< VK_EXT_memory_budget

  uint32_t min_subgroup_size = 0;  ///< what a pipeline may ask for; both 0: it cannot
  uint32_t max_subgroup_size = 0;
  bool integer_dot = false;                       ///< accelerated dot products of four signed bytes
  bool packed_dot = false;                        ///< such products, fast or not, and reductions of four neighbours of a subgroup
  std::vector<MatrixShape> matrix_shapes;         ///< in the device's order; empty: no matrix units
  std::vector<WorkgroupMatrix> workgroup_matrix;  ///< empty: none, or not with all that the kernels need
  uint32_t workgroup_matrix_shared_bytes = 0;     ///< of shared memory that the driver keeps for them
};

/// The first shape that sums in f32; null without one.
const MatrixShape* matrix_shape(const DeviceCaps& caps);

/// The subgroup size that kernels on matrix units run with: the smallest that a pipeline may ask for, which is the one that the
/// units are made for where there is a choice (Intel: 8 or 16 of 32; RDNA: 32 of 64); the only one where there is none.
uint32_t matrix_subgroup_size(const DeviceCaps& caps);

/// Why this device cannot run even tier 0; empty when it can.
std::string missing_for_tier0(const DeviceCaps& caps);

/// The tier of kernels for a device: 0 base (f32, 32-bit words), 1 half (f16 storage and arithmetic), 2 dot (8-bit integer dot
/// products), 3 matrix (subgroup matrices), 4 matrix2 (workgroup matrices). Each needs what those below it need, but for 2: a
/// device with matrices and without dot products is in tier 3.
///
/// forced  what VL2_TIER asks for, or -1; it can only lower the tier, but that 2 takes byte products that are slow, too
uint32_t choose_tier(const DeviceCaps& caps, const Quirks& quirks, int forced);

}  // namespace vl2
