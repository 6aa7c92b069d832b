#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/commands/commands.h"
#include "app/model_loading.h"

namespace vl2 {

Status devices_command(const DevicesOptions& options) {
  VL2_ASSIGN(const DeviceOptions device, device_options(""));
  VL2_ASSIGN(const auto instance, Instance::create({}));
  VL2_ASSIGN(const std::vector<DeviceEntry> entries, instance->devices());
  const Result<size_t> chosen = choose_device(entries, device.device);
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < entries.size(); ++i) {
    const DeviceCaps& caps = entries[i].caps;
    VL2_ASSIGN(const Quirks quirks, find_quirks(caps, device.quirks));
    const uint32_t tier = choose_tier(caps, quirks, device.tier);
    const bool is_chosen = chosen.ok() && *chosen == i;
    if (options.json) {
      nlohmann::json shapes = nlohmann::json::array();
      for (const MatrixShape& shape : caps.matrix_shapes)
        shapes.push_back({{"m", shape.m}, {"n", shape.n}, {"k", shape.k}, {"sum", shape.f32_sum ? "f32" : "f16"}});
      list.push_back({{"index", i},
                      {"name", caps.name},
                      {"type", device_type_name(caps.type)},
                      {"driver", caps.driver_name + " " + caps.driver_info},
                      {"uuid", caps.uuid},
                      {"memory_bytes", caps.device_local_bytes},
                      {"tier", tier},
                      {"cores", caps.cores},
                      {"matrix_shapes", shapes},
                      {"chosen", is_chosen},
                      {"unusable", entries[i].unusable}});
      continue;
    }
    std::printf("%c %zu  %s\n     %s, %s %s, %.1f GB, tier %u, uuid %s\n", is_chosen ? '*' : ' ', i, caps.name.c_str(),
                device_type_name(caps.type), caps.driver_name.c_str(), caps.driver_info.c_str(),
                static_cast<double>(caps.device_local_bytes) * 1e-9, tier, caps.uuid.c_str());
    if (!entries[i].unusable.empty())
      std::printf("     cannot be used: %s\n", entries[i].unusable.c_str());
  }
  if (options.json)
    std::printf("%s\n", list.dump(2).c_str());
  return chosen.status();
}

}  // namespace vl2
