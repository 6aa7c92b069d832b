// The one include of the Vulkan headers, through volk, and VkResult turned into Status.
#pragma once

#include <volk.h>

#include "runtime/status.h"

namespace vl2 {

/// "VK_ERROR_DEVICE_LOST" and so on.
const char* vk_result_name(VkResult result);

/// Ok for VK_SUCCESS; otherwise a Status "where: VK_ERROR_...".
Status vk_status(VkResult result, const char* where);

}  // namespace vl2

/// Returns from the calling function when a Vulkan call does not give VK_SUCCESS.
#define VL2_VK(call) VL2_TRY(::vl2::vk_status((call), #call))
