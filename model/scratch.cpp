#include "model/scratch.h"

namespace vl2 {

Result<TensorView> Scratch::get(const std::string& name, DType dtype, std::initializer_list<uint32_t> dims) {
  uint64_t bytes = dtype_bytes(dtype);
  for (const uint32_t dim : dims)
    bytes *= dim;
  Entry& entry = entries_[name];
  if (entry.buffer == nullptr || entry.buffer->bytes() < bytes) {
    if (entry.in_use)
      outgrown_.push_back(std::move(entry.buffer));
    entry.buffer.reset();
    entry.in_use = false;
    VL2_ASSIGN(entry.buffer, memory_.allocate(bytes, MemoryKind::Device, name));
  }
  entry.in_use = true;
  return make_view(*entry.buffer, dtype, dims);
}

void Scratch::drop_outgrown() {
  outgrown_.clear();
  for (auto& [name, entry] : entries_)
    entry.in_use = false;
}

}  // namespace vl2
