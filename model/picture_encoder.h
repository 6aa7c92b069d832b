// A picture becomes rows of the prompt, all of it on the device.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/scratch.h"
#include "model/tiling.h"
#include "model/vision_encoder.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Pixels of a decoded picture: height * width * 3 bytes, 8-bit sRGB, rows top to bottom without padding.
struct Picture {
  uint32_t width = 0, height = 0;
  std::span<const uint8_t> rgb;
};

/// The two canvases of a picture, and what recorded work needs until it has run.
struct PictureCanvases {
  TileGrid grid;
  Canvas global;  // [384, 384, 3]: the whole picture, one view
  Canvas local;  // [384 * tiles_h, 384 * tiles_w, 3]; of one tile: the same as global, since both fit the picture into [384, 384]
  std::vector<std::unique_ptr<Buffer>> buffers;

  bool one_tile() const { return grid.width * grid.height == 1; }
};

/// Uploads the picture and records its two pad-resizes.
///
/// pictures_in_conversation  with more than two, every picture is one tile
/// Errors  BadArgument: sides of 0, too many pixels, or so narrow that a resized side would be 0
/// Source  DeepSeek-VL2 processing_deepseek_vl_v2.py, tokenize_with_images
Result<PictureCanvases> make_canvases(Recorder& rec, const Config& config, const Picture& picture,
                                      uint32_t pictures_in_conversation);

/// A picture's place-holders filled: what the language model reads instead of the image token's embedding.
/// The views of features and tokens are the whole picture, then its tiles. A single tile is the whole picture again, encoded
/// once: both views are the same elements (a stride of 0).
struct EncodedPicture {
  TileGrid grid;
  TensorView
      features;  // act [views, 729, width] after the final norm: the encoder's output, valid until the next picture is encoded
  TensorView tokens;    // f32 [views, 196, hidden]: the projector's output, valid likewise
  TensorView sequence;  // f32 [image_token_count(grid), hidden]: lives as long as this
  std::unique_ptr<Buffer> buffer;
};

/// Records the encoding of `canvases`, and waits for it. An error may leave work that reads them under way.
///
/// between  as vision_encoder() has it
Result<EncodedPicture> encode_picture(Recorder& rec, Scratch& scratch, const Config& config, const Weights& weights,
                                      const PictureCanvases& canvases, const BetweenBlocks& between = {});

}  // namespace vl2
