#include "app/model_loading.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include "app/byte_size.h"
#include "model/variants.h"

namespace vl2 {

Result<DeviceOptions> device_options(const std::string& device) {
  VL2_ASSIGN(DeviceOptions options, device_options_from_environment());
  if (!device.empty())
    options.device = device;
  return options;
}

Result<uint32_t> cache_type_of(const ModelOptions& options) {
  const std::string &both = options.cache_type, &keys = options.cache_type_k, &values = options.cache_type_v;
  if (keys != values)
    return fail(Code::BadArgument, "--cache-type-k and --cache-type-v: got \"", keys, "\" and \"", values,
                "\", wanted the same for both, which --cache-type says at once");
  if (!both.empty() && !keys.empty() && both != keys)
    return fail(Code::BadArgument, "--cache-type ", both, " and --cache-type-k ", keys, ": wanted one of them");
  if (both.empty() && keys.empty())
    return static_cast<uint32_t>(CacheType::F16);
  VL2_ASSIGN(const CacheType type, cache_type_of(both.empty() ? keys : both, both.empty() ? "--cache-type-k" : "--cache-type"));
  return static_cast<uint32_t>(type);
}

Result<EngineOptions> engine_options(const ModelOptions& options) {
  EngineOptions result;
  VL2_ASSIGN(result.device, device_options(options.device));
  if (!options.vram.empty()) {
    VL2_ASSIGN(result.device.heap_limit_bytes, parse_byte_size(options.vram, "--vram"));
  }
  if (!options.ram.empty()) {
    VL2_ASSIGN(result.host_limit_bytes, parse_byte_size(options.ram, "--ram"));
  }
  result.picture_cache = options.picture_cache.empty() ? kSparePictureCache : 0;
  if (!options.picture_cache.empty() && options.picture_cache != "0") {
    VL2_ASSIGN(result.picture_cache, parse_byte_size(options.picture_cache, "--picture-cache"));
  }
  result.expert_cache = !options.no_expert_cache;
  result.context = options.context;
  result.chunk = options.chunk;
  result.tiles = options.tiles;
  VL2_ASSIGN(const uint32_t cache_type, cache_type_of(options));
  result.cache_type = static_cast<CacheType>(cache_type);
  if (!options.type.empty()) {
    VL2_ASSIGN(result.mix, quantize_mix_of(options.type));
  }
  return result;
}

void print_notices(const Engine& engine) {
  for (const std::string& notice : {engine.device().tuning_notice(), engine.memory_notice()})
    if (!notice.empty())
      std::fprintf(stderr, "vl2: note: %s\n", notice.c_str());
}

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, const std::vector<Image>& images) {
  VL2_ASSIGN(EngineOptions load_options, engine_options(options));
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.model));
  load_options.pictures.emplace();
  for (const Image& image : images)
    load_options.pictures->push_back({image.width, image.height});
  if (!images.empty()) {
    VL2_ASSIGN(const Config config, files.config());
    if (const Status status = check_sees(config); !status.ok())
      return fail(status.code(), options.model, ": ", status.message());
  }
  return load_engine(options, files, std::move(load_options));
}

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, const ModelFiles& files, EngineOptions load_options) {
  const bool show = !options.quiet && ::isatty(STDERR_FILENO) != 0;
  if (show)
    load_options.progress = [](uint64_t done, uint64_t total) {
      std::fprintf(stderr, "\rloading %3d %%", static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
    };
  auto engine = Engine::load(files, load_options);
  if (show)
    std::fprintf(stderr, "\r             \r");
  if (engine.ok())
    print_notices(**engine);
  return engine;
}

Result<Config> synthetic_config(const std::string& name, uint32_t layers, uint64_t context) {
  const Variant* variant = find_variant(name);
  if (variant == nullptr)
    return fail(Code::BadArgument, "--synthetic ", name, ": wanted tiny, small or base");
  Config config = variant->config;
  if (layers > 0) {
    config.language.num_hidden_layers = std::min(config.language.num_hidden_layers, layers);
    config.vision.layers = std::min(config.vision.layers, layers);
  }
  config.language.max_position_embeddings = static_cast<uint32_t>(std::max<uint64_t>(context, 4096));
  return config;
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
