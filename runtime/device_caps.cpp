#include "runtime/device_caps.h"

#include <algorithm>
#include <sstream>

#include "runtime/quirks.h"

namespace vl2 {

const char* device_type_name(DeviceType type) {
  switch (type) {
    case DeviceType::Discrete: return "discrete";
    case DeviceType::Integrated: return "integrated";
    case DeviceType::Virtual: return "virtual";
    case DeviceType::Cpu: return "cpu";
    case DeviceType::Other: return "other";
  }
  return "other";
}

std::string missing_for_tier0(const DeviceCaps& caps) {
  constexpr uint32_t kVulkan12 = (1u << 22) | (2u << 12);
  std::ostringstream out;
  if (caps.api_version < kVulkan12)
    out << "Vulkan " << (caps.api_version >> 22) << '.' << ((caps.api_version >> 12) & 0x3ff) << ", wanted 1.2";
  else if (!caps.subgroup_arithmetic || caps.subgroup_size < 4)
    out << "no subgroup arithmetic of size 4 or more in compute shaders";
  else if (caps.max_workgroup_invocations < 256)
    out << "workgroups of " << caps.max_workgroup_invocations << " invocations, wanted 256";
  else if (caps.max_shared_bytes < 32 * 1024)
    out << caps.max_shared_bytes << " bytes of shared memory, wanted 32768";
  else if (caps.max_push_constant_bytes < 128)
    out << caps.max_push_constant_bytes << " bytes of push constants, wanted 128";
  return out.str();
}

const MatrixShape* matrix_shape(const DeviceCaps& caps) {
  const auto found = std::find_if(caps.matrix_shapes.begin(), caps.matrix_shapes.end(), [](const auto& s) { return s.f32_sum; });
  return found == caps.matrix_shapes.end() ? nullptr : &*found;
}

uint32_t matrix_subgroup_size(const DeviceCaps& caps) {
  return caps.min_subgroup_size > 0 ? caps.min_subgroup_size : caps.subgroup_size;
}

uint32_t choose_tier(const DeviceCaps& caps, const Quirks& quirks, int forced) {
  const uint32_t limit = forced < 0 ? (quirks.f16_is_slow ? 0 : 4) : static_cast<uint32_t>(forced);
  if (!caps.float16 || !caps.storage16 || limit == 0)
    return 0;
  const bool matrix = matrix_shape(caps) != nullptr;
  if (limit >= 4 && matrix && !caps.workgroup_matrix.empty())
    return 4;
  if (limit >= 3 && matrix)
    return 3;
  // Asked for by number: slow byte products will do, so that a CPU driver can run this tier's kernels.
  return limit >= 2 && (caps.integer_dot || (forced == 2 && caps.packed_dot)) ? 2 : 1;
}

}  // namespace vl2
