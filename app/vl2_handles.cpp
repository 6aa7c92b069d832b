#include "app/vl2_handles.h"

#include <cstdio>

#include "app/byte_size.h"

namespace vl2 {

namespace {

Code code_of(vl2_status status) {
  switch (status) {
    case VL2_OK:
    case VL2_END:
    case VL2_BUSY: return Code::Ok;
    case VL2_ERROR_ARGUMENT:
    case VL2_ERROR_STATE:
    case VL2_ERROR_BUFFER_TOO_SMALL:
    case VL2_ERROR_INTERNAL: return Code::BadArgument;
    case VL2_ERROR_NOT_FOUND: return Code::NotFound;
    case VL2_ERROR_FILE: return Code::BadFile;
    case VL2_ERROR_UNSUPPORTED: return Code::Unsupported;
    case VL2_ERROR_OUT_OF_MEMORY: return Code::OutOfMemory;
    case VL2_ERROR_CONTEXT_FULL: return Code::ContextFull;
    case VL2_ERROR_NO_DEVICE: return Code::NoDevice;
    case VL2_ERROR_DEVICE_LOST: return Code::DeviceLost;
    case VL2_ERROR_DEVICE: return Code::VulkanError;
    case VL2_ERROR_IO: return Code::IoError;
    case VL2_ERROR_CANCELLED: return Code::Cancelled;
  }
  return Code::BadArgument;
}

}  // namespace

Status status_of_call(vl2_status status) {
  const Code code = code_of(status);
  return code == Code::Ok ? Status() : fail(code, vl2_last_error());
}

Result<vl2_load_options> load_options_of(const ModelOptions& options) {
  vl2_load_options load{};
  load.struct_size = sizeof(load);
  load.device = options.device.empty() ? nullptr : options.device.c_str();
  load.quantize = options.type.empty() ? nullptr : options.type.c_str();
  load.context_tokens = options.context;
  load.max_tiles = options.tiles;
  load.prefill_tokens = options.chunk;
  if (!options.vram.empty()) {
    VL2_ASSIGN(load.memory_bytes, parse_byte_size(options.vram, "--vram"));
  }
  return load;
}

void print_notice(const vl2_model* model) {
  vl2_model_info info{};
  info.struct_size = sizeof(info);
  if (vl2_model_get_info(model, &info) == VL2_OK && *info.notice != '\0')
    std::fprintf(stderr, "vl2: note: %s\n", info.notice);
}

}  // namespace vl2
