// DType and TensorView: a typed window on a device buffer, row-major, strides in elements.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <ostream>

namespace vl2 {

class Buffer;

/// Element types of tensors. Activations are F32 or F16; weight matrices F32, F16, BF16 or one of the block types (Q...), whose
/// rows are whole blocks: in files in ggml's layouts, on the device in two planes (runtime/weight_format.h).
enum class DType : uint8_t { F32, F16, BF16, U32, I32, U8, Q8_0, Q4_0, Q4_K, Q6_K };

const char* dtype_name(DType dtype);

/// Elements that are stored together: 1, or the block of a block type. Rows are a multiple of it.
constexpr uint32_t dtype_block(DType dtype) {
  switch (dtype) {
    case DType::Q8_0:
    case DType::Q4_0: return 32;
    case DType::Q4_K:
    case DType::Q6_K: return 256;
    default: return 1;
  }
}

/// Bytes of such a block: of one element where dtype_block is 1.
constexpr uint32_t dtype_block_bytes(DType dtype) {
  switch (dtype) {
    case DType::F32:
    case DType::U32:
    case DType::I32: return 4;
    case DType::F16:
    case DType::BF16: return 2;
    case DType::U8: return 1;
    case DType::Q8_0: return 2 + 32;
    case DType::Q4_0: return 2 + 32 / 2;
    case DType::Q4_K: return 2 + 2 + 12 + 256 / 2;
    case DType::Q6_K: return 256 / 2 + 256 / 4 + 16 + 2;
  }
  return 0;
}

/// Bytes of one element; of a block type there is no such number.
constexpr uint32_t dtype_bytes(DType dtype) {
  assert(dtype_block(dtype) == 1);
  return dtype_block_bytes(dtype);
}

/// Bytes of `count` elements, which are whole blocks.
constexpr uint64_t dtype_bytes_of(DType dtype, uint64_t count) {
  return count / dtype_block(dtype) * dtype_block_bytes(dtype);
}

/// A window on a buffer: up to four dimensions, the last usually adjacent. A value; it does not own the buffer.
struct TensorView {
  static constexpr uint32_t kMaxRank = 4;

  const Buffer* buffer = nullptr;
  uint64_t offset = 0;  ///< elements from the start of the buffer to the first element
  DType dtype = DType::F32;
  uint32_t rank_ = 0;
  std::array<uint32_t, kMaxRank> dims{};
  std::array<uint32_t, kMaxRank> strides{};  ///< elements from one index to the next
  uint64_t scales = 0;  ///< block types: bytes from the start of the buffer to the plane of scales; that of codes is at 0

  uint32_t rank() const { return rank_; }
  uint32_t dim(uint32_t axis) const {
    assert(axis < rank_);
    return dims[axis];
  }
  uint32_t stride(uint32_t axis) const {
    assert(axis < rank_);
    return strides[axis];
  }
  bool empty() const { return buffer == nullptr; }
  uint64_t element_count() const;
  /// Elements from the first to one past the last that the view touches.
  uint64_t span_elements() const;
  uint64_t span_bytes() const { return dtype_bytes_of(dtype, span_elements()); }
  uint64_t offset_bytes() const { return dtype_bytes_of(dtype, offset); }
  bool contiguous() const;

  /// Rows first..first+count-1 of the first axis. The caller keeps first + count <= dim(0).
  TensorView rows(uint32_t first, uint32_t count) const;
  /// The same elements under other dimensions; the view must be contiguous and the counts equal.
  TensorView reshaped(std::initializer_list<uint32_t> new_dims) const;
};

/// A contiguous view of `dims` from `offset` elements into `buffer`.
TensorView make_view(const Buffer& buffer, DType dtype, std::initializer_list<uint32_t> dims, uint64_t offset = 0);

/// A matrix [rows, columns] or [batch, rows, columns] whose rows start `row_stride` elements apart.
TensorView make_strided_view(const Buffer& buffer, DType dtype, std::initializer_list<uint32_t> dims, uint32_t row_stride,
                             uint64_t offset = 0);

bool same_shape(const TensorView& a, const TensorView& b);

/// Writes "[3, 64] f16", for messages.
std::ostream& operator<<(std::ostream& out, const TensorView& view);

}  // namespace vl2
