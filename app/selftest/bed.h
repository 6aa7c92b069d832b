// Where the checks of `vl2 selftest` put their tensors: numbers in, numbers out.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/recorder.h"
#include "runtime/status.h"

namespace vl2 {

/// Tensors that live as long as this does, and the recorder of what runs on them.
class TestBed {
 public:
  explicit TestBed(Device& target) : device(target), rec(target) {}

  Device& device;

  /// Full of NaN (words: 0xdeadbeef), so that what nothing wrote shows.
  Result<TensorView> result(DType dtype, std::initializer_list<uint32_t> dims);
  /// `values` in f32 or rounded to f16.
  Result<TensorView> numbers(DType dtype, std::initializer_list<uint32_t> dims, std::span<const float> values);
  Result<TensorView> words(std::initializer_list<uint32_t> dims, std::span<const uint32_t> values);
  Result<TensorView> bytes(std::initializer_list<uint32_t> dims, std::span<const uint8_t> values);
  /// A weight as the loader puts it on a device; `values` become what it stands for then.
  ///
  /// dims  rows are whole blocks of the format, and multiples of 8
  Result<TensorView> weight(DType format, std::initializer_list<uint32_t> dims, std::vector<float>& values);

  /// What stands in a contiguous tensor of f32, f16, u32 or u8 after all that was recorded: whole numbers below 2^24 are exact.
  Result<std::vector<float>> read(const TensorView& view);

 private:
  Result<TensorView> store(DType dtype, std::initializer_list<uint32_t> dims, std::span<const std::byte> from);

  std::vector<std::unique_ptr<Buffer>> buffers_;

 public:
  Recorder rec;  // after the buffers: it must be gone before they are
};

/// Numbers from -scale to scale that f16 holds, other ones for each seed.
std::vector<float> some_numbers(size_t count, float scale, uint64_t seed);

}  // namespace vl2
