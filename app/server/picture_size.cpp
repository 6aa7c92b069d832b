#include "app/server/picture_size.h"

namespace vl2::server {
namespace {

// Bytes of a file; what lies behind its end reads as 0 and is remembered.
class Bytes {
 public:
  explicit Bytes(std::string_view file) : file_(file) {}

  uint32_t u8(size_t at) {
    complete_ = complete_ && at < file_.size();
    return at < file_.size() ? static_cast<uint8_t>(file_[at]) : 0;
  }
  uint32_t big16(size_t at) { return u8(at) << 8 | u8(at + 1); }
  uint32_t big32(size_t at) { return big16(at) << 16 | big16(at + 2); }
  uint32_t little16(size_t at) { return u8(at) | u8(at + 1) << 8; }
  uint32_t little24(size_t at) { return little16(at) | u8(at + 2) << 16; }
  uint32_t little32(size_t at) { return little24(at) | u8(at + 3) << 24; }
  bool has(size_t at, std::string_view text) const { return file_.size() >= at && file_.substr(at).starts_with(text); }
  size_t size() const { return file_.size(); }
  bool complete() const { return complete_; }

 private:
  std::string_view file_;
  bool complete_ = true;
};

PictureSize png_size(Bytes& file) {
  return {file.big32(16), file.big32(20)};
}

// The first frame header; segments before it are stepped over.
PictureSize jpeg_size(Bytes& file) {
  for (size_t at = 2; at + 4 <= file.size();) {
    if (file.u8(at) != 0xff) {
      ++at;
      continue;
    }
    const uint32_t marker = file.u8(at + 1);
    if (marker == 0xff) {  // fill
      ++at;
      continue;
    }
    if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) {  // stand alone
      at += 2;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc)
      return {file.big16(at + 7), file.big16(at + 5)};
    at += 2 + file.big16(at + 2);
  }
  return {};
}

PictureSize webp_size(Bytes& file) {
  if (file.has(12, "VP8X"))
    return {file.little24(24) + 1, file.little24(27) + 1};
  if (file.has(12, "VP8L")) {
    const uint32_t bits = file.little32(21);
    return {(bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1};
  }
  if (file.has(12, "VP8 "))
    return {file.little16(26) & 0x3fff, file.little16(28) & 0x3fff};
  return {};
}

PictureSize bmp_size(Bytes& file) {
  if (file.little32(14) == 12)  // the oldest header
    return {file.little16(18), file.little16(20)};
  const uint32_t height = file.little32(22);
  return {file.little32(18), height >> 31 ? 0 - height : height};  // a negative one: rows from the top
}

}  // namespace

std::optional<PictureSize> picture_size(std::string_view bytes) {
  Bytes file(bytes);
  PictureSize size;
  if (file.has(0, "\x89PNG\r\n\x1a\n"))
    size = png_size(file);
  else if (file.has(0, "\xff\xd8"))
    size = jpeg_size(file);
  else if (file.has(0, "RIFF") && file.has(8, "WEBP"))
    size = webp_size(file);
  else if (file.has(0, "BM"))
    size = bmp_size(file);
  if (!file.complete() || size.width == 0 || size.height == 0)
    return std::nullopt;
  return size;
}

}  // namespace vl2::server
