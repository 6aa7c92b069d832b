// Loading a model for a command: options to engine, with progress on a terminal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "app/image_file.h"
#include "model/engine.h"
#include "model/picture_encoder.h"

namespace vl2 {

/// The environment's device options with --device on top.
Result<DeviceOptions> device_options(const std::string& device);

/// Says on standard error why what `vl2 tune` kept is not used, and that experts are in host memory; nothing when all is well.
void print_notices(const Engine& engine);

/// images  that will be shown to it: what the memory is planned for; a model that cannot see is refused before anything is loaded
/// Errors  those of Engine::load
Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, const std::vector<Image>& images);
/// The same with what engine_options() gave, perhaps changed.
Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, const ModelFiles& files, EngineOptions load_options);

/// What an engine is loaded with, but for the progress.
///
/// Errors  BadArgument: no such --type or --cache-type, a --vram that is no size
Result<EngineOptions> engine_options(const ModelOptions& options);

/// The shapes of a published model for made-up weights, with room for `context` tokens.
///
/// layers  of the decoder and of the encoder, at most; 0: all
/// Errors  BadArgument: no such model
Result<Config> synthetic_config(const std::string& name, uint32_t layers, uint64_t context);

/// Reads every picture before anything is loaded, so that a bad one costs nothing.
Result<std::vector<Image>> read_images(const std::vector<std::string>& paths);

inline Picture picture_of(const Image& image) {
  return {image.width, image.height, image.rgb};
}

}  // namespace vl2
