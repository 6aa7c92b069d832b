// The one file that includes stb: its inflate, and its PNG writer.
//
// stb's own PNG and BMP readers are not used: they check no checksum, fill what a truncated file lacks with zeros, and read a
// palette past its end, where we owe the user an error or Pillow's pixels.
#define STBI_NO_STDIO
#define STBI_NO_JPEG
#define STBI_NO_PNG
#define STBI_NO_BMP
#define STBI_NO_PSD
#define STBI_NO_TGA
#define STBI_NO_GIF
#define STBI_NO_HDR
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STBI_SUPPORT_ZLIB
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"  // a static library of functions, of which we call three
#include <stb_image.h>
#include <stb_image_write.h>
#pragma GCC diagnostic pop

#include <limits>

#include "app/image_decoders.h"

namespace vl2 {

bool inflate_exactly(Bytes zlib_stream, std::span<uint8_t> out) {
  constexpr size_t kMax = std::numeric_limits<int>::max();
  if (zlib_stream.size() > kMax || out.size() > kMax)
    return false;
  const int written =
      stbi_zlib_decode_buffer(reinterpret_cast<char*>(out.data()), static_cast<int>(out.size()),
                              reinterpret_cast<const char*>(zlib_stream.data()), static_cast<int>(zlib_stream.size()));
  return written >= 0 && static_cast<size_t>(written) == out.size();
}

std::vector<uint8_t> encode_png(const Image& image) {
  std::vector<uint8_t> file;
  const auto append = [](void* context, void* data, int size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    static_cast<std::vector<uint8_t>*>(context)->assign(bytes, bytes + size);  // called once, with the whole file
  };
  stbi_write_png_to_func(append, &file, static_cast<int>(image.width), static_cast<int>(image.height), 3, image.rgb.data(),
                         static_cast<int>(image.width * 3));
  return file;
}

}  // namespace vl2
