#include "app/model_loading.h"

#include <cstdio>
#include <unistd.h>

namespace vl2 {

Result<DeviceOptions> device_options(const std::string& device) {
  VL2_ASSIGN(DeviceOptions options, device_options_from_environment());
  if (!device.empty())
    options.device = device;
  return options;
}

Result<EngineOptions> engine_options(const ModelOptions& options) {
  EngineOptions result;
  VL2_ASSIGN(result.device, device_options(options.device));
  result.context = options.context;
  if (!options.type.empty()) {
    VL2_ASSIGN(result.mix, quantize_mix_of(options.type));
  }
  return result;
}

void print_tuning_notice(const Device& device) {
  if (!device.tuning_notice().empty())
    std::fprintf(stderr, "vl2: note: %s\n", device.tuning_notice().c_str());
}

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, bool pictures) {
  VL2_ASSIGN(EngineOptions load_options, engine_options(options));
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.model));
  if (pictures) {
    VL2_ASSIGN(const Config config, files.config());
    if (const Status status = check_sees(config); !status.ok())
      return fail(status.code(), options.model, ": ", status.message());
  }
  const bool show = !options.quiet && ::isatty(STDERR_FILENO) != 0;
  if (show)
    load_options.progress = [](uint64_t done, uint64_t total) {
      std::fprintf(stderr, "\rloading %3d %%", static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
    };
  auto engine = Engine::load(files, load_options);
  if (show)
    std::fprintf(stderr, "\r             \r");
  if (engine.ok())
    print_tuning_notice((*engine)->device());
  return engine;
}

Result<std::vector<Image>> read_images(const std::vector<std::string>& paths) {
  std::vector<Image> images;
  for (const std::string& path : paths) {
    VL2_ASSIGN(Image image, read_image_file(path));
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace vl2
