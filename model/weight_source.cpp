#include "model/weight_source.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "model/weight_convert.h"

namespace vl2 {

namespace {

using TypeMap = std::map<std::string, DType>;

Result<WeightPart> make_part(const TensorPart& part, const CheckpointTensor& tensor, const TypeMap& types) {
  if (tensor.shape != part.shape)
    return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", shape_text(tensor.shape), ", config.json wants ",
                shape_text(part.shape));
  const WeightFormat* format = find_weight_format(tensor.dtype_text);
  if (format == nullptr)
    return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", tensor.dtype_text, ", wanted BF16, F16, F32 or blocks");
  if (part.shape.back() % dtype_block(format->dtype) != 0)
    return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", tensor.dtype_text, ", of which rows of ",
                part.shape.back(), " are no whole blocks");
  const auto wanted = types.find(part.name);
  return WeightPart{&tensor, format->dtype, wanted == types.end() ? format->dtype : wanted->second};
}

// The bytes of `count` rows of a part in its `type`.
Status read_part(const Checkpoint& checkpoint, const WeightSource& source, size_t index, uint64_t first, uint64_t count,
                 std::vector<std::byte>& bytes) {
  const WeightPart& part = source.parts[index];
  const uint64_t columns = source.slot.columns(), stored_bytes = dtype_bytes_of(part.stored, columns);
  bytes.resize(count * stored_bytes);
  VL2_TRY(checkpoint.read(*part.tensor, first * stored_bytes, bytes));
  if (part.stored == part.type)
    return {};
  const uint64_t row_bytes = dtype_bytes_of(part.type, columns);
  const std::vector<std::byte> stored = std::move(bytes);
  bytes.assign(count * row_bytes, std::byte{0});
  std::vector<float> values(columns);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string where = "quantize: " + source.slot.parts[index].name + ": row " + std::to_string(first + i);
    VL2_TRY(dequantize_row(part.stored, std::span(stored).subspan(i * stored_bytes, stored_bytes), values, where));
    VL2_TRY(quantize_row(part.type, values, std::span(bytes).subspan(i * row_bytes, row_bytes), where));
  }
  return {};
}

// Converts a row from what its part is to what the slot is on the device. False for a value that is not finite there.
//
// codes  device memory as the host sees it, perhaps: written once and in order, never read, which would take microseconds a word
bool place_row(const WeightSource& source, DType type, const std::byte* row, std::byte* codes, std::byte* scales,
               std::vector<std::byte>& repacked) {
  const uint64_t columns = source.slot.columns();
  if (dtype_block(source.dtype) > 1) {
    repacked.resize(source.row_bytes());
    find_weight_format(source.dtype)->repack(row, columns, repacked.data(), scales);
    std::memcpy(codes, repacked.data(), repacked.size());
    return true;
  }
  const bool finite = convert_row(type, row, columns, source.dtype, codes);
  std::memset(codes + columns * dtype_bytes(source.dtype), 0, source.row_bytes() - columns * dtype_bytes(source.dtype));
  return finite;
}

}  // namespace

bool WeightSource::all_are(DType type) const {
  return std::all_of(parts.begin(), parts.end(), [&](const WeightPart& part) { return part.type == type; });
}

Result<std::vector<WeightSource>> match_weights(const Checkpoint& checkpoint, std::vector<TensorSlot> table,
                                                const TypeMap& types) {
  std::vector<WeightSource> sources;
  std::set<std::string> used;
  for (TensorSlot& slot : table) {
    WeightSource source;
    for (const TensorPart& part : slot.parts) {
      const auto found = checkpoint.tensors().find(part.name);
      if (found == checkpoint.tensors().end())
        return fail(Code::BadFile, "checkpoint: tensor ", part.name, " ", shape_text(part.shape), " is missing");
      VL2_ASSIGN(const WeightPart made, make_part(part, found->second, types));
      source.parts.push_back(made);
      used.insert(part.name);
    }
    std::vector<DType> part_types;
    for (const WeightPart& part : source.parts)
      part_types.push_back(part.type);
    source.dtype = slot.device_dtype(part_types);
    source.slot = std::move(slot);
    sources.push_back(std::move(source));
  }
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (used.count(name) == 0 && !is_expected_and_unused(name))
      return fail(Code::BadFile, "checkpoint: tensor ", name, " ", shape_text(tensor.shape), " has no place in this model");
  return sources;
}

Status read_weight_rows(const Checkpoint& checkpoint, const WeightSource& source, const RowTarget& target,
                        std::atomic<bool>& overflow) {
  const uint64_t rows_per_part = source.slot.rows() / source.parts.size();
  const uint64_t columns = source.slot.columns(), row_floats = columns * 4;
  const uint64_t row_bytes = source.row_bytes(), row_count = target.codes.size() / row_bytes;
  std::vector<std::byte> scratch, repacked;
  for (uint64_t row = 0; row < row_count;) {
    const uint64_t part = (target.first_row + row) / rows_per_part, row_in_part = (target.first_row + row) % rows_per_part;
    const uint64_t batch =
        std::min({rows_per_part - row_in_part, row_count - row, std::max<uint64_t>((1u << 21) / row_floats, 1)});
    VL2_TRY(read_part(checkpoint, source, part, row_in_part, batch, scratch));
    const DType type = source.parts[part].type;
    const uint64_t part_row_bytes = dtype_bytes_of(type, columns);
    for (uint64_t i = 0; i < batch; ++i)
      if (!place_row(source, type, scratch.data() + i * part_row_bytes, target.codes.data() + (row + i) * row_bytes,
                     target.scales == nullptr ? nullptr : target.scales + (row + i) * source.row_scale_bytes(), repacked))
        overflow = true;
    row += batch;
  }
  return {};
}

}  // namespace vl2
