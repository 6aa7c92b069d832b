#include "app/tensor_file.h"

#include <cstring>
#include <vector>

#include "model/npy.h"
#include "runtime/half.h"

namespace vl2 {

Status save_tensor(Recorder& rec, const TensorView& view, const std::string& path) {
  const bool repeated = view.rank() > 1 && view.dim(0) > 0 && view.stride(0) == 0;
  const TensorView stored = repeated ? view.rows(0, 1) : view;
  std::vector<std::byte> once(stored.span_bytes()), bytes;
  VL2_TRY(rec.download(stored, once));
  for (uint32_t k = 0; k < (repeated ? view.dim(0) : 1); ++k)
    bytes.insert(bytes.end(), once.begin(), once.end());
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
