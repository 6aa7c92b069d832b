// BMP to RGB: the uncompressed kinds, 1 to 32 bits a pixel.
#include <array>
#include <bit>

#include "app/image_decoders.h"

namespace vl2 {
namespace {

uint32_t read_u16(Bytes b, size_t at) {
  return uint32_t{b[at]} | uint32_t{b[at + 1]} << 8;
}
uint32_t read_u32(Bytes b, size_t at) {
  return read_u16(b, at) | read_u16(b, at + 2) << 16;
}

struct Bmp {
  uint32_t width = 0, height = 0, bits = 0;
  bool top_down = false;
  uint64_t pixels_at = 0;
  std::array<uint32_t, 3> masks{};     // of red, green, blue, for 16 and 32 bits
  std::array<uint8_t, 768> palette{};  // RGB
};

Status read_palette(Bytes file, size_t at, size_t entry_bytes, uint32_t count, Bmp& bmp) {
  if (count > 256 || at + entry_bytes * count > file.size())
    return fail(Code::BadFile, "BMP: a palette of ", count, " colours in a file of ", file.size(), " bytes");
  for (size_t i = 0; i < count; ++i) {
    for (size_t c = 0; c < 3; ++c)
      bmp.palette[i * 3 + c] = file[at + i * entry_bytes + 2 - c];  // stored blue first
  }
  return {};
}

Result<Bmp> parse_header(Bytes file) {
  if (file.size() < 26)
    return fail(Code::BadFile, "BMP: truncated after ", file.size(), " bytes");
  Bmp bmp{.pixels_at = read_u32(file, 10)};
  const uint32_t header_bytes = read_u32(file, 14);
  const bool is_old = header_bytes == 12;  // of OS/2: 16-bit sizes, 3 bytes a colour
  if (!is_old && (header_bytes < 40 || header_bytes > 124 || file.size() < size_t{14} + header_bytes))
    return fail(Code::BadFile, "BMP: a header of ", header_bytes, " bytes in a file of ", file.size(), " bytes");
  uint32_t compression = 0, colours = 0;
  if (is_old) {
    bmp.width = read_u16(file, 18), bmp.height = read_u16(file, 20), bmp.bits = read_u16(file, 24);
  } else {
    bmp.width = read_u32(file, 18), bmp.height = read_u32(file, 22), bmp.bits = read_u16(file, 28);
    compression = read_u32(file, 30), colours = read_u32(file, 46);
    if (bmp.height >= 0x80000000u)  // negative: rows from the top
      bmp.top_down = true, bmp.height = 0u - bmp.height;
  }
  if (compression != 0 && compression != 3)
    return fail(Code::Unsupported, "BMP: compression ", compression, " is not supported; save it uncompressed or as PNG");
  if (bmp.bits <= 8) {
    if (bmp.bits != 1 && bmp.bits != 4 && bmp.bits != 8)
      return fail(Code::BadFile, "BMP: ", bmp.bits, " bits a pixel");
    VL2_TRY(read_palette(file, size_t{14} + header_bytes, is_old ? 3 : 4, colours != 0 ? colours : 1u << bmp.bits, bmp));
  } else if (bmp.bits == 16 || bmp.bits == 32) {
    bmp.masks = bmp.bits == 16 ? std::array{0x7C00u, 0x03E0u, 0x001Fu} : std::array{0xFF0000u, 0xFF00u, 0xFFu};
    if (compression == 3) {
      if (file.size() < 66)
        return fail(Code::BadFile, "BMP: truncated before its channel masks");
      bmp.masks = {read_u32(file, 54), read_u32(file, 58), read_u32(file, 62)};
    }
    for (const uint32_t mask : bmp.masks) {
      if (mask == 0 || std::popcount(mask) > 8 || (mask >> std::countr_zero(mask) & ((mask >> std::countr_zero(mask)) + 1)) != 0)
        return fail(Code::Unsupported, "BMP: channel mask ", mask, ", wanted 1 to 8 adjacent bits");
    }
  } else if (bmp.bits != 24) {
    return fail(Code::BadFile, "BMP: ", bmp.bits, " bits a pixel");
  }
  return bmp;
}

uint8_t channel(uint32_t pixel, uint32_t mask) {
  const int shift = std::countr_zero(mask);
  return static_cast<uint8_t>(((pixel & mask) >> shift) * 255 / (mask >> shift));
}

void write_pixel(const Bmp& bmp, Bytes row, uint32_t x, uint8_t* dst) {
  if (bmp.bits <= 8) {
    const uint32_t bit = x * bmp.bits;
    const uint32_t index = static_cast<uint32_t>(row[bit / 8] >> (8 - bmp.bits - bit % 8)) & ((1u << bmp.bits) - 1);
    for (size_t c = 0; c < 3; ++c)
      dst[c] = bmp.palette[index * 3 + c];
  } else if (bmp.bits == 24) {
    for (size_t c = 0; c < 3; ++c)
      dst[c] = row[size_t{x} * 3 + 2 - c];
  } else {
    const uint32_t pixel = bmp.bits == 16 ? read_u16(row, size_t{x} * 2) : read_u32(row, size_t{x} * 4);
    for (size_t c = 0; c < 3; ++c)
      dst[c] = channel(pixel, bmp.masks[c]);
  }
}

}  // namespace

Result<Image> decode_bmp(Bytes file) {
  VL2_ASSIGN(const Bmp bmp, parse_header(file));
  const uint64_t row_bytes = (uint64_t{bmp.width} * bmp.bits + 31) / 32 * 4;
  if (uint64_t{bmp.width} * bmp.height <= kMaxImagePixels &&
      (bmp.pixels_at > file.size() || row_bytes * bmp.height > file.size() - bmp.pixels_at))
    return fail(Code::BadFile, "BMP: truncated: ", file.size(), " bytes for ", bmp.width, " x ", bmp.height, " pixels of ",
                bmp.bits, " bits");
  VL2_ASSIGN(Image image, new_image("BMP", bmp.width, bmp.height));
  for (uint32_t y = 0; y < bmp.height; ++y) {
    const uint64_t stored_y = bmp.top_down ? y : bmp.height - 1 - y;
    const Bytes row = file.subspan(bmp.pixels_at + stored_y * row_bytes, row_bytes);
    for (uint32_t x = 0; x < bmp.width; ++x)
      write_pixel(bmp, row, x, &image.rgb[(size_t{y} * bmp.width + x) * 3]);
  }
  return image;
}

}  // namespace vl2
