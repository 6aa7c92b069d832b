// Reads a file, tells the format by its first bytes (the name is not looked at), hands on to that decoder; writes PNG.
#include "app/image_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>
#include <string_view>
#include <system_error>

#include "app/image_decoders.h"

namespace vl2 {
namespace {

bool begins_with(Bytes file, size_t at, std::string_view mark) {
  return file.size() >= at + mark.size() && std::memcmp(file.data() + at, mark.data(), mark.size()) == 0;
}

Result<std::vector<uint8_t>> read_whole_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    return fail(Code::NotFound, "no such file");
  if (std::filesystem::is_directory(status))
    return fail(Code::BadFile, "is a folder, wanted a picture file");
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return fail(Code::IoError, "cannot be opened: ", std::strerror(errno));
  // In pieces, so that a pipe works and a size that lies does not matter.
  constexpr size_t kPiece = size_t{1} << 20;
  std::vector<uint8_t> bytes;
  while (in) {
    const size_t had = bytes.size();
    bytes.resize(had + kPiece);
    in.read(reinterpret_cast<char*>(bytes.data() + had), static_cast<std::streamsize>(kPiece));
    bytes.resize(had + static_cast<size_t>(in.gcount()));
    if (bytes.size() > kMaxImageFileBytes)
      return fail(Code::Unsupported, "is larger than ", kMaxImageFileBytes >> 20, " MiB");
  }
  if (in.bad())
    return fail(Code::IoError, "cannot be read: ", std::strerror(errno));
  return bytes;
}

Status write_whole_file(const std::filesystem::path& path, Bytes bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out)
    return fail(Code::IoError, path.string(), ": cannot be written: ", std::strerror(errno));
  return {};
}

}  // namespace

Result<Image> new_image(const char* format, uint64_t width, uint64_t height) {
  if (width == 0 || height == 0)
    return fail(Code::BadFile, format, ": a picture of ", width, " x ", height, " pixels");
  if (width > kMaxImagePixels || height > kMaxImagePixels || width * height > kMaxImagePixels)
    return fail(Code::Unsupported, format, ": ", width, " x ", height, " pixels are too many, at most ", kMaxImagePixels, " fit");
  try {
    return Image{static_cast<uint32_t>(width), static_cast<uint32_t>(height), std::vector<uint8_t>(width * height * 3)};
  } catch (const std::bad_alloc&) {
    return fail(Code::OutOfMemory, format, ": no memory for ", width, " x ", height, " pixels");
  }
}

Result<Image> decode_image(std::span<const uint8_t> file) {
  if (file.size() > kMaxImageFileBytes)
    return fail(Code::Unsupported, "picture: ", file.size(), " bytes, at most ", kMaxImageFileBytes, " are read");
  try {
    if (begins_with(file, 0, "\x89PNG\r\n\x1a\n"))
      return decode_png(file);
    if (begins_with(file, 0, "\xff\xd8\xff"))
      return decode_jpeg(file);
    if (begins_with(file, 0, "RIFF") && begins_with(file, 8, "WEBP"))
      return decode_webp(file);
    if (begins_with(file, 0, "BM"))
      return decode_bmp(file);
  } catch (const std::bad_alloc&) {
    return fail(Code::OutOfMemory, "picture: no memory to decode a file of ", file.size(), " bytes");
  }
  if (file.empty())
    return fail(Code::BadFile, "picture: the file is empty");
  return fail(Code::BadFile, "picture: the file is none of PNG, JPEG, WebP, BMP");
}

Result<Image> read_image_file(const std::filesystem::path& path) {
  const auto with_path = [&](const Status& status) { return fail(status.code(), path.string(), ": ", status.message()); };
  const auto bytes = read_whole_file(path);
  if (!bytes.ok())
    return with_path(bytes.status());
  auto image = decode_image(*bytes);
  if (!image.ok())
    return with_path(image.status());
  return image;
}

Status write_png(const std::filesystem::path& path, const Image& image) {
  constexpr uint64_t kMaxPngPixels = uint64_t{1} << 27;  // the encoder counts bytes in an int and needs twice the picture
  const uint64_t pixels = uint64_t{image.width} * image.height;
  if (pixels == 0 || pixels > kMaxPngPixels || image.rgb.size() != pixels * 3)
    return fail(Code::BadArgument, "write_png: ", image.width, " x ", image.height, " pixels and ", image.rgb.size(),
                " bytes, wanted 3 bytes a pixel and at most ", kMaxPngPixels, " pixels");
  const std::vector<uint8_t> file = encode_png(image);
  if (file.empty())
    return fail(Code::OutOfMemory, "write_png: no memory for ", image.width, " x ", image.height, " pixels");
  std::filesystem::path beside = path;
  beside += ".part";
  std::error_code error;
  Status status = write_whole_file(beside, file);
  if (status.ok()) {
    std::filesystem::rename(beside, path, error);
    if (error)
      status = fail(Code::IoError, path.string(), ": cannot be written: ", error.message());
  }
  if (!status.ok())
    std::filesystem::remove(beside, error);
  return status;
}

}  // namespace vl2
