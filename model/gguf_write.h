// Writes a GGUF file: keys and places first, then tensors in any order, by any thread; the file appears when it is whole.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/gguf.h"

namespace vl2 {

using GgufKeys = std::vector<std::pair<std::string, GgufValue>>;

GgufValue gguf_u32(uint32_t value);
GgufValue gguf_f32(float value);
GgufValue gguf_bool(bool value);
GgufValue gguf_text(std::string value);
GgufValue gguf_texts(std::vector<std::string> values);
GgufValue gguf_i32s(std::vector<int64_t> values);

/// A file in the making: `path`.part-PID beside the target, removed unless finish() renamed it.
class GgufWriter {
 public:
  static constexpr uint64_t kAlignment = 32;  // the format's default

  /// Writes the front and takes the room on the disk that all of it needs, where the file system can say.
  ///
  /// keys     in this order, each once
  /// tensors  name, shape and type are read; rows are whole blocks of their type
  /// Errors   IoError, with the path: not writable, disk full
  static Result<std::unique_ptr<GgufWriter>> create(const std::string& path, const GgufKeys& keys,
                                                    std::vector<GgufTensor> tensors);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  /// In the order given, now with first_byte and byte_count.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  uint64_t file_bytes() const { return file_bytes_; }

  /// Writes bytes first.. of a tensor. Threads: any.
  ///
  /// Errors  BadArgument: outside the tensor; IoError
  Status write(const GgufTensor& tensor, uint64_t first, std::span<const std::byte> bytes);

  /// Everything is written: to the disk with it, and to its name, which may be there already and is replaced.
  Status finish();

 private:
  GgufWriter() = default;
  Status open(const std::string& path, const std::string& front);

  std::string path_, part_path_;
  int descriptor_ = -1;
  std::vector<GgufTensor> tensors_;
  uint64_t file_bytes_ = 0;
};

}  // namespace vl2
