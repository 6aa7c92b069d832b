#include "app/selftest/bed.h"

#include <algorithm>
#include <cstring>

#include "runtime/half.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

uint64_t count_of(std::initializer_list<uint32_t> dims) {
  uint64_t count = 1;
  for (const uint32_t dim : dims)
    count *= dim;
  return count;
}

}  // namespace

Result<TensorView> TestBed::store(DType dtype, std::initializer_list<uint32_t> dims, std::span<const std::byte> from) {
  std::vector<std::byte> padded((from.size() + 3) / 4 * 4);
  std::copy(from.begin(), from.end(), padded.begin());
  VL2_ASSIGN(auto buffer, device.memory().allocate(padded.size(), MemoryKind::Device, "selftest"));
  VL2_TRY(upload_bytes(device, *buffer, padded));
  buffers_.push_back(std::move(buffer));
  return make_view(*buffers_.back(), dtype, dims);
}

Result<TensorView> TestBed::result(DType dtype, std::initializer_list<uint32_t> dims) {
  const uint32_t poison = dtype == DType::U32 ? 0xdeadbeefu : 0xffffffffu;
  const std::vector<uint32_t> filled((dtype_bytes_of(dtype, count_of(dims)) + 3) / 4, poison);
  return store(dtype, dims, std::as_bytes(std::span(filled)));
}

Result<TensorView> TestBed::numbers(DType dtype, std::initializer_list<uint32_t> dims, std::span<const float> values) {
  if (dtype == DType::F32)
    return store(dtype, dims, std::as_bytes(values));
  std::vector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), float_to_half);
  return store(dtype, dims, std::as_bytes(std::span(halves)));
}

Result<TensorView> TestBed::words(std::initializer_list<uint32_t> dims, std::span<const uint32_t> values) {
  return store(DType::U32, dims, std::as_bytes(values));
}

Result<TensorView> TestBed::bytes(std::initializer_list<uint32_t> dims, std::span<const uint8_t> values) {
  return store(DType::U8, dims, std::as_bytes(values));
}

Result<TensorView> TestBed::weight(DType format, std::initializer_list<uint32_t> dims, std::vector<float>& values) {
  const WeightFormat* const row = find_weight_format(format);
  std::vector<std::byte> stored(dtype_bytes_of(format, values.size()));
  VL2_TRY(quantize_row(format, values, stored, "selftest"));
  VL2_TRY(dequantize_row(format, stored, values, "selftest"));
  if (row->repack == nullptr)
    return store(format, dims, stored);
  std::vector<std::byte> planes(device_bytes(format, values.size()));
  const uint64_t scales = device_scales_offset(format, values.size());
  row->repack(stored.data(), values.size(), planes.data(), planes.data() + scales);
  VL2_ASSIGN(TensorView view, store(format, dims, planes));
  view.scales = scales;
  return view;
}

Result<std::vector<float>> TestBed::read(const TensorView& view) {
  std::vector<std::byte> raw(view.span_bytes());
  VL2_TRY(rec.download(view, raw));
  std::vector<float> values(view.element_count());
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* const from = raw.data() + i * dtype_bytes(view.dtype);
    uint32_t word = 0;
    std::memcpy(&word, from, dtype_bytes(view.dtype));
    if (view.dtype == DType::F32)
      std::memcpy(&values[i], &word, sizeof(float));
    else
      values[i] = view.dtype == DType::F16 ? half_to_float(static_cast<uint16_t>(word)) : static_cast<float>(word);
  }
  return values;
}

std::vector<float> some_numbers(size_t count, float scale, uint64_t seed) {
  std::vector<float> values(count);
  uint64_t state = 0x9e3779b97f4a7c15u * (seed + 1);
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = half_to_float(float_to_half(scale * (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f)));
  }
  return values;
}

}  // namespace vl2
