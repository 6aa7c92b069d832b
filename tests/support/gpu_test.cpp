#include "tests/support/gpu_test.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/half.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

std::unique_ptr<Device> shared_device;

}  // namespace

Device& test_device() {
  if (shared_device != nullptr)
    return *shared_device;
  auto options = device_options_from_environment();
  if (options.ok()) {
    options->count_saturation = true;
    auto device = Device::create(*options);
    if (device.ok()) {
      shared_device = device.take();
      std::printf("tests run on %s (%s %s), tier %u\n", shared_device->caps().name.c_str(),
                  shared_device->caps().driver_name.c_str(), shared_device->caps().driver_info.c_str(), shared_device->tier());
      return *shared_device;
    }
    std::fprintf(stderr, "no device to test on: %s\n", device.message().c_str());
  } else {
    std::fprintf(stderr, "%s\n", options.message().c_str());
  }
  std::exit(1);
}

bool report_validation_messages() {
  if (shared_device == nullptr)
    return false;
  const std::vector<std::string>& messages = shared_device->instance().validation_messages();
  for (const std::string& message : messages)
    std::fprintf(stderr, "validation: %s\n", message.c_str());
  const bool any = !messages.empty();
  shared_device.reset();
  return any;
}

std::vector<DType> GpuTest::act_types() const {
  const DeviceCaps& caps = device.caps();
  return caps.float16 && caps.storage16 ? std::vector{DType::F32, DType::F16} : std::vector{DType::F32};
}

std::vector<MatrixTile> GpuTest::tiles_to_test() const {
  std::vector<MatrixTile> tiles;
  if (device.tier() >= 3)
    for (const MatrixShape& shape : gemm_shapes(device.caps())) {
      const auto of_shape = matrix_tiles(device.caps(), shape);
      tiles.insert(tiles.end(), of_shape.begin(), of_shape.end());
    }
  else
    MESSAGE("this device multiplies no matrices in tier ", device.tier());
  if (device.quirks().barriers_are_slow)
    std::erase_if(tiles, [](const MatrixTile& t) { return t.subgroup_rows * t.subgroup_columns > 4 * t.shape.m * t.shape.n; });
  return tiles;
}

TensorView GpuTest::store(std::initializer_list<uint32_t> dims, DType dtype, const void* bytes, size_t byte_count) {
  const size_t rounded = std::max<size_t>((byte_count + 3) / 4 * 4, 4);
  auto buffer = device.memory().allocate(rounded, MemoryKind::Device, "test tensor");
  REQUIRE_MESSAGE(buffer.ok(), buffer.message());
  std::vector<std::byte> padded(rounded);
  if (byte_count > 0)
    std::memcpy(padded.data(), bytes, byte_count);
  const Status uploaded = upload_bytes(device, **buffer, padded);
  REQUIRE_MESSAGE(uploaded.ok(), uploaded.message());
  buffers_.push_back(buffer.take());
  return make_view(*buffers_.back(), dtype, dims);
}

namespace {
size_t count_of(std::initializer_list<uint32_t> dims) {
  size_t count = 1;
  for (const uint32_t dim : dims)
    count *= dim;
  return count;
}
}  // namespace

TensorView GpuTest::tensor(std::initializer_list<uint32_t> dims, DType dtype) {
  const size_t bytes = count_of(dims) * dtype_bytes(dtype);
  const uint32_t word = dtype == DType::U32 || dtype == DType::I32 ? 0xdeadbeefu : 0xffffffffu;
  const std::vector<uint32_t> poison((bytes + 3) / 4, word);
  return store(dims, dtype, poison.data(), bytes);
}

TensorView GpuTest::upload(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype) {
  REQUIRE(values.size() == count_of(dims));
  if (dtype == DType::F32)
    return store(dims, dtype, values.data(), values.size() * 4);
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    halves[i] = dtype == DType::F16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
  return store(dims, dtype, halves.data(), halves.size() * 2);
}

TensorView GpuTest::upload_blocks(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> blocks(dtype_bytes_of(dtype, values.size())), planes(device_bytes(dtype, values.size()));
  const Status status = quantize_row(dtype, values, blocks, "upload_weight");
  REQUIRE_MESSAGE(status.ok(), status.message());
  const uint64_t scales = device_scales_offset(dtype, values.size());
  find_weight_format(dtype)->repack(blocks.data(), values.size(), planes.data(), planes.data() + scales);
  TensorView view = store(dims, dtype, planes.data(), planes.size());
  view.scales = scales;
  return view;
}

TensorView GpuTest::upload_weight(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype) {
  REQUIRE(values.size() == count_of(dims));
  if (dtype_block(dtype) > 1)
    return upload_blocks(dims, values, dtype);
  const uint32_t columns = *(dims.end() - 1), padded = (columns + 7) / 8 * 8;
  const size_t rows = columns == 0 ? 0 : values.size() / columns;
  std::vector<float> wide(rows * padded, 0.0f);
  for (size_t row = 0; row < rows; ++row)
    std::memcpy(&wide[row * padded], &values[row * columns], columns * sizeof(float));
  const TensorView flat = upload({static_cast<uint32_t>(wide.size())}, wide, dtype);
  return make_strided_view(*flat.buffer, dtype, dims, padded);
}

TensorView GpuTest::upload_u32(std::initializer_list<uint32_t> dims, const std::vector<uint32_t>& values) {
  REQUIRE(values.size() == count_of(dims));
  return store(dims, DType::U32, values.data(), values.size() * 4);
}

TensorView GpuTest::upload_i32(std::initializer_list<uint32_t> dims, const std::vector<int32_t>& values) {
  REQUIRE(values.size() == count_of(dims));
  return store(dims, DType::I32, values.data(), values.size() * 4);
}

TensorView GpuTest::upload_u8(std::initializer_list<uint32_t> dims, const std::vector<uint8_t>& values) {
  REQUIRE(values.size() == count_of(dims));
  return store(dims, DType::U8, values.data(), values.size());
}

std::vector<std::byte> GpuTest::download_span(const TensorView& view) {
  std::vector<std::byte> bytes(view.span_bytes());
  const TensorView span = make_view(*view.buffer, view.dtype, {static_cast<uint32_t>(view.span_elements())}, view.offset);
  const Status status = rec.download(span, bytes);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return bytes;
}

namespace {
// Calls visit(element offset in the span) for every element, row-major.
template <typename Visit>
void for_each_element(const TensorView& view, Visit visit) {
  const uint64_t count = view.element_count();
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t rest = i, at = 0;
    for (uint32_t axis = view.rank(); axis-- > 0;) {
      at += rest % view.dim(axis) * view.stride(axis);
      rest /= view.dim(axis);
    }
    visit(at);
  }
}
}  // namespace

std::vector<float> GpuTest::download(const TensorView& view) {
  const std::vector<std::byte> bytes = download_span(view);
  std::vector<float> values;
  values.reserve(view.element_count());
  for_each_element(view, [&](uint64_t at) {
    if (view.dtype == DType::F32) {
      float value;
      std::memcpy(&value, &bytes[at * 4], 4);
      values.push_back(value);
    } else {
      uint16_t half;
      std::memcpy(&half, &bytes[at * 2], 2);
      values.push_back(view.dtype == DType::F16 ? half_to_float(half) : bfloat16_to_float(half));
    }
  });
  return values;
}

std::vector<uint32_t> GpuTest::download_u32(const TensorView& view) {
  const std::vector<std::byte> bytes = download_span(view);
  std::vector<uint32_t> values;
  for_each_element(view, [&](uint64_t at) {
    uint32_t value;
    std::memcpy(&value, &bytes[at * 4], 4);
    values.push_back(value);
  });
  return values;
}

std::vector<uint8_t> GpuTest::download_u8(const TensorView& view) {
  const std::vector<std::byte> bytes = download_span(view);
  std::vector<uint8_t> values;
  for_each_element(view, [&](uint64_t at) { values.push_back(static_cast<uint8_t>(bytes[at])); });
  return values;
}

}  // namespace vl2
