#include "model/weight_convert.h"

#include <cmath>
#include <cstring>

#include "runtime/half.h"

namespace vl2 {

namespace {

constexpr uint64_t kBlock = 32;

bool finite_bfloat16(uint16_t bits) {
  return (bits & 0x7f80u) != 0x7f80u;
}
bool finite_half(uint16_t bits) {
  return (bits & 0x7c00u) != 0x7c00u;
}

// Exponents 2^-14..2^15 of bf16 become f16 by moving bits, which the compiler does 16 at a time; other values are rare.
bool bfloat16_to_half(const uint16_t* source, uint64_t count, uint16_t* target) {
  bool finite = true;
  for (uint64_t first = 0; first < count; first += kBlock) {
    const uint64_t end = first + kBlock < count ? first + kBlock : count;
    uint16_t out_of_range = 0;
    for (uint64_t i = first; i < end; ++i) {
      const uint16_t bits = source[i];
      const auto exponent = static_cast<uint16_t>((bits >> 7) & 0xffu);
      out_of_range |= static_cast<uint16_t>(static_cast<uint16_t>(exponent - 113u) > 29u);
      target[i] = static_cast<uint16_t>((bits & 0x8000u) | static_cast<uint16_t>((exponent - 112u) << 10) |
                                        static_cast<uint16_t>((bits & 0x7fu) << 3));
    }
    if (out_of_range != 0)
      for (uint64_t i = first; i < end; ++i) {
        target[i] = float_to_half(bfloat16_to_float(source[i]));
        finite &= finite_half(target[i]);
      }
  }
  return finite;
}

template <typename T>
T load(const std::byte* bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

float load_float(FileType type, const std::byte* source, uint64_t index) {
  switch (type) {
    case FileType::BF16: return bfloat16_to_float(load<uint16_t>(source, index));
    case FileType::F16: return half_to_float(load<uint16_t>(source, index));
    case FileType::F32: return load<float>(source, index);
  }
  return 0;
}

}  // namespace

bool file_type_of(const std::string& dtype_text, FileType& type) {
  type = dtype_text == "BF16" ? FileType::BF16 : dtype_text == "F16" ? FileType::F16 : FileType::F32;
  return dtype_text == "BF16" || dtype_text == "F16" || dtype_text == "F32";
}

bool convert_row(FileType source_type, const std::byte* source, uint64_t count, DType target_type, std::byte* target) {
  bool finite = true;
  if (target_type == DType::F16 && source_type == FileType::BF16)
    return bfloat16_to_half(reinterpret_cast<const uint16_t*>(source), count, reinterpret_cast<uint16_t*>(target));
  if ((target_type == DType::F16 && source_type == FileType::F16) ||
      (target_type == DType::BF16 && source_type == FileType::BF16)) {
    std::memcpy(target, source, count * 2);
    for (uint64_t i = 0; i < count; ++i)
      finite &= target_type == DType::F16 ? finite_half(load<uint16_t>(source, i)) : finite_bfloat16(load<uint16_t>(source, i));
    return finite;
  }
  for (uint64_t i = 0; i < count; ++i) {
    const float value = load_float(source_type, source, i);
    finite &= std::isfinite(value);
    std::memcpy(target + i * 4, &value, 4);
  }
  return finite;
}

}  // namespace vl2
