#include "runtime/status.h"

namespace vl2 {

const char* code_name(Code code) {
  switch (code) {
    case Code::Ok: return "ok";
    case Code::BadArgument: return "bad_argument";
    case Code::BadShape: return "bad_shape";
    case Code::BadDType: return "bad_dtype";
    case Code::BadFile: return "bad_file";
    case Code::NotFound: return "not_found";
    case Code::Unsupported: return "unsupported";
    case Code::OutOfMemory: return "out_of_memory";
    case Code::ContextFull: return "context_full";
    case Code::NoDevice: return "no_device";
    case Code::DeviceLost: return "device_lost";
    case Code::VulkanError: return "vulkan_error";
    case Code::IoError: return "io_error";
    case Code::Cancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace vl2
