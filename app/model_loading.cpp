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

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options) {
  EngineOptions engine_options;
  VL2_ASSIGN(engine_options.device, device_options(options.device));
  engine_options.context = options.context;
  const bool show = !options.quiet && ::isatty(STDERR_FILENO) != 0;
  if (show)
    engine_options.progress = [](uint64_t done, uint64_t total) {
      std::fprintf(stderr, "\rloading %3d %%", static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
    };
  auto engine = Engine::load(options.model, engine_options);
  if (show)
    std::fprintf(stderr, "\r             \r");
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
