#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <thread>

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

  uint64_t row_bytes() const { return uint64_t{slot.padded_columns()} * dtype_bytes(dtype); }
  uint64_t bytes() const { return slot.rows() * row_bytes(); }
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
    source.dtype = slot.matrix && !slot.keep_f32 && !source.all_are(DType::F32) ? DType::F16 : DType::F32;
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

// Reads and converts whole rows first_row.. of a source into `target`. Any thread.
Status read_rows(const Checkpoint& checkpoint, const Source& source, uint64_t first_row, std::span<std::byte> target,
                 std::atomic<bool>& overflow) {
  const uint64_t rows_per_part = source.slot.rows() / source.parts.size();
  const uint64_t columns = source.slot.columns(), row_floats = columns * 4;
  const uint64_t row_bytes = source.row_bytes(), row_count = target.size() / row_bytes;
  std::vector<std::byte> scratch;
  for (uint64_t row = 0; row < row_count;) {
    const uint64_t part = (first_row + row) / rows_per_part, row_in_part = (first_row + row) % rows_per_part;
    const uint64_t batch =
        std::min({rows_per_part - row_in_part, row_count - row, std::max<uint64_t>((1u << 21) / row_floats, 1)});
    VL2_TRY(read_part(checkpoint, source, part, row_in_part, batch, scratch));
    const DType type = source.parts[part].type;
    const uint64_t part_row_bytes = dtype_bytes_of(type, columns);
    for (uint64_t i = 0; i < batch; ++i) {
      std::byte* out = target.data() + (row + i) * row_bytes;
      if (!convert_row(type, scratch.data() + i * part_row_bytes, columns, source.dtype, out))
        overflow = true;
      std::memset(out + columns * dtype_bytes(source.dtype), 0, row_bytes - columns * dtype_bytes(source.dtype));
    }
    row += batch;
  }
  return {};
}

// The same, by several threads over ranges of rows.
Status read_rows_parallel(const Checkpoint& checkpoint, const Source& source, uint64_t first_row, std::span<std::byte> target,
                          std::atomic<bool>& overflow) {
  const uint64_t row_bytes = source.row_bytes(), row_count = target.size() / row_bytes;
  const uint64_t most = std::clamp<uint64_t>(target.size() >> 21, 1, 16);  // a thread for every 2 MiB
  const uint64_t thread_count = std::min<uint64_t>({most, std::max(std::thread::hardware_concurrency(), 1u), row_count});
  std::vector<Status> results(thread_count);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < thread_count; ++i) {
    const uint64_t begin = row_count * i / thread_count, end = row_count * (i + 1) / thread_count;
    const auto work = [&, i, begin, end] {
      results[i] = read_rows(checkpoint, source, first_row + begin, target.subspan(begin * row_bytes, (end - begin) * row_bytes),
                             overflow);
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

Status upload_source(Uploader& uploader, const Checkpoint& checkpoint, Source& source, const Buffer& buffer) {
  for (;;) {
    std::atomic<bool> overflow = false;
    VL2_TRY(uploader.upload(buffer, source.bytes(), source.row_bytes(), [&](uint64_t first, std::span<std::byte> target) {
      return read_rows_parallel(checkpoint, source, first / source.row_bytes(), target, overflow);
    }));
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
    bytes += slot.rows() * slot.padded_columns() * (slot.matrix && !slot.keep_f32 ? 2 : 4);
  return bytes;
}

Result<std::unique_ptr<Weights>> load_weights(Device& device, const Checkpoint& checkpoint, const Config& config,
                                              const LoadProgress& progress, LoadTimes* times, const QuantizeMix* mix) {
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
    VL2_ASSIGN(auto buffer, device.memory().allocate(source.bytes(), MemoryKind::Device, source.slot.parts[0].name));
    spent.allocate_ms += ms_since(start);
    start = Clock::now();
    VL2_TRY(upload_source(uploader, checkpoint, source, *buffer));
    spent.upload_ms += ms_since(start);
    *source.slot.target = source.slot.view(*buffer, source.dtype);
    weights->buffers.push_back(std::move(buffer));
    done += source.bytes();
    if (progress)
      progress(done, total);
  }
  VL2_TRY(uploader.finish());
  weights->device_bytes = total;
  return weights;
}

}  // namespace vl2
