#include "runtime/tensor.h"

namespace vl2 {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::F32: return "f32";
    case DType::F16: return "f16";
    case DType::BF16: return "bf16";
    case DType::U32: return "u32";
    case DType::I32: return "i32";
    case DType::U8: return "u8";
    case DType::Q8_0: return "q8_0";
    case DType::Q4_0: return "q4_0";
    case DType::Q4_K: return "q4_k";
    case DType::Q6_K: return "q6_k";
  }
  return "?";
}

uint64_t TensorView::element_count() const {
  uint64_t count = rank_ == 0 ? 0 : 1;
  for (uint32_t axis = 0; axis < rank_; ++axis)
    count *= dims[axis];
  return count;
}

uint64_t TensorView::span_elements() const {
  if (element_count() == 0)
    return 0;
  uint64_t last = 0;
  for (uint32_t axis = 0; axis < rank_; ++axis)
    last += uint64_t{dims[axis] - 1} * strides[axis];
  return last + 1;
}

bool TensorView::contiguous() const {
  uint64_t expected = 1;
  for (uint32_t axis = rank_; axis-- > 0;) {
    if (dims[axis] != 1 && strides[axis] != expected)
      return false;
    expected *= dims[axis];
  }
  return true;
}

TensorView TensorView::rows(uint32_t first, uint32_t count) const {
  assert(rank_ > 0 && uint64_t{first} + count <= dims[0]);
  TensorView view = *this;
  view.offset += uint64_t{first} * strides[0];
  view.dims[0] = count;
  return view;
}

namespace {
void set_dims(TensorView& view, std::initializer_list<uint32_t> dims) {
  assert(dims.size() <= TensorView::kMaxRank);
  view.rank_ = 0;
  view.dims = {};
  view.strides = {};
  for (const uint32_t dim : dims)
    view.dims[view.rank_++] = dim;
  uint32_t stride = 1;
  for (uint32_t axis = view.rank_; axis-- > 0;) {
    view.strides[axis] = stride;
    stride *= view.dims[axis];
  }
}
}  // namespace

TensorView TensorView::reshaped(std::initializer_list<uint32_t> new_dims) const {
  TensorView view = *this;
  set_dims(view, new_dims);
  assert(contiguous() && view.element_count() == element_count());
  return view;
}

TensorView make_view(const Buffer& buffer, DType dtype, std::initializer_list<uint32_t> dims, uint64_t offset) {
  TensorView view;
  view.buffer = &buffer;
  view.offset = offset;
  view.dtype = dtype;
  set_dims(view, dims);
  return view;
}

TensorView make_strided_view(const Buffer& buffer, DType dtype, std::initializer_list<uint32_t> dims, uint32_t row_stride,
                             uint64_t offset) {
  TensorView view = make_view(buffer, dtype, dims, offset);
  assert(view.rank_ >= 2 && row_stride >= view.dims[view.rank_ - 1]);
  uint32_t stride = row_stride;
  for (uint32_t axis = view.rank_ - 1; axis-- > 0;) {
    view.strides[axis] = stride;
    stride *= view.dims[axis];
  }
  return view;
}

bool same_shape(const TensorView& a, const TensorView& b) {
  if (a.rank() != b.rank())
    return false;
  for (uint32_t axis = 0; axis < a.rank(); ++axis)
    if (a.dim(axis) != b.dim(axis))
      return false;
  return true;
}

std::ostream& operator<<(std::ostream& out, const TensorView& view) {
  out << '[';
  for (uint32_t axis = 0; axis < view.rank(); ++axis)
    out << (axis == 0 ? "" : ", ") << view.dim(axis);
  return out << "] " << dtype_name(view.dtype);
}

}  // namespace vl2
