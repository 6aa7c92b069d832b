#include "model/synthetic_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "model/expert_cache.h"
#include "model/memory_plan.h"
#include "model/quantize_mix.h"
#include "model/tensor_table.h"
#include "runtime/device.h"
#include "runtime/half.h"
#include "runtime/recorder.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

constexpr uint32_t kBlockElements = (1u << 20) + 256 * 13;  // whole blocks of every format, no power of 2

// Twelve uniform numbers make one that is normal enough; the generator is SplitMix64.
std::vector<float> normal_values(uint32_t count) {
  std::vector<float> values(count);
  uint64_t state = 1;
  for (float& value : values) {
    uint32_t sum = 0;
    for (int draw = 0; draw < 3; ++draw) {
      uint64_t bits = (state += 0x9e3779b97f4a7c15u);
      bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
      bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
      for (int shift = 0; shift < 64; shift += 16)
        sum += static_cast<uint32_t>((bits >> shift) & 0xffffu);
    }
    value = static_cast<float>(sum) / 65536.0f - 6.0f + 6.0f / 65536.0f;  // mean 0, variance 1
  }
  return values;
}

// Copies blocks of random values, one a dtype and scale, to where weights are.
class Filler {
 public:
  explicit Filler(Device& device)
      : device_(device), rec_(device), values_(device.executes() ? normal_values(kBlockElements) : std::vector<float>()) {}

  Status fill(const TensorSlot& slot, DType dtype, const Buffer& buffer) {
    const uint64_t elements = slot.rows() * slot.padded_columns();
    if (slot.is_norm_weight())
      return rec_.fill(make_view(buffer, DType::U32, {static_cast<uint32_t>(elements)}), 0x3f800000u);  // 1.0f
    const float scale = scale_of(slot);
    if (slot.padded_columns() != slot.columns())
      return fill_padded(slot, dtype, scale, buffer);
    VL2_ASSIGN(const Block* block, block_of(dtype, scale));
    VL2_TRY(repeat(*block->codes, buffer, 0, device_code_bytes(dtype, elements)));
    if (block->scales == nullptr)
      return {};
    return repeat(*block->scales, buffer, device_scales_offset(dtype, elements), device_scale_bytes(dtype, elements));
  }

  Status finish() { return rec_.finish(); }

 private:
  // Random values on the device: plain, or the planes of a block format.
  struct Block {
    std::unique_ptr<Buffer> codes, scales;
  };

  static float scale_of(const TensorSlot& slot) {
    const bool embedding = slot.parts.front().name.find("embed_tokens") != std::string::npos;
    return slot.kind != SlotKind::Vector && !embedding ? 1.0f / std::sqrt(static_cast<float>(slot.columns())) : 0.02f;
  }

  void write(std::byte* target, uint64_t index, DType dtype, float scale) const {
    const float value = values_[index % kBlockElements] * scale;
    const uint16_t half = float_to_half(value);
    std::memcpy(target, dtype == DType::F16 ? static_cast<const void*>(&half) : &value, dtype_bytes(dtype));
  }

  Status repeat(const Buffer& block, const Buffer& buffer, uint64_t place, uint64_t bytes) {
    const uint64_t words = (bytes + 3) / 4, block_words = block.bytes() / 4;
    for (uint64_t first = 0; first < words; first += block_words) {
      const auto count = static_cast<uint32_t>(std::min(block_words, words - first));
      VL2_TRY(rec_.copy(make_view(block, DType::U32, {count}), make_view(buffer, DType::U32, {count}, place / 4 + first)));
    }
    return {};
  }

  Result<std::unique_ptr<Buffer>> store(std::span<const std::byte> bytes) {
    VL2_ASSIGN(auto buffer, device_.memory().allocate(bytes.size(), MemoryKind::Device, "random values"));
    VL2_TRY(upload_bytes(device_, *buffer, bytes));
    return buffer;
  }

  Result<const Block*> block_of(DType dtype, float scale) {
    Block& block = blocks_[{dtype, scale}];
    if (block.codes != nullptr)
      return &block;
    std::vector<std::byte> codes(device_code_bytes(dtype, kBlockElements)), scales(device_scale_bytes(dtype, kBlockElements));
    if (device_.executes())
      VL2_TRY(make_planes(dtype, scale, codes, scales));
    if (!scales.empty()) {
      VL2_ASSIGN(block.scales, store(scales));
    }
    VL2_ASSIGN(block.codes, store(codes));
    return &block;
  }

  Status make_planes(DType dtype, float scale, std::span<std::byte> codes, std::span<std::byte> scales) const {
    if (dtype_block(dtype) == 1) {
      for (uint32_t i = 0; i < kBlockElements; ++i)
        write(codes.data() + size_t{i} * dtype_bytes(dtype), i, dtype, scale);
      return {};
    }
    std::vector<float> values(values_);
    for (float& value : values)
      value *= scale;
    std::vector<std::byte> blocks(dtype_bytes_of(dtype, kBlockElements));
    VL2_TRY(quantize_row(dtype, values, blocks, "random values"));
    find_weight_format(dtype)->repack(blocks.data(), kBlockElements, codes.data(), scales.data());
    return {};
  }

  Status fill_padded(const TensorSlot& slot, DType dtype, float scale, const Buffer& buffer) {
    const uint64_t row_bytes = uint64_t{slot.padded_columns()} * dtype_bytes(dtype);
    std::vector<std::byte> bytes(slot.rows() * row_bytes);  // zeros; such a matrix is small
    for (uint64_t row = 0; row < slot.rows() && device_.executes(); ++row)
      for (uint64_t column = 0; column < slot.columns(); ++column)
        write(bytes.data() + row * row_bytes + column * dtype_bytes(dtype), row * slot.columns() + column, dtype, scale);
    return upload_bytes(device_, buffer, bytes);
  }

  Device& device_;
  std::map<std::pair<DType, float>, Block> blocks_;
  Recorder rec_;  // after the blocks that it reads
  std::vector<float> values_;
};

}  // namespace

Result<std::unique_ptr<Weights>> make_synthetic_weights(Device& device, const Config& config, const QuantizeMix* mix,
                                                        uint32_t expert_slots) {
  auto weights = std::make_unique<Weights>();
  Filler filler(device);
  const std::map<std::string, DType> types = mix == nullptr ? std::map<std::string, DType>() : published_types(*mix, config);
  for (const TensorSlot& slot : tensor_table(config, *weights)) {
    std::vector<DType> part_types;
    for (const TensorPart& part : slot.parts) {
      const auto found = types.find(part.name);
      part_types.push_back(found == types.end() ? DType::F16 : found->second);
    }
    const DType dtype = slot.device_dtype(part_types);
    const uint64_t bytes = slot.device_bytes(dtype);
    const std::string& name = slot.parts.front().name;
    const bool on_host = expert_slots > 0 && weight_group(name) == MemoryGroup::Experts;
    VL2_ASSIGN(auto buffer, device.memory().allocate(bytes, on_host ? MemoryKind::Host : MemoryKind::Device, name));
    *slot.target = slot.view(*buffer, dtype);
    weights->buffers.push_back(std::move(buffer));  // before anything is recorded: it outlives the filler
    VL2_TRY(filler.fill(slot, dtype, *weights->buffers.back()));
    (on_host ? weights->host_bytes : weights->device_bytes) += bytes;
  }
  VL2_TRY(filler.finish());
  if (expert_slots > 0)
    VL2_TRY(add_expert_cache(device, config.language, expert_slots, *weights));
  return weights;
}

Status skew_routing(Device& device, float skew, Weights& weights) {
  for (LayerWeights& layer : weights.language.layers) {
    if (!layer.is_moe)
      continue;
    const uint32_t experts = layer.router.dim(0);
    const auto count = static_cast<float>(experts);
    std::vector<float> bias(experts);
    for (uint32_t e = 0; e < experts; ++e)
      bias[e] = skew * (1 - 2 * static_cast<float>(e) / std::max(count - 1, 1.0f)) / count;
    VL2_ASSIGN(auto buffer, device.memory().allocate(4 * uint64_t{experts}, MemoryKind::Device, "skewed router bias"));
    VL2_TRY(upload_bytes(device, *buffer, std::as_bytes(std::span(bias))));
    layer.router_bias = make_view(*buffer, DType::F32, {experts});
    weights.buffers.push_back(std::move(buffer));
  }
  return {};
}

}  // namespace vl2
