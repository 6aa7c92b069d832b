// The formats that weights are stored in: one row a format, with what turns a row of f32 into it and back.
//
// The block types are ggml's, bit for bit, so that files go both ways: a row is a sequence of blocks of 32 or 256 elements, each
// with its own scales. Numbers are little-endian; d, dmin are f16; a nibble pair is low nibble first.
//
//   Q8_0   32: d, int8 q[32]                                            x = d q
//   Q4_0   32: d, 4-bit q[32]                                           x = d (q - 8);  byte j holds elements j and j + 16
//   Q4_K  256: d, dmin, 6-bit s[8], m[8] in 12 bytes, 4-bit q[256]      x = d s q - dmin m, s and m for every 32 elements
//   Q6_K  256: 4 low bits, 2 high bits of q[256], int8 s[16], d         x = d s (q - 32), s for every 16 elements
//
// On the device a tensor of blocks is two planes, each flat by element, so that loads of 16 bytes are aligned and a kernel finds
// both parts of an element by its index alone:
//
//         codes                                       scales
//   Q8_0  a byte an element                           for every 32 elements d
//   Q4_0  a nibble an element                         for every 32 elements d
//   Q4_K  a nibble an element                         for every 256 the first 16 bytes of the block: d, dmin, s, m
//   Q6_K  a nibble an element, the 4 low bits         for every 256, 96 bytes: 64 of high bits; int8 s[16]; d
//
// Eight elements as bytes are two words, 0 4 1 5 and 2 6 3 7 from the lowest byte on; as nibbles one word, the first of these in
// the low nibbles of its bytes and the second in the high ones. So one mask gives four bytes for an integer dot product, or two
// neighbours where a pair of f16 has them. Of the high bits a word has 16 elements: those four words' in its four pairs of bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

struct WeightFormat {
  DType dtype;
  const char* name;    ///< as files and the command line say it: "Q4_K"
  uint32_t ggml_type;  ///< the number of the type in a GGUF file
  /// `count` elements, whole blocks of finite values within f16's range; `target` holds dtype_bytes_of(dtype, count) bytes.
  void (*quantize)(const float* values, uint64_t count, std::byte* target);
  void (*dequantize)(const std::byte* source, uint64_t count, float* values);
  /// Block types: the two planes of `count` elements, device_code_bytes and device_scale_bytes of them.
  void (*repack)(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales) = nullptr;
};

/// What the elements of a block (1 of the plain types) take on the device.
struct DeviceBlock {
  uint32_t code_bytes, scale_bytes;
};

constexpr DeviceBlock device_block(DType dtype) {
  switch (dtype) {
    case DType::Q8_0: return {32, 2};
    case DType::Q4_0: return {16, 2};
    case DType::Q4_K: return {128, 16};
    case DType::Q6_K: return {128, 96};
    default: return {dtype_block_bytes(dtype), 0};
  }
}

/// Bytes of `count` elements, whole blocks, on the device: of the plane of codes, and of that of scales.
constexpr uint64_t device_code_bytes(DType dtype, uint64_t count) {
  return count / dtype_block(dtype) * device_block(dtype).code_bytes;
}
constexpr uint64_t device_scale_bytes(DType dtype, uint64_t count) {
  return count / dtype_block(dtype) * device_block(dtype).scale_bytes;
}

/// Elements of a weight that the kernels of decode load at a time: WEIGHT_CHUNK of shaders/weights/<format>.glsl.
constexpr uint32_t weight_chunk(DType dtype) {
  return dtype == DType::F32 ? 8 : 16 * dtype_block(dtype) / device_block(dtype).code_bytes;
}

/// Where the plane of scales of a tensor of `count` elements begins: bytes, at a multiple of what any device wants of a binding.
constexpr uint64_t device_scales_offset(DType dtype, uint64_t count) {
  constexpr uint64_t kAlignment = 256;  // the largest minStorageBufferOffsetAlignment that Vulkan allows
  return dtype_block(dtype) == 1 ? 0 : (device_code_bytes(dtype, count) + kAlignment - 1) / kAlignment * kAlignment;
}

/// Bytes of a buffer for `count` elements on the device.
constexpr uint64_t device_bytes(DType dtype, uint64_t count) {
  return dtype_block(dtype) == 1 ? device_code_bytes(dtype, count)
                                 : device_scales_offset(dtype, count) + device_scale_bytes(dtype, count);
}

/// All of them, the plain ones first.
std::span<const WeightFormat> weight_formats();

/// The row of a format; nullptr where there is none.
const WeightFormat* find_weight_format(DType dtype);
const WeightFormat* find_weight_format(std::string_view name);
const WeightFormat* find_weight_format_of_ggml(uint32_t ggml_type);

/// Stores a row as `dtype`, rounding to nearest, block scales by least squares over candidates.
///
/// values  finite; within +-65504 where f16 has a part in it, which is everywhere but in F32 and BF16
/// target  dtype_bytes_of(dtype, values.size()) bytes
/// Errors  BadArgument, beginning with `where`: a row that is no multiple of the block, a value that is infinite, NaN or too
///         large, with its index
/// Cost    about 20 candidates a block for the 4-bit and 6-bit types
/// Source  block layouts: ggml, ggml-common.h
Status quantize_row(DType dtype, std::span<const float> values, std::span<std::byte> target, const std::string& where);

/// The values that a row stands for. Scales may be anything in a file that nobody checked: so may the values.
///
/// Errors  BadArgument: sizes that do not fit together
Status dequantize_row(DType dtype, std::span<const std::byte> source, std::span<float> values, const std::string& where);

}  // namespace vl2
