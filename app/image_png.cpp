// PNG to RGB: chunks and their checksums, inflate, row filters, Adam7, every colour type and depth.
//
// Source  the PNG specification (ISO/IEC 15948); what RGB means for each mode: Pillow's Image.convert("RGB")
#include <array>
#include <cstring>
#include <limits>
#include <string_view>

#include "app/image_decoders.h"

namespace vl2 {
namespace {

enum ColorType : uint8_t { kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6 };

struct Header {
  uint32_t width = 0, height = 0;
  uint8_t depth = 0, color = 0, interlaced = 0;
  uint32_t channels = 0;

  uint64_t row_bytes(uint64_t pixels) const { return (pixels * channels * depth + 7) / 8; }
};

struct File {
  Header header;
  std::array<uint8_t, 768> palette{};  // RGB; entries that the file leaves out are black, as in Pillow 11
  bool has_palette = false;
  std::vector<uint8_t> data;  // the zlib stream: all IDAT chunks
};

uint32_t read_u32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

uint32_t crc32(Bytes bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t c = n;
      for (int bit = 0; bit < 8; ++bit)
        c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  uint32_t crc = 0xFFFFFFFFu;
  for (const uint8_t byte : bytes)
    crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

Result<Header> parse_header(Bytes body) {
  if (body.size() != 13)
    return fail(Code::BadFile, "PNG: its header has ", body.size(), " bytes, wanted 13");
  Header h{.width = read_u32(&body[0]), .height = read_u32(&body[4]), .depth = body[8], .color = body[9], .interlaced = body[12]};
  const auto depth_is = [&](std::initializer_list<int> allowed) {
    for (const int depth : allowed) {
      if (h.depth == depth)
        return true;
    }
    return false;
  };
  bool good = false;
  switch (h.color) {
    case kGrey: h.channels = 1, good = depth_is({1, 2, 4, 8, 16}); break;
    case kPalette: h.channels = 1, good = depth_is({1, 2, 4, 8}); break;
    case kGreyAlpha: h.channels = 2, good = depth_is({8, 16}); break;
    case kRgb: h.channels = 3, good = depth_is({8, 16}); break;
    case kRgba: h.channels = 4, good = depth_is({8, 16}); break;
    default: break;
  }
  if (!good)
    return fail(Code::BadFile, "PNG: no such thing as colour type ", int{h.color}, " with ", int{h.depth}, " bits");
  if (body[10] != 0 || body[11] != 0 || h.interlaced > 1)
    return fail(Code::BadFile, "PNG: unknown compression, filter or interlace method ", int{body[10]}, ", ", int{body[11]}, ", ",
                int{h.interlaced});
  return h;
}

// Walks the chunks up to the end of the picture's data; checks the checksum of each chunk that pixels depend on.
Result<File> read_chunks(Bytes bytes) {
  File file;
  bool has_header = false;
  for (size_t at = 8;;) {
    if (bytes.size() - at < 12) {
      if (!file.data.empty())
        return file;  // everything but the end mark is there, and the data's own checksum was right
      return fail(Code::BadFile, "PNG: truncated after ", bytes.size(), " bytes, before its data");
    }
    const uint64_t size = read_u32(&bytes[at]);
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    if (type != "IDAT" && !file.data.empty())
      return file;  // the data chunks are consecutive
    if (size > bytes.size() - at - 12)
      return fail(Code::BadFile, "PNG: truncated: a chunk of ", size, " bytes at byte ", at, " of ", bytes.size());
    const Bytes body = bytes.subspan(at + 8, size);
    const bool critical = (bytes[at + 4] & 0x20) == 0;
    if (critical && crc32(bytes.subspan(at + 4, size + 4)) != read_u32(&bytes[at + 8 + size]))
      return fail(Code::BadFile, "PNG: corrupt: wrong checksum of the chunk at byte ", at);
    if (has_header == (type == "IHDR"))
      return fail(Code::BadFile, "PNG: its first chunk, and no other, must be the header");
    if (type == "IHDR") {
      VL2_ASSIGN(file.header, parse_header(body));
      has_header = true;
    } else if (type == "PLTE") {
      if (size % 3 != 0 || size > file.palette.size())
        return fail(Code::BadFile, "PNG: a palette of ", size, " bytes, wanted a multiple of 3 up to 768");
      std::memcpy(file.palette.data(), body.data(), size);
      file.has_palette = true;
    } else if (type == "IDAT") {
      file.data.insert(file.data.end(), body.begin(), body.end());
    } else if (critical) {
      return fail(Code::BadFile, "PNG: ", type == "IEND" ? "holds no picture data" : "unknown critical chunk", " at byte ", at);
    }
    at += 12 + size;
  }
}

// Undoes the row filters of `rows` rows in place; each row is one filter byte and row_bytes bytes. step: bytes a pixel, at
// least 1.
Status unfilter(std::span<uint8_t> data, uint64_t rows, size_t row_bytes, size_t step) {
  const uint8_t* above = nullptr;
  for (uint64_t row = 0; row < rows; ++row) {
    const uint8_t filter = data[row * (row_bytes + 1)];
    uint8_t* const x = &data[row * (row_bytes + 1)] + 1;
    if (filter > 4)
      return fail(Code::BadFile, "PNG: corrupt: row filter ", int{filter}, " in row ", row);
    for (size_t i = 0; i < row_bytes && filter != 0; ++i) {
      const int left = i >= step ? x[i - step] : 0;
      const int up = above != nullptr ? above[i] : 0;
      const int corner = above != nullptr && i >= step ? above[i - step] : 0;
      int guess = 0;
      switch (filter) {
        case 1: guess = left; break;
        case 2: guess = up; break;
        case 3: guess = (left + up) / 2; break;
        default: {  // Paeth: whichever of the three is nearest to left + up - corner
          const int to_left = std::abs(up - corner), to_up = std::abs(left - corner),
                    to_corner = std::abs(left + up - 2 * corner);
          guess = to_left <= to_up && to_left <= to_corner ? left : to_up <= to_corner ? up : corner;
        }
      }
      x[i] = static_cast<uint8_t>(x[i] + guess);
    }
    above = x;
  }
  return {};
}

// One unfiltered row to RGB, `dst_step` bytes from pixel to pixel.
void write_row(const File& file, const uint8_t* row, uint32_t pixels, uint8_t* dst, size_t dst_step) {
  const Header& h = file.header;
  const uint32_t channel_bytes = h.depth == 16 ? 2 : 1;
  const uint32_t pixel_bytes = h.channels * channel_bytes;
  const uint32_t max_sample = (1u << (h.depth < 8 ? h.depth : 8)) - 1;
  for (uint32_t i = 0; i < pixels; ++i, dst += dst_step) {
    if (h.channels >= 3) {
      for (uint32_t c = 0; c < 3; ++c)
        dst[c] = row[i * pixel_bytes + c * channel_bytes];
      continue;
    }
    const uint32_t bit = i * h.depth;  // for the depths below 8, which have one channel
    uint32_t sample =
        h.depth < 8 ? static_cast<uint32_t>(row[bit / 8] >> (8 - h.depth - bit % 8)) & max_sample : row[i * pixel_bytes];
    if (h.color == kPalette) {
      std::memcpy(dst, &file.palette[sample * 3], 3);
      continue;
    }
    if (h.depth < 8)
      sample = sample * 255 / max_sample;
    else if (h.depth == 16 && h.color == kGrey && sample != 0)  // Pillow clips 16-bit grey, it does not scale
      sample = 255;
    else if (h.depth == 16 && h.color == kGrey)
      sample = row[i * pixel_bytes + 1];
    std::memset(dst, static_cast<int>(sample), 3);
  }
}

struct Pass {
  uint32_t x0, y0, dx, dy;  // the first pixel and the steps
};
constexpr Pass kWhole[] = {{0, 0, 1, 1}};
constexpr Pass kAdam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

uint32_t count(uint32_t size, uint32_t first, uint32_t step) {
  return size > first ? (size - first - 1) / step + 1 : 0;
}

}  // namespace

Result<Image> decode_png(Bytes bytes) {
  VL2_ASSIGN(const File file, read_chunks(bytes));
  const Header& h = file.header;
  if (h.color == kPalette && !file.has_palette)
    return fail(Code::BadFile, "PNG: has palette pixels and no palette");
  const std::span<const Pass> passes = h.interlaced != 0 ? std::span<const Pass>(kAdam7) : std::span<const Pass>(kWhole);
  uint64_t total = 0;
  if (h.width <= kMaxImagePixels && h.height <= kMaxImagePixels) {  // else refused by new_image; these sums could overflow
    for (const Pass& pass : passes) {
      const uint64_t columns = count(h.width, pass.x0, pass.dx);
      total += columns == 0 ? 0 : count(h.height, pass.y0, pass.dy) * (1 + h.row_bytes(columns));
    }
  }
  if (uint64_t{h.width} * h.height <= kMaxImagePixels) {
    if (total > std::numeric_limits<int>::max())  // what inflate counts in
      return fail(Code::Unsupported, "PNG: ", h.width, " x ", h.height, " is too large at ", h.depth * h.channels,
                  " bits a pixel");
    if (total / 1032 > file.data.size())  // deflate never packs better than that: refuse before allocating
      return fail(Code::BadFile, "PNG: truncated: ", file.data.size(), " bytes of data for ", h.width, " x ", h.height,
                  " pixels");
  }
  VL2_ASSIGN(Image image, new_image("PNG", h.width, h.height));
  std::vector<uint8_t> raw(total);
  if (!inflate_exactly(file.data, raw))
    return fail(Code::BadFile, "PNG: corrupt: its data does not unpack to ", h.width, " x ", h.height, " pixels");

  size_t at = 0;
  for (const Pass& pass : passes) {
    const uint32_t columns = count(h.width, pass.x0, pass.dx), rows = count(h.height, pass.y0, pass.dy);
    if (columns == 0 || rows == 0)
      continue;
    const size_t row_bytes = h.row_bytes(columns);
    const auto part = std::span(raw).subspan(at, rows * (row_bytes + 1));
    VL2_TRY(unfilter(part, rows, row_bytes, std::max<size_t>(1, size_t{h.channels} * h.depth / 8)));
    for (uint32_t row = 0; row < rows; ++row) {
      const size_t y = pass.y0 + size_t{row} * pass.dy;
      write_row(file, &part[row * (row_bytes + 1) + 1], columns, &image.rgb[(y * h.width + pass.x0) * 3], size_t{3} * pass.dx);
    }
    at += part.size();
  }
  return image;
}

}  // namespace vl2
