#include "model/scratch.h"

namespace vl2 {

Result<TensorView> Scratch::get(const std::string& name, DType dtype, std::initializer_list<uint32_t> dims) {
  uint64_t bytes = dtype_bytes(dtype);
  for (const uint32_t dim : dims)
    bytes *= dim;
  std::unique_ptr<Buffer>& buffer = buffers_[name];
  if (buffer == nullptr || buffer->bytes() < bytes) {
    VL2_ASSIGN(auto larger, memory_.allocate(bytes, MemoryKind::Device, name));
    if (buffer != nullptr)
      outgrown_.push_back(std::move(buffer));
    buffer = std::move(larger);
  }
  return make_view(*buffer, dtype, dims);
}

}  // namespace vl2
