// A file of sections in a fixed order, each with its length and checksum: written beside and renamed; read with every number checked
// against the file's size before it is used. No byte of it is without a checksum.
//
//   header    magic [8], u32 version, u32 section count, u64 bytes of the file, u64 checksum of those 24 bytes
//   section   u32 tag, u32 0, u64 bytes, u64 checksum of the bytes, u64 checksum of those 24 bytes; then the bytes
//
// Numbers are little-endian, as every device that Vulkan runs on is. Checksums are FNV-1a: they find damage, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/file_bytes.h"
#include "runtime/status.h"

namespace vl2 {

/// What a kind of file is called by.
struct SectionFormat {
  std::string_view magic;  ///< 8 bytes
  uint32_t version;
  const char* name;  ///< "saved session", for messages
};

/// A file in the making: `path`.part-PID beside the target, readable by its owner alone, removed unless finish() renamed it.
class SectionWriter {
 public:
  /// Errors  IoError, here and below, beginning with the path
  static Result<SectionWriter> create(const SectionFormat& format, const std::string& path);
  SectionWriter(SectionWriter&&) noexcept;
  SectionWriter& operator=(SectionWriter&&) = delete;
  ~SectionWriter();

  Status add(uint32_t tag, std::span<const std::byte> bytes);
  /// Writes the header, and the file appears under its name.
  Status finish();

 private:
  SectionWriter() = default;

  SectionFormat format_{};
  std::string path_, part_path_;
  OpenFile file_;
  uint64_t end_ = 0;
  uint32_t count_ = 0;
};

/// Reads such a file from its first section to its last.
class SectionReader {
 public:
  /// Errors  NotFound, IoError; BadFile: of another kind, torn, damaged; Unsupported: of another version
  static Result<SectionReader> open(const SectionFormat& format, const std::string& path);

  /// The bytes of the next section, which is to be `tag`.
  ///
  /// Errors  BadFile: it is another, or damaged; IoError
  Result<std::vector<std::byte>> next(uint32_t tag);
  /// Errors  BadFile: there are more sections
  Status end() const;

  /// A fault of what a section says: BadFile, beginning with the path.
  template <typename... Parts>
  Status bad(const Parts&... parts) const {
    return fail(Code::BadFile, path_, ": ", format_.name, ", damaged: ", parts...);
  }
  const std::string& path() const { return path_; }

 private:
  SectionReader() = default;

  SectionFormat format_{};
  std::string path_;
  OpenFile file_;
  uint64_t file_bytes_ = 0, at_ = 0;
  uint32_t count_ = 0, read_ = 0;
};

/// The bytes of a section, put together.
class ByteWriter {
 public:
  void u32(uint32_t value) { raw(&value, sizeof(value)); }
  void u64(uint64_t value) { raw(&value, sizeof(value)); }
  /// A count, then the elements.
  template <typename Element>
  void list(std::span<const Element> elements) {
    u64(elements.size());
    raw(elements.data(), elements.size_bytes());
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void raw(const void* data, size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
  }
  std::vector<std::byte> bytes_;
};

/// The same taken apart. What is not there reads as 0 or empty, and whole() is false from then on.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  /// At most as many elements as the bytes left hold.
  template <typename Element>
  std::vector<Element> list() {
    const uint64_t count = u64();
    std::vector<Element> elements;
    if (count > bytes_.size() / sizeof(Element)) {
      bytes_ = {};
      whole_ = false;
      return elements;
    }
    elements.resize(count);
    raw(elements.data(), count * sizeof(Element));
    return elements;
  }
  std::string text() {
    const std::vector<char> letters = list<char>();
    return {letters.begin(), letters.end()};
  }
  /// Everything that was asked for was there.
  bool whole() const { return whole_; }
  /// And nothing is left.
  bool ended() const { return whole_ && bytes_.empty(); }

 private:
  template <typename Number>
  Number number() {
    Number value = 0;
    if (bytes_.size() < sizeof(value)) {
      bytes_ = {};
      whole_ = false;
      return value;
    }
    raw(&value, sizeof(value));
    return value;
  }
  void raw(void* target, size_t size) {
    if (size > 0)
      std::memcpy(target, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }

  std::span<const std::byte> bytes_;
  bool whole_ = true;
};

}  // namespace vl2
