#include "model/picture_encoder.h"

#include "model/projector.h"
#include "runtime/device.h"
#include "runtime/ops/image_sequence.h"
#include "runtime/ops/pad_resize.h"
#include "runtime/upload.h"

namespace vl2 {

namespace {

// What make_canvases works with: the device, and the list that keeps its buffers alive.
struct CanvasMaker {
  Recorder& rec;
  std::vector<std::unique_ptr<Buffer>>& buffers;

  Result<TensorView> allocate(DType dtype, std::initializer_list<uint32_t> dims, const char* name) {
    uint64_t bytes = dtype_bytes(dtype);
    for (const uint32_t dim : dims)
      bytes *= dim;
    VL2_ASSIGN(auto buffer, rec.device().memory().allocate(bytes, MemoryKind::Device, name));
    buffers.push_back(std::move(buffer));
    return make_view(*buffers.back(), dtype, dims);
  }

  Result<ResampleAxis> axis(uint32_t in, uint32_t out) {
    ResampleAxis axis;
    if (in == out)
      return axis;
    const ResampleTable table = precompute_bicubic(in, out);
    VL2_ASSIGN(axis.bounds, allocate(DType::I32, {out, 2}, "resample bounds"));
    VL2_ASSIGN(axis.weights, allocate(DType::I32, {out, table.taps}, "resample weights"));
    VL2_TRY(upload_bytes(rec.device(), *axis.bounds.buffer, std::as_bytes(std::span(table.bounds))));
    VL2_TRY(upload_bytes(rec.device(), *axis.weights.buffer, std::as_bytes(std::span(table.weights))));
    return axis;
  }

  Result<TensorView> canvas(const TensorView& picture, uint32_t width, uint32_t height) {
    const uint32_t picture_height = picture.dim(0), picture_width = picture.dim(1);
    VL2_ASSIGN(const FitRect fit, pad_fit(picture_width, picture_height, width, height));
    PadResize resize{.fit_width = fit.width, .fit_height = fit.height, .x = fit.x, .y = fit.y};
    VL2_ASSIGN(resize.horizontal, axis(picture_width, fit.width));
    VL2_ASSIGN(resize.vertical, axis(picture_height, fit.height));
    if (!resize.horizontal.empty()) {
      VL2_ASSIGN(resize.scratch, allocate(DType::U8, {picture_height, fit.width, 3}, "resize scratch"));
    }
    VL2_ASSIGN(const TensorView pixels, allocate(DType::U8, {height, width, 3}, "canvas"));
    VL2_TRY(pad_resize(rec, picture, resize, pixels));
    return pixels;
  }
};

}  // namespace

Result<PictureCanvases> make_canvases(Recorder& rec, const Config& config, const Picture& picture,
                                      uint32_t pictures_in_conversation) {
  PictureCanvases result;
  VL2_TRY(check_sees(config));
  VL2_TRY(check_picture_size(picture.width, picture.height));
  VL2_ASSIGN(result.grid, tile_grid(picture.width, picture.height, config.candidate_resolutions, config.vision.image_size,
                                    pictures_in_conversation));
  CanvasMaker maker{rec, result.buffers};
  VL2_ASSIGN(const TensorView pixels, maker.allocate(DType::U8, {picture.height, picture.width, 3}, "picture"));
  VL2_TRY(upload_bytes(rec.device(), *pixels.buffer, std::as_bytes(picture.rgb)));
  const uint32_t side = config.vision.image_size;
  VL2_ASSIGN(result.global.pixels, maker.canvas(pixels, side, side));
  result.global.views = 1;
  result.local = result.global;
  if (!result.one_tile()) {
    VL2_ASSIGN(result.local.pixels, maker.canvas(pixels, side * result.grid.width, side * result.grid.height));
    result.local.views = result.grid.width * result.grid.height;
  }
  return result;
}

Result<EncodedPicture> encode_picture(Recorder& rec, Scratch& scratch, const Config& config, const Weights& weights,
                                      const PictureCanvases& canvases, const BetweenBlocks& between) {
  // One tile shows what the whole picture shows, pixel for pixel: encoded once, read twice.
  std::vector<Canvas> different{canvases.global};
  if (!canvases.one_tile())
    different.push_back(canvases.local);
  const uint32_t views = canvases.one_tile() ? 1 : 1 + canvases.local.views, hidden = config.language.hidden_size;
  EncodedPicture encoded;
  encoded.grid = canvases.grid;
  VL2_ASSIGN(encoded.features,
             scratch.get("vision features", rec.device().act(), {views, config.vision.tokens(), config.vision.width}));
  VL2_ASSIGN(encoded.tokens, scratch.get("vision tokens", DType::F32, {views, config.tokens_per_view(), hidden}));
  VL2_TRY(vision_encoder(rec, scratch, config.vision, weights.vision, different, encoded.features, between));
  VL2_TRY(projector(rec, scratch, config, weights.projector, encoded.features, encoded.tokens));
  if (canvases.one_tile())
    for (TensorView* view : {&encoded.features, &encoded.tokens}) {
      view->dims[0] = 2;
      view->strides[0] = 0;
    }

  const ImageGrid grid{.tiles_w = canvases.grid.width, .tiles_h = canvases.grid.height, .side = config.tokens_per_side()};
  const auto rows = static_cast<uint32_t>(grid.row_count());
  VL2_ASSIGN(encoded.buffer, rec.device().memory().allocate(uint64_t{rows} * hidden * 4, MemoryKind::Device, "image sequence"));
  encoded.sequence = make_view(*encoded.buffer, DType::F32, {rows, hidden});
  const Status assembled = image_sequence(rec, encoded.tokens, weights.projector.image_newline, weights.projector.view_separator,
                                          grid, encoded.sequence);
  VL2_TRY(rec.finish());  // before the buffer may go
  VL2_TRY(assembled);
  scratch.drop_outgrown();
  return encoded;
}

}  // namespace vl2
