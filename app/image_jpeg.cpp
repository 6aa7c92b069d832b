// JPEG to RGB, through libjpeg-turbo where the build has it: its slow integer transform and smooth chroma upsampling, which are
// its defaults and Pillow's, are part of getting the same pixels.
#include "app/image_decoders.h"

#ifdef VL2_HAVE_JPEG
#include <csetjmp>
#include <cstdio>  // jpeglib.h wants FILE
#include <jerror.h>
#include <jpeglib.h>
#endif

namespace vl2 {

#ifdef VL2_HAVE_JPEG
namespace {

constexpr int kMaxScans = 500;  // a progressive file of a few kilobytes could ask for millions of passes over the picture

// What the C callbacks share. Functions that call setjmp keep no object with a destructor and change no local after it.
struct Decoder {
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }  // does nothing when it was never created

  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf on_error;
  char message[JMSG_LENGTH_MAX] = {};
};

Decoder& decoder_of(j_common_ptr jpeg) {
  return *static_cast<Decoder*>(jpeg->client_data);
}

[[noreturn]] void give_up(j_common_ptr jpeg) {
  Decoder& decoder = decoder_of(jpeg);
  if (decoder.message[0] == '\0')
    jpeg->err->format_message(jpeg, decoder.message);
  std::longjmp(decoder.on_error, 1);
}

// libjpeg goes on after damage and paints the rest grey; only what leaves the pixels alone may pass.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0)
    return;  // a trace
  const int code = jpeg->err->msg_code;
  if (code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR)
    give_up(jpeg);
}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans) {
    std::snprintf(decoder_of(jpeg).message, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
    give_up(jpeg);
  }
}

// Creates the decompressor and reads the header; false with decoder.message set.
bool open(Decoder& decoder, Bytes file) {
  if (setjmp(decoder.on_error) != 0)  // NOLINT: libjpeg's way of reporting errors
    return false;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = give_up;
  decoder.errors.emit_message = on_message;
  decoder.jpeg.client_data = &decoder;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.progress.progress_monitor = on_progress;
  decoder.jpeg.progress = &decoder.progress;
  jpeg_mem_src(&decoder.jpeg, file.data(), static_cast<unsigned long>(file.size()));
  return jpeg_read_header(&decoder.jpeg, TRUE) == JPEG_HEADER_OK;
}

// Decodes into `pixels`, rows of `row_bytes`; false with decoder.message set.
bool decode_rows(Decoder& decoder, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(decoder.on_error) != 0)  // NOLINT
    return false;
  jpeg_start_decompress(&decoder.jpeg);
  while (decoder.jpeg.output_scanline < decoder.jpeg.output_height) {
    JSAMPROW row = pixels + decoder.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.jpeg, &row, 1);
  }
  return true;  // what follows the last row, an end mark or not, changes no pixel
}

// Pillow's CMYK to RGB, where libjpeg's values are the inverted ones that Adobe writes.
void cmyk_to_rgb(const std::vector<uint8_t>& cmyk, std::vector<uint8_t>& rgb) {
  for (size_t i = 0; i < rgb.size() / 3; ++i) {
    const uint32_t not_black = cmyk[i * 4 + 3];
    for (size_t c = 0; c < 3; ++c) {
      const uint32_t product = (255u - cmyk[i * 4 + c]) * not_black + 128;
      rgb[i * 3 + c] = static_cast<uint8_t>(not_black - (((product >> 8) + product) >> 8));  // product / 255, rounded
    }
  }
}

Result<Image> decode_with(Decoder& decoder, Bytes file) {
  if (!open(decoder, file))
    return fail(Code::BadFile, "JPEG: ", decoder.message);
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  VL2_ASSIGN(Image image, new_image("JPEG", jpeg.image_width, jpeg.image_height));
  bool good = false;
  if (jpeg.num_components == 1) {
    jpeg.out_color_space = JCS_GRAYSCALE;
    std::vector<uint8_t> grey(size_t{image.width} * image.height);
    good = decode_rows(decoder, grey.data(), image.width);
    for (size_t i = 0; i < image.rgb.size(); ++i)
      image.rgb[i] = grey[i / 3];
  } else if (jpeg.num_components == 3) {
    jpeg.out_color_space = JCS_RGB;
    good = decode_rows(decoder, image.rgb.data(), size_t{image.width} * 3);
  } else if (jpeg.num_components == 4) {
    jpeg.out_color_space = JCS_CMYK;
    std::vector<uint8_t> cmyk(size_t{image.width} * image.height * 4);
    good = decode_rows(decoder, cmyk.data(), size_t{image.width} * 4);
    cmyk_to_rgb(cmyk, image.rgb);
  } else {
    return fail(Code::BadFile, "JPEG: ", jpeg.num_components, " colour channels, wanted 1, 3 or 4");
  }
  if (!good)
    return fail(Code::BadFile, "JPEG: truncated or corrupt: ", decoder.message);
  return image;
}

}  // namespace

Result<Image> decode_jpeg(Bytes file) {
  Decoder decoder;
  return decode_with(decoder, file);
}
#else
Result<Image> decode_jpeg(Bytes) {
  return fail(Code::Unsupported, "JPEG: this program was built without libjpeg; run third_party/setup.sh and build again");
}
#endif

}  // namespace vl2
