// Checkpoint::open_gguf, and reading what a GGUF file stores in another order than published.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "model/checkpoint.h"
#include "model/gguf.h"
#include "model/gguf_layout.h"
#include "runtime/half.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

using TensorMap = std::map<std::string, const GgufTensor*>;

// The tensor of an entry, taken out of the map of those that have no place yet.
Result<const GgufTensor*> take(TensorMap& left, const GgufEntry& entry, const std::string& path) {
  const auto found = left.find(entry.name);
  if (found == left.end())
    return fail(Code::BadFile, path, ": tensor ", entry.name, " ", shape_text(entry.shape), " is missing");
  const GgufTensor* tensor = found->second;
  if (tensor->shape != entry.shape)
    return fail(Code::BadFile, path, ": tensor ", entry.name, " is ", shape_text(tensor->shape), ", the configuration wants ",
                shape_text(entry.shape));
  left.erase(found);
  return tensor;
}

CheckpointTensor plain_tensor(const GgufTensor& tensor) {
  CheckpointTensor result;
  result.dtype_text = find_ggml_type(tensor.type)->name;
  result.shape = tensor.shape;
  result.first_byte = tensor.first_byte;
  result.byte_count = tensor.byte_count;
  return result;
}

Status check_known(const GgufTensor& tensor, const std::string& path) {
  if (find_weight_format_of_ggml(tensor.type) == nullptr)
    return fail(Code::Unsupported, path, ": tensor ", tensor.name, " is ", find_ggml_type(tensor.type)->name,
                ", which this program does not compute with");
  return {};
}

SplitKvB::Part part_of(const GgufTensor& tensor) {
  return {find_weight_format_of_ggml(tensor.type)->dtype, tensor.first_byte};
}

// As wide as it takes to lose nothing that the parts hold, but for sums of scales, which f16 holds well enough.
const char* common_type(DType a, DType b) {
  if (a == DType::F32 || b == DType::F32)
    return "F32";
  return a == DType::BF16 && b == DType::BF16 ? "BF16" : "F16";
}

CheckpointTensor joined_kv_b(const LanguageConfig& config, const GgufTensor& key, const GgufTensor& value,
                             const TensorPart& published) {
  auto split = std::make_shared<SplitKvB>();
  split->key = part_of(key);
  split->value = part_of(value);
  split->heads = config.num_attention_heads;
  split->nope = config.qk_nope_head_dim;
  split->value_dim = config.v_head_dim;
  split->rank = config.kv_lora_rank;
  CheckpointTensor tensor;
  tensor.dtype_text = common_type(split->key.dtype, split->value.dtype);
  tensor.shape = published.shape;
  tensor.byte_count = published.shape[0] * published.shape[1] * (tensor.dtype_text == std::string("F32") ? 4 : 2);
  tensor.split = std::move(split);
  return tensor;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::open_gguf(const std::string& path, const Gguf& gguf, const Config& config) {
  OpenFile file(path);
  if (!file)
    return fail(errno == ENOENT ? Code::NotFound : Code::IoError, path, ": ", std::strerror(errno));
  return open_gguf(std::move(file), path, gguf, config);
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open_gguf(OpenFile opened, const std::string& path, const Gguf& gguf,
                                                          const Config& config) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  VL2_ASSIGN(const uint32_t file, checkpoint->take_file(std::move(opened), path, path));
  TensorMap left;
  GgufLayout layout{false, false};
  for (const GgufTensor& tensor : gguf.tensors) {
    if (tensor.byte_count > checkpoint->files_[file].bytes ||
        tensor.first_byte > checkpoint->files_[file].bytes - tensor.byte_count)
      return fail(Code::IoError, path, ": is shorter than it was a moment ago");
    left[tensor.name] = &tensor;
    layout.vision |= tensor.name.starts_with("v.");
    layout.split_kv_b |= tensor.name.ends_with(".attn_k_b.weight");
  }
  auto& tensors = checkpoint->tensors_;
  const GgufTensor* key = nullptr;
  for (const GgufEntry& entry : gguf_entries(config, layout)) {
    VL2_ASSIGN(const GgufTensor* tensor, take(left, entry, path));
    VL2_TRY(check_known(*tensor, path));
    if (entry.order == RowOrder::KeyUp) {
      key = tensor;
    } else if (entry.order == RowOrder::ValueUp) {  // always the next after its keys
      tensors[entry.parts[0].name] = joined_kv_b(config.language, *key, *tensor, entry.parts[0]);
    } else {
      CheckpointTensor part = plain_tensor(*tensor);
      part.byte_count /= entry.parts.size();
      part.pair_heads = entry.order == RowOrder::RopePairs ? config.language.num_attention_heads : 0;
      for (const TensorPart& published : entry.parts) {
        part.shape = published.shape;
        tensors[published.name] = part;
        part.first_byte += part.byte_count;
      }
    }
  }
  for (const auto& [name, tensor] : left)
    tensors[name] = plain_tensor(*tensor);
  for (auto& [name, tensor] : tensors)
    tensor.file = file;
  return checkpoint;
}

Status Checkpoint::read_pairs(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const {
  const uint64_t row_bytes = tensor.byte_count / tensor.shape[0], width = tensor.shape[0] / tensor.pair_heads;
  if (first % row_bytes != 0 || target.size() % row_bytes != 0)
    return fail(Code::BadArgument, "checkpoint: read of part of a row");
  const File& file = files_[tensor.file];
  for (uint64_t row = first / row_bytes; !target.empty(); ++row, target = target.subspan(row_bytes)) {
    const uint64_t head = row / width, half = row % width / (width / 2), i = row % (width / 2);
    const uint64_t stored = head * width + 2 * i + half;
    VL2_TRY(read_file_at(file.descriptor, file.name, tensor.first_byte + stored * row_bytes, target.first(row_bytes)));
  }
  return {};
}

namespace {

// `count` rows of `columns` elements from row `first` on, as f32.
Status read_floats(int descriptor, const std::string& name, const SplitKvB::Part& part, uint64_t first, uint64_t count,
                   uint64_t columns, std::vector<float>& values) {
  const uint64_t row_bytes = dtype_bytes_of(part.dtype, columns);
  std::vector<std::byte> bytes(count * row_bytes);
  values.resize(count * columns);
  VL2_TRY(read_file_at(descriptor, name, part.first_byte + first * row_bytes, bytes));
  return dequantize_row(part.dtype, bytes, values, name);
}

}  // namespace

Status Checkpoint::read_split(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const {
  const SplitKvB& split = *tensor.split;
  const uint64_t row_bytes = tensor.byte_count / tensor.shape[0], head_rows = split.nope + split.value_dim;
  if (first % row_bytes != 0 || target.size() % row_bytes != 0)
    return fail(Code::BadArgument, "checkpoint: read of part of a row");
  const WeightFormat* format = find_weight_format(tensor.dtype_text);
  const File& file = files_[tensor.file];
  std::vector<float> keys, values, row(split.rank);
  uint64_t held = UINT64_MAX;  // the head in `keys` and `values`
  for (uint64_t index = first / row_bytes; !target.empty(); ++index, target = target.subspan(row_bytes)) {
    const uint64_t head = index / head_rows, i = index % head_rows;
    if (head != held) {
      VL2_TRY(read_floats(file.descriptor, file.name, split.key, head * split.rank, split.rank, split.nope, keys));
      VL2_TRY(read_floats(file.descriptor, file.name, split.value, head * split.value_dim, split.value_dim, split.rank, values));
      held = head;
    }
    if (i < split.nope)
      for (uint64_t k = 0; k < split.rank; ++k)
        row[k] = keys[k * split.nope + i];
    else
      std::copy_n(values.begin() + static_cast<ptrdiff_t>((i - split.nope) * split.rank), split.rank, row.begin());
    format->quantize(row.data(), split.rank, target.data());
  }
  return {};
}

}  // namespace vl2
