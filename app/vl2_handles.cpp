#include "app/vl2_handles.h"

#include <cstdio>

#include "app/byte_size.h"
#include "app/interrupt.h"
#include "app/progress.h"

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

int show_loading(void* user, vl2_phase, uint64_t done, uint64_t total) {
  if (*static_cast<const bool*>(user))
    std::fprintf(stderr, "\rloading %3d %%", static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
  return interrupted() ? 1 : 0;
}

// What the options say of loading; texts are those of `options`.
Result<vl2_load_options> load_options_of(const ModelOptions& options) {
  vl2_load_options load{};
  load.struct_size = sizeof(load);
  load.device = options.device.empty() ? nullptr : options.device.c_str();
  load.quantize = options.type.empty() ? nullptr : options.type.c_str();
  load.flags = options.no_expert_cache ? VL2_LOAD_ALL_ON_DEVICE : 0;
  load.context_tokens = options.context;
  load.max_tiles = options.tiles;
  load.prefill_tokens = options.chunk;
  VL2_ASSIGN(load.cache_type, cache_type_of(options));
  if (!options.vram.empty()) {
    VL2_ASSIGN(load.memory_bytes, parse_byte_size(options.vram, "--vram"));
  }
  if (!options.ram.empty()) {
    VL2_ASSIGN(load.host_memory_bytes, parse_byte_size(options.ram, "--ram"));
  }
  if (options.picture_cache == "0")
    load.flags |= VL2_LOAD_NO_PICTURE_CACHE;
  else if (!options.picture_cache.empty()) {
    VL2_ASSIGN(load.picture_cache_bytes, parse_byte_size(options.picture_cache, "--picture-cache"));
  }
  return load;
}

// Says on standard error what loading went without; nothing when all is well.
void print_notice(const vl2_model* model) {
  vl2_model_info info{};
  info.struct_size = sizeof(info);
  if (vl2_model_get_info(model, &info) == VL2_OK && *info.notice != '\0')
    std::fprintf(stderr, "vl2: note: %s\n", info.notice);
}

}  // namespace

Status status_of_call(vl2_status status) {
  const Code code = code_of(status);
  return code == Code::Ok ? Status() : fail(code, vl2_last_error());
}

Status check_model_options(const ModelOptions& options) {
  if (!options.type.empty())
    VL2_TRY(quantize_mix_of(options.type).status());  // in the words of the command line
  return load_options_of(options).status();
}

Result<ModelHandle> open_model(const ModelOptions& options, uint32_t flags) {
  VL2_TRY(check_model_options(options));
  bool show = wants_progress(options.quiet);
  VL2_ASSIGN(vl2_load_options load, load_options_of(options));
  load.flags |= flags;
  load.progress = show_loading;
  load.progress_user = &show;
  vl2_model* model = nullptr;
  const vl2_status status = vl2_model_load(options.model.c_str(), &load, &model);
  if (show)
    std::fprintf(stderr, "\r             \r");
  VL2_TRY(status_of_call(status));
  print_notice(model);
  return ModelHandle(model);
}

Result<vl2_plan> plan_model(const ModelOptions& options, uint32_t flags) {
  VL2_TRY(check_model_options(options));
  VL2_ASSIGN(vl2_load_options load, load_options_of(options));
  load.flags |= flags;
  vl2_plan plan{};
  plan.struct_size = sizeof(plan);
  VL2_TRY(status_of_call(vl2_plan_load(options.model.c_str(), &load, &plan)));
  return plan;
}

}  // namespace vl2
