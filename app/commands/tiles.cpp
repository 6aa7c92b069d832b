#include <cstdio>
#include <cstring>
#include <memory>

#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "app/output_path.h"
#include "model/npy.h"
#include "model/variants.h"

namespace vl2 {

namespace {

Status download_bytes(Recorder& rec, const TensorView& view, std::vector<uint8_t>& bytes) {
  bytes.resize(view.span_bytes());
  return rec.download(view, std::as_writable_bytes(std::span(bytes)));
}

// Cuts the canvas [height, width, 3] into its views, row-major, and appends them.
void append_views(const std::vector<uint8_t>& canvas, uint32_t tiles_w, uint32_t tiles_h, uint32_t side,
                  std::vector<uint8_t>& views) {
  const size_t row_bytes = size_t{side} * 3;
  for (uint32_t tile = 0; tile < tiles_w * tiles_h; ++tile)
    for (uint32_t y = 0; y < side; ++y) {
      const size_t row = size_t{tile / tiles_w} * side + y;
      const auto begin = canvas.begin() + static_cast<std::ptrdiff_t>((row * tiles_w + tile % tiles_w) * row_bytes);
      views.insert(views.end(), begin, begin + static_cast<std::ptrdiff_t>(row_bytes));
    }
}

Status write_views(Recorder& rec, const PictureCanvases& canvases, uint32_t side, const std::string& path) {
  std::vector<uint8_t> global, local, views;
  VL2_TRY(download_bytes(rec, canvases.global.pixels, global));
  VL2_TRY(download_bytes(rec, canvases.local.pixels, local));
  append_views(global, 1, 1, side, views);
  append_views(local, canvases.grid.width, canvases.grid.height, side, views);
  const uint64_t shape[] = {canvases.local.views + 1, side, side, 3};
  return write_npy(path, NpyDType::U8, shape, std::as_bytes(std::span(views)));
}

// How one picture is cut.
struct Plan {
  uint32_t width = 0, height = 0;
  TileGrid grid;
};

Result<std::vector<Plan>> make_plans(const TilesOptions& options, const Config& config, uint32_t count) {
  std::vector<Plan> plans;
  for (const std::string& path : options.images) {
    VL2_ASSIGN(const Image image, read_image_file(path));
    auto grid = tile_grid(image.width, image.height, config.candidate_resolutions, config.vision.image_size, count);
    if (!grid.ok())
      return fail(grid.code(), path, ": ", grid.message());
    plans.push_back({image.width, image.height, grid.take()});
  }
  return plans;
}

}  // namespace

Status tiles_command(const TilesOptions& options) {
  if (!options.npy.empty() && options.images.size() > 1)
    return fail(Code::BadArgument, "tiles: --npy takes one picture, got ", options.images.size(), "; --npy-dir takes several");
  VL2_TRY(check_output_file(options.npy));
  const Config& config = find_variant("tiny")->config;  // all variants tile alike
  const uint32_t count = options.image_count == 0 ? 1 : options.image_count, side = config.vision.image_size;
  // Every picture is read before anything is written, and read again for its pixels: they need not all fit in memory.
  VL2_ASSIGN(const std::vector<Plan> plans, make_plans(options, config, count));
  std::unique_ptr<Device> device;
  std::unique_ptr<Recorder> rec;
  if (!options.npy.empty() || !options.npy_dir.empty()) {
    VL2_ASSIGN(const DeviceOptions chosen, device_options(options.device));
    VL2_ASSIGN(device, Device::create(chosen));
    rec = std::make_unique<Recorder>(*device);
  }
  if (!options.npy_dir.empty())
    VL2_TRY(make_output_folder(options.npy_dir));
  for (size_t k = 0; k < plans.size(); ++k) {
    const std::string& path = options.images[k];
    const TileGrid& grid = plans[k].grid;
    if (rec != nullptr) {
      VL2_ASSIGN(const Image image, read_image_file(path));
      VL2_ASSIGN(const PictureCanvases canvases, make_canvases(*rec, config, picture_of(image), count));
      const std::string target = options.npy.empty() ? options.npy_dir + "/views_" + std::to_string(k) + ".npy" : options.npy;
      VL2_TRY(write_views(*rec, canvases, side, target));
    }
    std::printf("%s: %u x %u, canvas %u x %u, tiles %u x %u, %llu tokens\n", path.c_str(), plans[k].width, plans[k].height,
                grid.width * side, grid.height * side, grid.width, grid.height,
                static_cast<unsigned long long>(image_token_count(grid, config.tokens_per_side())));
  }
  return {};
}

}  // namespace vl2
