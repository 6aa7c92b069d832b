// The fixture of every test that computes on a device.
#pragma once

#include <cstdint>
#include <doctest/doctest.h>
#include <initializer_list>
#include <memory>
#include <vector>

#include "runtime/device.h"
#include "runtime/recorder.h"
#include "runtime/tuning.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"

namespace vl2 {

/// The device of this test run: chosen by VL2_DEVICE and so on, made at first use, with f16 saturation counted.
/// A run without a usable device fails here, with the reason.
Device& test_device();

/// Prints what the validation layers said during the run; true if anything.
bool report_validation_messages();

/// A recorder, and tensors that live as long as the test.
class GpuTest {
 public:
  GpuTest() : device(test_device()), rec(device) {}

  Device& device;

  /// f32, and f16 where the device stores it.
  std::vector<DType> act_types() const;

  /// The tiles of the device's matrix units in its tier, in every shape worth trying; of a CPU driver, which takes seconds to compile the larger, the small ones.
  std::vector<MatrixTile> tiles_to_test() const;

  /// A tensor full of NaN (u32: 0xdeadbeef), so that an element that nothing wrote shows.
  TensorView tensor(std::initializer_list<uint32_t> dims, DType dtype = DType::F32);
  /// `values` rounded to `dtype`.
  TensorView upload(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype = DType::F32);
  /// A weight matrix as the loader lays it out: rows padded with zeros to a multiple of 8 elements, or quantised to planes of
  /// blocks, of which rows are a multiple then.
  TensorView upload_weight(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype);
  TensorView upload_u32(std::initializer_list<uint32_t> dims, const std::vector<uint32_t>& values);
  TensorView upload_i32(std::initializer_list<uint32_t> dims, const std::vector<int32_t>& values);
  TensorView upload_u8(std::initializer_list<uint32_t> dims, const std::vector<uint8_t>& values);

  /// The elements of a view of any float type and strides, row-major, after everything recorded.
  std::vector<float> download(const TensorView& view);
  std::vector<uint32_t> download_u32(const TensorView& view);
  std::vector<uint8_t> download_u8(const TensorView& view);

 private:
  TensorView store(std::initializer_list<uint32_t> dims, DType dtype, const void* bytes, size_t byte_count);
  TensorView upload_blocks(std::initializer_list<uint32_t> dims, const std::vector<float>& values, DType dtype);
  std::vector<std::byte> download_span(const TensorView& view);
  std::vector<std::unique_ptr<Buffer>> buffers_;

 public:
  Recorder rec;  // after the buffers: it must be gone before they are
};

}  // namespace vl2
