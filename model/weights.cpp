#include "model/weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "model/expert_cache.h"
#include "model/memory_plan.h"
#include "model/quantize_mix.h"
#include "model/tensor_table.h"
#include "model/weight_convert.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

// One published tensor of a slot.
struct SourcePart {
  const CheckpointTensor* tensor;
  DType stored;  // in the file
  DType type;    // what it is made before it is converted for the device: `stored`, unless a mix says otherwise
};

// One slot with what the checkpoint holds for it.
struct Source {
  TensorSlot slot;
  std::vector<SourcePart> parts;
  DType dtype = DType::F16;

  // Of codes, and of scales, which only blocks have.
  uint64_t row_bytes() const { return device_code_bytes(dtype, slot.padded_columns()); }
  uint64_t row_scale_bytes() const { return device_scale_bytes(dtype, slot.padded_columns()); }
  uint64_t bytes() const { return slot.device_bytes(dtype); }
  bool all_are(DType type) const {
    return std::all_of(parts.begin(), parts.end(), [&](const SourcePart& part) { return part.type == type; });
  }
};

using TypeMap = std::map<std::string, DType>;

Result<SourcePart> make_part(const TensorPart& part, const CheckpointTensor& tensor, const TypeMap& types) {
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
  return SourcePart{&tensor, format->dtype, wanted == types.end() ? format->dtype : wanted->second};
}

// Pairs every slot with its tensors; names what is missing, misshaped or left over.
Result<std::vector<Source>> match(const Checkpoint& checkpoint, std::vector<TensorSlot> table, const TypeMap& types) {
  std::vector<Source> sources;
  std::set<std::string> used;
  for (TensorSlot& slot : table) {
    Source source;
    for (const TensorPart& part : slot.parts) {
      const auto found = checkpoint.tensors().find(part.name);
      if (found == checkpoint.tensors().end())
        return fail(Code::BadFile, "checkpoint: tensor ", part.name, " ", shape_text(part.shape), " is missing");
      VL2_ASSIGN(const SourcePart made, make_part(part, found->second, types));
      source.parts.push_back(made);
      used.insert(part.name);
    }
    std::vector<DType> part_types;
    for (const SourcePart& part : source.parts)
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

// The bytes of `count` rows of a part in its `type`.
Status read_part(const Checkpoint& checkpoint, const Source& source, size_t index, uint64_t first, uint64_t count,
                 std::vector<std::byte>& bytes) {
  const SourcePart& part = source.parts[index];
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
bool place_row(const Source& source, DType type, const std::byte* row, std::byte* codes, std::byte* scales,
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

// Where rows go, from first_row on.
struct RowTarget {
  uint64_t first_row;
  std::span<std::byte> codes;
  std::byte* scales;  // null without blocks
};

// Reads and converts whole rows of a source. Any thread.
Status read_rows(const Checkpoint& checkpoint, const Source& source, const RowTarget& target, std::atomic<bool>& overflow) {
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

// The same, by several threads over ranges of rows.
Status read_rows_parallel(const Checkpoint& checkpoint, const Source& source, const RowTarget& target,
                          std::atomic<bool>& overflow) {
  const uint64_t row_bytes = source.row_bytes(), row_count = target.codes.size() / row_bytes;
  const uint64_t most = std::clamp<uint64_t>(target.codes.size() >> 21, 1, 16);  // a thread for every 2 MiB
  const uint64_t thread_count = std::min<uint64_t>({most, std::max(std::thread::hardware_concurrency(), 1u), row_count});
  std::vector<Status> results(thread_count);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < thread_count; ++i) {
    const uint64_t begin = row_count * i / thread_count, end = row_count * (i + 1) / thread_count;
    const auto work = [&, i, begin, end] {
      std::byte* const scales = target.scales == nullptr ? nullptr : target.scales + begin * source.row_scale_bytes();
      results[i] = read_rows(
          checkpoint, source,
          {target.first_row + begin, target.codes.subspan(begin * row_bytes, (end - begin) * row_bytes), scales}, overflow);
    };
    if (i + 1 == thread_count)
      work();
    else
      threads.emplace_back(work);
  }
  for (std::thread& thread : threads)
    thread.join();
  for (Status& result : results)
    VL2_TRY(result);
  return {};
}

// The plane of scales is small: it is collected while the codes go up, so that the file is read once.
Status upload_planes(Uploader& uploader, const Checkpoint& checkpoint, const Source& source, const Buffer& buffer,
                     std::atomic<bool>& overflow) {
  const uint64_t rows = source.slot.rows(), row_bytes = source.row_bytes(), scale_bytes = source.row_scale_bytes();
  std::vector<std::byte> scales(rows * scale_bytes);
  VL2_TRY(uploader.upload(buffer, 0, rows * row_bytes, row_bytes, [&](uint64_t first, std::span<std::byte> codes) {
    const uint64_t row = first / row_bytes;
    std::byte* const row_scales = scale_bytes == 0 ? nullptr : scales.data() + row * scale_bytes;
    return read_rows_parallel(checkpoint, source, {row, codes, row_scales}, overflow);
  }));
  if (scales.empty())
    return {};
  const uint64_t place = device_scales_offset(source.dtype, rows * source.slot.padded_columns());
  return uploader.upload(buffer, place, scales.size(), 1, [&](uint64_t first, std::span<std::byte> target) -> Status {
    std::memcpy(target.data(), scales.data() + first, target.size());
    return {};
  });
}

Status upload_source(Uploader& uploader, const Checkpoint& checkpoint, Source& source, const Buffer& buffer) {
  for (;;) {
    std::atomic<bool> overflow = false;
    VL2_TRY(upload_planes(uploader, checkpoint, source, buffer, overflow));
    if (!overflow)
      return {};
    if (source.dtype != DType::F16 || !source.all_are(DType::BF16))
      return fail(Code::BadFile, "checkpoint: tensor ", source.slot.parts[0].name, " holds a value that is not finite",
                  source.dtype == DType::F16 ? " in f16" : "");
    source.dtype = DType::BF16;  // some value is beyond f16's range: this tensor stays as published
  }
}

}  // namespace

uint64_t weight_bytes(const Config& config) {
  Weights weights;
  uint64_t bytes = 0;
  for (const TensorSlot& slot : tensor_table(config, weights))
    bytes += slot.device_bytes(slot.device_dtype(std::array{DType::BF16}));
  return bytes;
}

Result<std::unique_ptr<Weights>> load_weights(Device& device, const Checkpoint& checkpoint, const Config& config,
                                              const LoadProgress& progress, LoadTimes* times, const QuantizeMix* mix,
                                              uint32_t expert_slots) {
  LoadTimes unused;
  LoadTimes& spent = times != nullptr ? *times : unused;
  auto weights = std::make_unique<Weights>();
  auto start = Clock::now();
  VL2_ASSIGN(std::vector<Source> sources,
             match(checkpoint, tensor_table(config, *weights), mix == nullptr ? TypeMap() : published_types(*mix, config)));
  spent.match_ms = ms_since(start);
  uint64_t total = 0, done = 0;
  for (const Source& source : sources)
    total += source.bytes();
  Uploader uploader(device);
  for (Source& source : sources) {
    start = Clock::now();
    const std::string& name = source.slot.parts[0].name;
    const bool on_host = expert_slots > 0 && weight_group(name) == MemoryGroup::Experts;
    VL2_ASSIGN(auto buffer, device.memory().allocate(source.bytes(), on_host ? MemoryKind::Host : MemoryKind::Device, name));
    spent.allocate_ms += ms_since(start);
    start = Clock::now();
    VL2_TRY(upload_source(uploader, checkpoint, source, *buffer));
    spent.upload_ms += ms_since(start);
    *source.slot.target = source.slot.view(*buffer, source.dtype);
    weights->buffers.push_back(std::move(buffer));
    (on_host ? weights->host_bytes : weights->device_bytes) += source.bytes();
    done += source.bytes();
    if (progress)
      progress(done, total);
  }
  VL2_TRY(uploader.finish());
  if (expert_slots > 0)
    VL2_TRY(add_expert_cache(device, config.language, expert_slots, *weights));
  return weights;
}

}  // namespace vl2
