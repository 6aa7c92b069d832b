#include "app/tensor_file.h"

#include <cstring>
#include <vector>

#include "model/npy.h"
#include "runtime/half.h"

namespace vl2 {

Status save_tensor(Recorder& rec, const TensorView& view, const std::string& path) {
  std::vector<std::byte> bytes(view.span_bytes());
  VL2_TRY(rec.download(view, bytes));
  std::vector<uint64_t> shape(view.dims.begin(), view.dims.begin() + view.rank());
  if (view.dtype == DType::F32)
    return write_npy(path, NpyDType::F32, shape, bytes);
  std::vector<float> values(view.element_count());
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, &bytes[2 * i], sizeof(half));
    values[i] = half_to_float(half);
  }
  return write_npy(path, NpyDType::F32, shape, std::as_bytes(std::span(values)));
}

}  // namespace vl2
