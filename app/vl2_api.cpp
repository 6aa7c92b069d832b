// The C API: version, errors, devices, pictures. vl2_api_model.cpp and vl2_api_session.cpp hold the rest.
#include <algorithm>

#include "app/image_file.h"
#include "app/vl2_api_internal.h"
#include "runtime/device.h"

namespace vl2::api {

namespace {

thread_local std::string last_error;

vl2_status status_of(Code code) {
  switch (code) {
    case Code::Ok: return VL2_OK;
    case Code::BadArgument: return VL2_ERROR_ARGUMENT;
    case Code::BadFile: return VL2_ERROR_FILE;
    case Code::NotFound: return VL2_ERROR_NOT_FOUND;
    case Code::Unsupported: return VL2_ERROR_UNSUPPORTED;
    case Code::OutOfMemory: return VL2_ERROR_OUT_OF_MEMORY;
    case Code::ContextFull: return VL2_ERROR_CONTEXT_FULL;
    case Code::NoDevice: return VL2_ERROR_NO_DEVICE;
    case Code::DeviceLost: return VL2_ERROR_DEVICE_LOST;
    case Code::VulkanError: return VL2_ERROR_DEVICE;
    case Code::IoError: return VL2_ERROR_IO;
    case Code::Cancelled: return VL2_ERROR_CANCELLED;
    case Code::BadShape:
    case Code::BadDType: break;  // no caller of this API makes tensors
  }
  return VL2_ERROR_INTERNAL;
}

}  // namespace

Outcome::Outcome(const Status& from) : status(status_of(from.code())), message(from.message()) {}

vl2_status remember(const Outcome& outcome) noexcept {
  if (outcome.status >= 0)
    return outcome.status;
  try {
    last_error = outcome.message;
  } catch (...) {
    last_error.clear();
  }
  return outcome.status;
}

Outcome outcome_of_exception() noexcept {
  Outcome outcome;
  try {
    throw;
  } catch (const std::bad_alloc&) {
    outcome.status = VL2_ERROR_OUT_OF_MEMORY;
  } catch (...) {
    outcome.status = VL2_ERROR_INTERNAL;
  }
  try {
    outcome.message = outcome.status == VL2_ERROR_OUT_OF_MEMORY ? "vl2: no host memory left" : "vl2: an unexpected exception";
  } catch (...) {
  }
  return outcome;
}

Outcome read_text(const char* text, size_t bytes, const char* where, std::string_view& target) {
  if (text == nullptr && bytes != 0)
    return refuse(VL2_ERROR_ARGUMENT, where, ": text is NULL, wanted UTF-8");
  target = text == nullptr ? std::string_view() : std::string_view(text, bytes == VL2_NUL_TERMINATED ? std::strlen(text) : bytes);
  return {};
}

Result<std::unique_ptr<vl2_image>> decode(const uint8_t* file, size_t file_bytes, const char* where) {
  if (file == nullptr)
    return fail(Code::BadArgument, where, ": file is NULL, wanted the bytes of a picture file");
  VL2_ASSIGN(Image image, decode_image({file, file_bytes}));
  auto result = std::make_unique<vl2_image>();
  result->width = image.width;
  result->height = image.height;
  result->rgb = std::move(image.rgb);
  return result;
}

}  // namespace vl2::api

using namespace vl2;
using namespace vl2::api;

struct vl2_device_list {
  struct Entry {
    vl2_device_info info;
    std::string name, driver, uuid, unusable;
  };
  std::vector<Entry> entries;
};

namespace {

vl2_device_type device_type(DeviceType type) {
  switch (type) {
    case DeviceType::Discrete: return VL2_DEVICE_DISCRETE;
    case DeviceType::Integrated: return VL2_DEVICE_INTEGRATED;
    case DeviceType::Virtual: return VL2_DEVICE_VIRTUAL;
    case DeviceType::Cpu: return VL2_DEVICE_CPU;
    case DeviceType::Other: break;
  }
  return VL2_DEVICE_OTHER;
}

Outcome list_devices(vl2_device_list& list) {
  VL2_ASSIGN(const DeviceOptions options, device_options_from_environment());
  VL2_ASSIGN(const auto instance, Instance::create({}));
  VL2_ASSIGN(const std::vector<DeviceEntry> devices, instance->devices());
  const Result<size_t> chosen = choose_device(devices, options.device);
  for (size_t i = 0; i < devices.size(); ++i) {
    const DeviceCaps& caps = devices[i].caps;
    VL2_ASSIGN(const Quirks quirks, find_quirks(caps, options.quirks));
    vl2_device_list::Entry entry{{}, caps.name, caps.driver_name + " " + caps.driver_info, caps.uuid, devices[i].unusable};
    entry.info.type = device_type(caps.type);
    entry.info.tier = choose_tier(caps, quirks, options.tier);
    entry.info.is_chosen = chosen.ok() && *chosen == i;
    entry.info.memory_bytes = caps.device_local_bytes;
    list.entries.push_back(std::move(entry));
  }
  return {};
}

}  // namespace

// ---- Version, status ---------------------------------------------------------------------------------------------------------

uint32_t vl2_version_number(void) {
  return VL2_VERSION_MAJOR * 1000000 + VL2_VERSION_MINOR * 1000 + VL2_VERSION_PATCH;
}

#define VL2_TEXT_OF(x) #x
#define VL2_TEXT(x) VL2_TEXT_OF(x)

const char* vl2_version(void) {
  return VL2_TEXT(VL2_VERSION_MAJOR) "." VL2_TEXT(VL2_VERSION_MINOR) "." VL2_TEXT(VL2_VERSION_PATCH);
}

int vl2_has_feature(const char* name) {
  static constexpr const char* kFeatures[] = {
      "png",  "bmp", "gguf", "safetensors", "descriptor", "probabilities", "schema", "loop_guard",
#ifdef VL2_HAVE_JPEG
      "jpeg",
#endif
#ifdef VL2_HAVE_WEBP
      "webp",
#endif
  };
  return name != nullptr && std::any_of(std::begin(kFeatures), std::end(kFeatures),
                                        [&](const char* feature) { return std::strcmp(feature, name) == 0; });
}

const char* vl2_status_name(vl2_status status) {
  switch (status) {
    case VL2_OK: return "ok";
    case VL2_END: return "end";
    case VL2_BUSY: return "busy";
    case VL2_ERROR_ARGUMENT: return "argument";
    case VL2_ERROR_STATE: return "state";
    case VL2_ERROR_NOT_FOUND: return "not_found";
    case VL2_ERROR_FILE: return "file";
    case VL2_ERROR_UNSUPPORTED: return "unsupported";
    case VL2_ERROR_OUT_OF_MEMORY: return "out_of_memory";
    case VL2_ERROR_CONTEXT_FULL: return "context_full";
    case VL2_ERROR_BUFFER_TOO_SMALL: return "buffer_too_small";
    case VL2_ERROR_NO_DEVICE: return "no_device";
    case VL2_ERROR_DEVICE_LOST: return "device_lost";
    case VL2_ERROR_DEVICE: return "device";
    case VL2_ERROR_IO: return "io";
    case VL2_ERROR_CANCELLED: return "cancelled";
    case VL2_ERROR_INTERNAL: return "internal";
  }
  return "unknown";
}

const char* vl2_stop_reason_name(vl2_stop_reason reason) {
  switch (reason) {
    case VL2_STOP_NONE: return "";
    case VL2_STOP_END: return stop_reason_name(StopReason::EndOfSequence);
    case VL2_STOP_MAX_TOKENS: return stop_reason_name(StopReason::MaxTokens);
    case VL2_STOP_CONTEXT_FULL: return stop_reason_name(StopReason::ContextFull);
    case VL2_STOP_STOPPED: return stop_reason_name(StopReason::Stopped);
    case VL2_STOP_LOOP: return stop_reason_name(StopReason::Loop);
  }
  return "";
}

const char* vl2_last_error(void) {
  return last_error.c_str();
}

// ---- Devices -----------------------------------------------------------------------------------------------------------------

vl2_status vl2_device_list_create(vl2_device_list** list) {
  return guarded([&]() -> Outcome {
    if (list == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_device_list_create: list is NULL, wanted a place for the list");
    *list = nullptr;
    auto made = std::make_unique<vl2_device_list>();
    if (const Outcome outcome = list_devices(*made); outcome.status != VL2_OK)
      return outcome;
    *list = made.release();
    return {};
  });
}

uint32_t vl2_device_list_count(const vl2_device_list* list) {
  return list == nullptr ? 0 : static_cast<uint32_t>(list->entries.size());
}

vl2_status vl2_device_list_get(const vl2_device_list* list, uint32_t index, vl2_device_info* info) {
  return guarded([&]() -> Outcome {
    if (list == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_device_list_get: list is NULL");
    if (index >= list->entries.size())
      return refuse(VL2_ERROR_ARGUMENT, "vl2_device_list_get: got index ", index, ", there are ", list->entries.size(),
                    " devices");
    const vl2_device_list::Entry& entry = list->entries[index];
    vl2_device_info value = entry.info;
    value.name = entry.name.c_str();
    value.driver = entry.driver.c_str();
    value.uuid = entry.uuid.c_str();
    value.unusable = entry.unusable.c_str();
    return fill_struct(info, sizeof(vl2_device_info), "vl2_device_info", value);
  });
}

void vl2_device_list_free(vl2_device_list* list) {
  delete list;
}

// ---- Pictures ----------------------------------------------------------------------------------------------------------------

vl2_status vl2_image_decode(const uint8_t* file, size_t file_bytes, vl2_image** image) {
  return guarded([&]() -> Outcome {
    if (image == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_image_decode: image is NULL, wanted a place for the picture");
    *image = nullptr;
    VL2_ASSIGN(auto decoded, decode(file, file_bytes, "vl2_image_decode"));
    *image = decoded.release();
    return {};
  });
}

uint32_t vl2_image_width(const vl2_image* image) {
  return image == nullptr ? 0 : image->width;
}

uint32_t vl2_image_height(const vl2_image* image) {
  return image == nullptr ? 0 : image->height;
}

const uint8_t* vl2_image_rgb(const vl2_image* image) {
  return image == nullptr ? nullptr : image->rgb.data();
}

void vl2_image_free(vl2_image* image) {
  delete image;
}
