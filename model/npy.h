// NumPy's .npy files, in the few kinds that golden values and pixel dumps need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

enum class NpyDType { U8, I32, I64, F32 };

uint32_t npy_dtype_bytes(NpyDType dtype);

struct NpyArray {
  NpyDType dtype = NpyDType::F32;
  std::vector<uint64_t> shape;  ///< outermost first, C order; empty for a single number
  std::vector<std::byte> data;  ///< little endian
};

/// Reads format 1.0 or 2.0.
///
/// Errors  NotFound, IoError; BadFile: no .npy file, a header that this reader does not follow, or another size than it states;
///         Unsupported: another dtype, byte order, Fortran order or format version
/// Source  NumPy, "NEP 1: a simple file format for NumPy arrays"
Result<NpyArray> read_npy(const std::string& path);

/// Writes format 1.0, beside `path` first and then renamed: a reader sees the old file or the whole new one.
///
/// data    little endian, C order, exactly as many bytes as shape and dtype say
/// Errors  BadArgument: another number of bytes, or more than 32 dimensions (NumPy's own limit); IoError: the file named is as it
/// was
Status write_npy(const std::string& path, NpyDType dtype, std::span<const uint64_t> shape, std::span<const std::byte> data);

}  // namespace vl2
