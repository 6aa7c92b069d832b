// GGUF files, version 3: read with every number checked against the file's size before it is used; written beside and renamed.
//
// Design: the header is read through pread into plain values; tensor data stays in the file and is read where it is wanted, as
// model/checkpoint does with safetensors (no mapping: a file cut short under us is an error then, not a signal).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

/// Types of values, by their numbers in the file.
enum class GgufType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

const char* gguf_type_name(GgufType type);

/// A value of a key.
struct GgufValue {
  GgufType type = GgufType::U32;
  GgufType element = GgufType::U32;  ///< of an array, which holds no arrays
  /// The value, or the elements of an array: unsigned, signed, real, or text. Bool is unsigned.
  std::variant<uint64_t, int64_t, double, std::string, std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>>
      data = uint64_t{0};

  /// Elements of an array, 1 of anything else.
  uint64_t count() const;
  /// nullptr where the value is of another kind.
  const std::string* text() const { return std::get_if<std::string>(&data); }
  const std::vector<std::string>* texts() const { return std::get_if<std::vector<std::string>>(&data); }
};

/// How the bytes of a tensor are laid out: what a type number in a GGUF file means.
struct GgmlType {
  const char* name;
  uint64_t block;  ///< elements
  uint64_t block_bytes;
};

/// nullptr for a number that ggml does not use (any more).
const GgmlType* find_ggml_type(uint32_t number);

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> shape;  ///< row-major, the row's length last: the reverse of the file's order
  uint32_t type = 0;            ///< number of a ggml type, known
  uint64_t first_byte = 0;      ///< from the start of the file
  uint64_t byte_count = 0;
};

/// What the front of a GGUF file says.
struct Gguf {
  uint32_t version = 3;
  uint64_t alignment = 32;
  uint64_t data_start = 0;  ///< first byte of the tensors' part
  std::map<std::string, GgufValue, std::less<>> keys;
  std::vector<GgufTensor> tensors;  ///< in the order of the file

  const GgufValue* find(std::string_view key) const;
  const GgufTensor* find_tensor(std::string_view name) const;
  /// The value of a key that has to be there.
  ///
  /// Errors  BadFile, beginning with `where`: the key is missing, is of another type, or does not fit
  Result<uint32_t> count(std::string_view key, const std::string& where) const;
  Result<double> number(std::string_view key, const std::string& where) const;
  Result<std::string> text(std::string_view key, const std::string& where) const;
};

/// Fills `target` from byte `first` on; called only within the size given beside it.
using GgufRead = std::function<Status(uint64_t first, std::span<std::byte> target)>;

/// Reads the front of a file of `bytes` bytes. Versions 2 and 3, little-endian (2 differs in nothing that is read here).
///
/// Errors  BadFile, one line beginning with `where`: magic, version, counts, types, alignment, strings and arrays longer than the
///         file, keys or tensors that are there twice, tensors that overlap or reach out of the file, shapes that do not fit
///         their type. IoError from `read`.
/// Source  ggml, docs/gguf.md
Result<Gguf> parse_gguf(uint64_t bytes, const GgufRead& read, const std::string& where);

/// The same for bytes in memory.
Result<Gguf> parse_gguf(std::span<const std::byte> bytes, const std::string& where);

/// The same for the file `path`, which is opened for it and closed again.
///
/// Errors  NotFound and IoError, too
Result<Gguf> read_gguf(const std::string& path);
/// The same for a file that is open.
Result<Gguf> read_gguf(int descriptor, const std::string& where);

/// Whether `path` is a regular file that begins like a GGUF file or is named like one.
bool looks_like_gguf(const std::string& path);

}  // namespace vl2
