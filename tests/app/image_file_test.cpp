// app/image_file.cpp: every PNG mode against pixels worked out by hand or printed by Pillow, the other formats, hostile files.
//
// tests/pixels_vs_pillow.py compares whole pictures with Pillow; here stands what it cannot make: odd chunks, damage, lies.
#include "app/image_file.h"

#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>

#ifdef VL2_HAVE_JPEG
#include <cstdio>
#include <jpeglib.h>
#endif
#ifdef VL2_HAVE_WEBP
#include <webp/encode.h>
#endif

using namespace vl2;

namespace {

using Buffer = std::vector<uint8_t>;

void put_u32(Buffer& out, uint32_t value) {
  for (const int shift : {24, 16, 8, 0})
    out.push_back(static_cast<uint8_t>(value >> shift));
}

// Bit by bit, as the PNG specification defines it: slow, and unlike the table in the decoder.
uint32_t slow_crc(const uint8_t* bytes, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool one = ((crc ^ (uint32_t{bytes[i]} >> bit)) & 1) != 0;
      crc = (crc >> 1) ^ (one ? 0xEDB88320u : 0u);
    }
  }
  return ~crc;
}

void put_chunk(Buffer& out, const std::string& type, const Buffer& body) {
  put_u32(out, static_cast<uint32_t>(body.size()));
  const size_t at = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), body.begin(), body.end());
  put_u32(out, slow_crc(out.data() + at, out.size() - at));
}

// A zlib stream that stores its bytes unpacked.
Buffer store(const Buffer& raw) {
  Buffer out = {0x78, 0x01};
  size_t at = 0;
  do {
    const size_t size = std::min<size_t>(raw.size() - at, 65535);
    out.push_back(at + size == raw.size() ? 1 : 0);
    for (const size_t field : {size, ~size}) {
      out.push_back(static_cast<uint8_t>(field));
      out.push_back(static_cast<uint8_t>(field >> 8));
    }
    out.insert(out.end(), raw.begin() + static_cast<ptrdiff_t>(at), raw.begin() + static_cast<ptrdiff_t>(at + size));
    at += size;
  } while (at < raw.size());
  uint32_t a = 1, b = 0;
  for (const uint8_t byte : raw)
    a = (a + byte) % 65521, b = (b + a) % 65521;
  put_u32(out, b << 16 | a);
  return out;
}

struct PngParts {
  uint32_t width = 1, height = 1;
  uint8_t depth = 8, color = 0, interlace = 0;
  Buffer rows = {};  // filter bytes included
  Buffer palette = {};
};

Buffer png(const PngParts& p) {
  Buffer out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Buffer header;
  put_u32(header, p.width);
  put_u32(header, p.height);
  header.insert(header.end(), {p.depth, p.color, 0, 0, p.interlace});
  put_chunk(out, "IHDR", header);
  if (!p.palette.empty())
    put_chunk(out, "PLTE", p.palette);
  put_chunk(out, "IDAT", store(p.rows));
  put_chunk(out, "IEND", {});
  return out;
}

Buffer pixels_of(const Buffer& file) {
  const auto image = decode_image(file);
  INFO(image.message());
  REQUIRE(image.ok());
  return image->rgb;
}

Buffer grey(std::initializer_list<uint8_t> values) {
  Buffer out;
  for (const uint8_t v : values)
    out.insert(out.end(), 3, v);
  return out;
}

std::string refusal(const Buffer& file) {
  const auto image = decode_image(file);
  REQUIRE_FALSE(image.ok());
  CHECK(image.message().find('\n') == std::string::npos);
  return image.message();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct TempFolder {
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "vl2_image_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace

TEST_SUITE("cpu") {
  // The expected pixels here were printed by Pillow 9.4.0 and 11.1.0 for the same files.
  TEST_CASE("image_file: grey of 1, 2, 4 and 8 bits is scaled to 255") {
    CHECK(pixels_of(png({.width = 4, .depth = 1, .rows = {0, 0b0001'1011}})) == grey({0, 0, 0, 255}));
    CHECK(pixels_of(png({.width = 4, .depth = 2, .rows = {0, 0b0001'1011}})) == grey({0, 85, 170, 255}));
    CHECK(pixels_of(png({.width = 4, .depth = 4, .rows = {0, 0x1b, 0x1b}})) == grey({17, 187, 17, 187}));
    CHECK(pixels_of(png({.width = 4, .depth = 8, .rows = {0, 0, 1, 128, 255}})) == grey({0, 1, 128, 255}));
  }

  TEST_CASE("image_file: 16-bit grey is clipped, every other 16-bit channel keeps its high byte") {
    CHECK(pixels_of(png({.width = 5, .depth = 16, .rows = {0, 0, 0, 0, 100, 0, 255, 1, 0, 0x80, 7}})) ==
          grey({0, 100, 255, 255, 255}));
    CHECK(pixels_of(png({.width = 2, .depth = 16, .color = 4, .rows = {0, 0x12, 0x34, 0, 0, 0x00, 0xff, 0xff, 0xff}})) ==
          grey({0x12, 0}));
    CHECK(pixels_of(png({.depth = 16, .color = 2, .rows = {0, 0x12, 0xff, 0x00, 0x80, 0xff, 0x7f}})) == Buffer{0x12, 0, 0xff});
    CHECK(pixels_of(png({.depth = 16, .color = 6, .rows = {0, 1, 2, 3, 4, 5, 6, 0, 0}})) == Buffer{1, 3, 5});
  }

  TEST_CASE("image_file: alpha is dropped, not composited") {
    CHECK(pixels_of(png({.width = 2, .color = 6, .rows = {0, 10, 20, 30, 0, 40, 50, 60, 255}})) ==
          Buffer{10, 20, 30, 40, 50, 60});
    CHECK(pixels_of(png({.width = 2, .color = 4, .rows = {0, 10, 0, 20, 255}})) == grey({10, 20}));
  }

  TEST_CASE("image_file: palettes of every depth, and black past a palette's end") {
    const Buffer palette = {10, 20, 30, 40, 50, 60};
    const Buffer a = {10, 20, 30}, b = {40, 50, 60}, none = {0, 0, 0};
    const auto joined = [](std::initializer_list<Buffer> parts) {
      Buffer all;
      for (const Buffer& part : parts)
        all.insert(all.end(), part.begin(), part.end());
      return all;
    };
    CHECK(pixels_of(png({.width = 4, .depth = 1, .color = 3, .rows = {0, 0x1b}, .palette = palette})) == joined({a, a, a, b}));
    CHECK(pixels_of(png({.width = 4, .depth = 2, .color = 3, .rows = {0, 0x1b}, .palette = palette})) ==
          joined({a, b, none, none}));
    CHECK(pixels_of(png({.width = 2, .depth = 4, .color = 3, .rows = {0, 0x1b}, .palette = palette})) == joined({b, none}));
    CHECK(pixels_of(png({.width = 3, .depth = 8, .color = 3, .rows = {0, 0, 1, 255}, .palette = palette})) ==
          joined({a, b, none}));
    CHECK(contains(refusal(png({.depth = 8, .color = 3, .rows = {0, 0}})), "no palette"));
  }

  TEST_CASE("image_file: the five row filters") {
    // By hand from the specification: what the second row becomes below 100, 80, 30.
    const auto second_row = [&](const Buffer& row) {
      Buffer rows = {0, 100, 80, 30};
      rows.insert(rows.end(), row.begin(), row.end());
      const Buffer all = pixels_of(png({.width = 3, .height = 2, .rows = rows}));
      return Buffer{all[9], all[12], all[15]};
    };
    CHECK(second_row({0, 1, 2, 3}) == Buffer{1, 2, 3});
    CHECK(second_row({1, 250, 10, 3}) == Buffer{250, 4, 7});   // left
    CHECK(second_row({2, 1, 200, 3}) == Buffer{101, 24, 33});  // up
    CHECK(second_row({3, 1, 2, 3}) == Buffer{51, 67, 51});     // (0 + 100) / 2 + 1, (51 + 80) / 2 + 2, (67 + 30) / 2 + 3
    CHECK(second_row({4, 1, 2, 3}) == Buffer{101, 82, 33});    // Paeth: up, up, up
    CHECK(second_row({4, 156, 0, 0}) == Buffer{0, 0, 0});      // up, left, left
    CHECK(second_row({4, 20, 0, 0}) == Buffer{120, 100, 30});  // up, corner, up
    CHECK(second_row({4, 10, 0, 0}) == Buffer{110, 80, 30});   // the second: up and corner are equally near, up it is
    CHECK(contains(refusal(png({.width = 1, .rows = {5, 0}})), "row filter 5 in row 0"));
  }

  TEST_CASE("image_file: Adam7 puts every pixel of every awkward size in its place") {
    for (const auto& [width, height] :
         {std::pair{1u, 1u}, {2u, 1u}, {1u, 5u}, {3u, 3u}, {5u, 2u}, {8u, 8u}, {9u, 17u}, {33u, 31u}}) {
      CAPTURE(width);
      CAPTURE(height);
      Buffer want, rows;
      for (uint32_t i = 0; i < width * height * 3; ++i)
        want.push_back(static_cast<uint8_t>(i * 7 + i / 251));
      // The pass that a pixel belongs to, from the 8 x 8 pattern printed in the specification.
      constexpr char kPattern[8][9] = {"16462646", "77777777", "56565656", "77777777",
                                       "36463646", "77777777", "56565656", "77777777"};
      for (char pass = '1'; pass <= '7'; ++pass) {
        for (uint32_t y = 0; y < height; ++y) {
          bool begun = false;
          for (uint32_t x = 0; x < width; ++x) {
            if (kPattern[y % 8][x % 8] != pass)
              continue;
            if (!begun)
              rows.push_back(0);
            begun = true;
            const auto pixel = want.begin() + static_cast<ptrdiff_t>((y * width + x) * 3);
            rows.insert(rows.end(), pixel, pixel + 3);
          }
        }
      }
      CHECK(pixels_of(png({.width = width, .height = height, .color = 2, .interlace = 1, .rows = rows})) == want);
    }
  }

  TEST_CASE("image_file: a PNG cut anywhere before the end of its data is refused, and never crashes") {
    const Buffer whole = png({.width = 9, .height = 9, .color = 2, .rows = Buffer(9 * 28)});
    REQUIRE(decode_image(whole).ok());
    const size_t end_of_data = whole.size() - 12;
    for (size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      CHECK(decode_image(std::span(whole).first(size)).ok() == (size >= end_of_data));
    }
  }

  TEST_CASE("image_file: a PNG with any one byte of header or data changed is refused") {
    const Buffer whole = png({.width = 5, .height = 3, .color = 2, .rows = Buffer(3 * 16)});
    for (size_t at = 8; at < whole.size() - 12; ++at) {
      CAPTURE(at);
      Buffer damaged = whole;
      damaged[at] ^= 0x10;
      CHECK_FALSE(decode_image(damaged).ok());
    }
  }

  TEST_CASE("image_file: PNG headers that lie are refused before their sizes are believed") {
    CHECK(contains(refusal(png({.width = 0})), "0 x 1"));
    CHECK(contains(refusal(png({.width = 1, .height = 0, .rows = {0}})), "1 x 0"));
    CHECK(contains(refusal(png({.width = 0xFFFFFFFF, .height = 0xFFFFFFFF, .rows = {0}})), "too many"));
    CHECK(contains(refusal(png({.width = 65536, .height = 4097, .rows = {0}})), "too many"));
    CHECK(contains(refusal(png({.width = 16384, .height = 16384, .rows = {0}})), "truncated"));  // allowed, but 12 bytes of data
    CHECK(contains(refusal(png({.width = 16384, .height = 16384, .depth = 16, .color = 6, .rows = {0}})), "too large"));
    CHECK(contains(refusal(png({.depth = 3, .rows = {0, 0}})), "colour type 0 with 3 bits"));
    CHECK(contains(refusal(png({.depth = 4, .color = 2, .rows = {0, 0}})), "colour type 2 with 4 bits"));
    CHECK(contains(refusal(png({.color = 5, .rows = {0, 0}})), "colour type 5"));
    CHECK(contains(refusal(png({.interlace = 2, .rows = {0, 0}})), "interlace"));
    CHECK(contains(refusal(png({.width = 2, .height = 3, .rows = {0, 1, 2, 0, 3, 4}})), "does not unpack"));  // a row short
    CHECK(contains(refusal(png({.width = 2, .height = 1, .rows = {0, 1, 2, 0, 3, 4}})), "does not unpack"));  // a row long
    CHECK(contains(refusal(png({.rows = {0, 0}, .palette = {1, 2}})), "palette of 2 bytes"));
  }

  TEST_CASE("image_file: what is no picture is named so") {
    CHECK(refusal({}) == "picture: the file is empty");
    CHECK(contains(refusal({'h', 'e', 'l', 'l', 'o'}), "none of PNG, JPEG, WebP, BMP"));
    CHECK_FALSE(decode_image(Buffer{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}).ok());
    CHECK_FALSE(decode_image(Buffer{0xff, 0xd8, 0xff}).ok());
    CHECK_FALSE(decode_image(Buffer{'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'E', 'B', 'P'}).ok());
    CHECK_FALSE(decode_image(Buffer{'B', 'M'}).ok());
  }

  TEST_CASE("image_file: BMP rows run upwards, downwards when the height is negative, and end on four bytes") {
    const auto bmp = [](uint32_t width, uint32_t height, uint8_t bits, uint8_t compression, const Buffer& rest) {
      Buffer out(54 + rest.size());
      std::copy(rest.begin(), rest.end(), out.begin() + 54);
      const auto put = [&](size_t at, uint32_t value) {
        for (size_t i = 0; i < 4; ++i)
          out[at + i] = static_cast<uint8_t>(value >> (8 * i));
      };
      out[0] = 'B', out[1] = 'M', out[26] = 1, out[28] = bits, out[30] = compression;
      put(10, 54), put(14, 40), put(18, width), put(22, height);
      return out;
    };
    const Buffer rows = {3, 2, 1, 0, 6, 5, 4, 0};  // blue first
    CHECK(pixels_of(bmp(1, 2, 24, 0, rows)) == Buffer{4, 5, 6, 1, 2, 3});
    CHECK(pixels_of(bmp(1, 0xFFFFFFFEu, 24, 0, rows)) == Buffer{1, 2, 3, 4, 5, 6});
    CHECK(pixels_of(bmp(1, 2, 32, 0, rows)) == Buffer{4, 5, 6, 1, 2, 3});
    CHECK(contains(refusal(bmp(1, 3, 24, 0, rows)), "truncated"));
    CHECK(contains(refusal(bmp(0x7FFFFFFF, 0x7FFFFFFF, 24, 0, rows)), "too many"));
    CHECK(contains(refusal(bmp(1, 0x80000000u, 24, 0, rows)), "too many"));
    CHECK(contains(refusal(bmp(1, 1, 8, 0, rows)), "palette"));
    CHECK(contains(refusal(bmp(1, 1, 8, 1, rows)), "compression 1"));
    CHECK(contains(refusal(bmp(1, 1, 7, 0, rows)), "7 bits"));
    CHECK(contains(refusal(bmp(1, 1, 32, 3, rows)), "masks"));
  }

#ifdef VL2_HAVE_JPEG
  // Encodes size x size pixels of one colour; `channels` is 1, 3 or 4 (inverted CMYK, as Adobe writes it).
  Buffer jpeg(uint32_t size, const Buffer& colour, bool progressive) {
    jpeg_compress_struct c{};
    jpeg_error_mgr errors{};
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    unsigned char* data = nullptr;
    unsigned long bytes = 0;
    jpeg_mem_dest(&c, &data, &bytes);
    c.image_width = c.image_height = size;
    c.input_components = static_cast<int>(colour.size());
    c.in_color_space = colour.size() == 1 ? JCS_GRAYSCALE : colour.size() == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&c);
    if (progressive)
      jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    Buffer row;
    for (uint32_t x = 0; x < size; ++x)
      row.insert(row.end(), colour.begin(), colour.end());
    for (uint32_t y = 0; y < size; ++y) {
      JSAMPROW pointer = row.data();
      jpeg_write_scanlines(&c, &pointer, 1);
    }
    jpeg_finish_compress(&c);
    Buffer file(data, data + bytes);
    jpeg_destroy_compress(&c);
    free(data);
    return file;
  }

  TEST_CASE("image_file: JPEG in grey, colour and CMYK") {
    for (const bool progressive : {false, true}) {
      CAPTURE(progressive);
      const Buffer grey_pixels = pixels_of(jpeg(20, {77}, progressive));
      CHECK(grey_pixels == Buffer(20 * 20 * 3, 77));
      const Buffer colour = pixels_of(jpeg(20, {200, 30, 90}, progressive));
      REQUIRE(colour.size() == 20 * 20 * 3);
      for (size_t c = 0; c < 3; ++c)  // JPEG's own rounding: seen 1; red and blue swapped would be 110
        CHECK(std::abs(int{colour[c]} - int{Buffer{200, 30, 90}[c]}) <= 2);
      // Ink (10, 100, 200, 30), which Pillow shows as (216, 137, 49); not inverted it would be near (1, 12, 24).
      const Buffer ink = pixels_of(jpeg(8, {245, 155, 55, 225}, progressive));
      CHECK(Buffer(ink.begin(), ink.begin() + 3) == Buffer{216, 137, 49});
    }
  }

  TEST_CASE("image_file: a JPEG cut anywhere before its end mark is refused, not painted grey") {
    for (const bool progressive : {false, true}) {
      const Buffer whole = jpeg(40, {200, 30, 90}, progressive);
      REQUIRE(decode_image(whole).ok());
      for (size_t size = 0; size + 3 < whole.size(); ++size) {
        CAPTURE(size);
        CHECK_FALSE(decode_image(std::span(whole).first(size)).ok());
      }
    }
  }

  TEST_CASE("image_file: a JPEG with any one byte changed is decoded or refused, and never crashes") {
    for (const bool progressive : {false, true}) {
      const Buffer whole = jpeg(24, {200, 30, 90}, progressive);
      size_t refused = 0;
      for (size_t at = 2; at < whole.size(); ++at) {
        Buffer damaged = whole;
        damaged[at] ^= 0xff;
        const auto image = decode_image(damaged);
        refused += image.ok() ? 0 : 1;
        if (image.ok())
          CHECK(image->rgb.size() == size_t{image->width} * image->height * 3);
      }
      CHECK(refused > whole.size() / 10);  // JPEG has no checksum: damaged tables still decode
    }
  }

  TEST_CASE("image_file: a JPEG whose header claims too many pixels is refused") {
    Buffer file = jpeg(8, {77}, false);
    for (size_t at = 0; at + 9 < file.size(); ++at) {
      if (file[at] == 0xff && file[at + 1] == 0xc0) {
        for (size_t i = 5; i < 9; ++i)  // height and width
          file[at + i] = 0xff - (i % 2 == 0 ? 0x80 : 0);
        break;
      }
    }
    CHECK(contains(refusal(file), "too many"));
  }
#endif

#ifdef VL2_HAVE_WEBP
  TEST_CASE("image_file: lossless WebP gives back its pixels, and a cut one is refused") {
    const int width = 13, height = 7;
    Buffer rgb;
    for (int i = 0; i < width * height * 3; ++i)
      rgb.push_back(static_cast<uint8_t>(i * 37));
    uint8_t* data = nullptr;
    const size_t bytes = WebPEncodeLosslessRGB(rgb.data(), width, height, width * 3, &data);
    REQUIRE(bytes > 0);
    const Buffer file(data, data + bytes);
    WebPFree(data);
    CHECK(pixels_of(file) == rgb);
    for (size_t size = 0; size + 2 < file.size(); ++size) {  // the last byte is padding of the container
      CAPTURE(size);
      CHECK_FALSE(decode_image(std::span(file).first(size)).ok());
    }
  }
#endif

  TEST_CASE("image_file: files that are not there, are folders or are no picture are named in the message") {
    const TempFolder folder;
    CHECK(read_image_file(folder.path / "none.png").code() == Code::NotFound);
    CHECK(contains(read_image_file(folder.path / "none.png").message(), "none.png: no such file"));
    CHECK(contains(read_image_file(folder.path).message(), "is a folder"));
    std::ofstream(folder.path / "text.png") << "not a picture";
    CHECK(contains(read_image_file(folder.path / "text.png").message(), "text.png: picture: the file is none of"));
  }

  TEST_CASE("write_png: what is written reads back, and nothing else is left in the folder") {
    const TempFolder folder;
    Image image{.width = 37, .height = 11, .rgb = {}};
    for (uint32_t i = 0; i < 37 * 11 * 3; ++i)
      image.rgb.push_back(static_cast<uint8_t>(i * i));
    const auto path = folder.path / "out.png";
    std::ofstream(path) << "an older file, to be replaced";
    REQUIRE(write_png(path, image).ok());
    const auto back = read_image_file(path);
    REQUIRE(back.ok());
    CHECK(back->width == 37);
    CHECK(back->height == 11);
    CHECK(back->rgb == image.rgb);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), std::filesystem::directory_iterator()) == 1);
  }

  TEST_CASE("write_png: refuses an image that contradicts itself and a folder that is not there") {
    const TempFolder folder;
    CHECK(write_png(folder.path / "a.png", Image{}).code() == Code::BadArgument);
    CHECK(write_png(folder.path / "a.png", Image{2, 2, Buffer(11)}).code() == Code::BadArgument);
    CHECK(write_png(folder.path / "no" / "a.png", Image{1, 1, Buffer(3)}).code() == Code::IoError);
    CHECK(std::filesystem::is_empty(folder.path));
    std::filesystem::create_directory(folder.path / "taken");
    CHECK(write_png(folder.path / "taken", Image{1, 1, Buffer(3)}).code() == Code::IoError);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), std::filesystem::directory_iterator()) == 1);
  }
}
