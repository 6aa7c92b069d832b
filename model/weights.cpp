#include "model/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <set>
#include <thread>

#include "model/tensor_table.h"
#include "model/weight_convert.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/upload.h"

namespace vl2 {

namespace {

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

// One slot with what the checkpoint holds for it.
struct Source {
  TensorSlot slot;
  std::vector<const CheckpointTensor*> parts;
  FileType file_type = FileType::BF16;
  DType dtype = DType::F16;

  uint64_t row_bytes() const { return uint64_t{slot.padded_columns()} * dtype_bytes(dtype); }
  uint64_t bytes() const { return slot.rows() * row_bytes(); }
};

Status check_part(const TensorPart& part, const CheckpointTensor& tensor, FileType& type) {
  if (tensor.shape != part.shape)
    return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", shape_text(tensor.shape), ", config.json wants ",
                shape_text(part.shape));
  if (!file_type_of(tensor.dtype_text, type))
    return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", tensor.dtype_text, ", wanted BF16, F16 or F32");
  return {};
}

// Pairs every slot with its tensors; names what is missing, misshaped or left over.
Result<std::vector<Source>> match(const Checkpoint& checkpoint, std::vector<TensorSlot> table) {
  std::vector<Source> sources;
  std::set<std::string> used;
  for (TensorSlot& slot : table) {
    Source source;
    for (size_t i = 0; i < slot.parts.size(); ++i) {
      const TensorPart& part = slot.parts[i];
      const auto found = checkpoint.tensors().find(part.name);
      if (found == checkpoint.tensors().end())
        return fail(Code::BadFile, "checkpoint: tensor ", part.name, " ", shape_text(part.shape), " is missing");
      FileType type;
      VL2_TRY(check_part(part, found->second, type));
      if (i > 0 && type != source.file_type)
        return fail(Code::BadFile, "checkpoint: tensor ", part.name, " is ", found->second.dtype_text, ", unlike ",
                    slot.parts[0].name);
      source.file_type = type;
      source.parts.push_back(&found->second);
      used.insert(part.name);
    }
    source.dtype = slot.matrix && !slot.keep_f32 && source.file_type != FileType::F32 ? DType::F16 : DType::F32;
    source.slot = std::move(slot);
    sources.push_back(std::move(source));
  }
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (used.count(name) == 0 && !is_expected_and_unused(name))
      return fail(Code::BadFile, "checkpoint: tensor ", name, " ", shape_text(tensor.shape), " has no place in this model");
  return sources;
}

// Reads and converts whole rows first_row.. of a source into `target`. Any thread.
Status read_rows(const Checkpoint& checkpoint, const Source& source, uint64_t first_row, std::span<std::byte> target,
                 std::atomic<bool>& overflow) {
  const uint64_t rows_per_part = source.slot.rows() / source.parts.size();
  const uint64_t columns = source.slot.columns(), file_row_bytes = columns * file_type_bytes(source.file_type);
  const uint64_t row_bytes = source.row_bytes(), row_count = target.size() / row_bytes;
  std::vector<std::byte> scratch;
  for (uint64_t row = 0; row < row_count;) {
    const uint64_t part = (first_row + row) / rows_per_part, row_in_part = (first_row + row) % rows_per_part;
    const uint64_t batch =
        std::min({rows_per_part - row_in_part, row_count - row, std::max<uint64_t>((1u << 20) / file_row_bytes, 1)});
    scratch.resize(batch * file_row_bytes);
    VL2_TRY(checkpoint.read(*source.parts[part], row_in_part * file_row_bytes, scratch));
    for (uint64_t i = 0; i < batch; ++i) {
      std::byte* out = target.data() + (row + i) * row_bytes;
      if (!convert_row(source.file_type, scratch.data() + i * file_row_bytes, columns, source.dtype, out))
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
    if (source.dtype != DType::F16 || source.file_type == FileType::F16)
      return fail(Code::BadFile, "checkpoint: tensor ", source.slot.parts[0].name, " holds a value that is not finite");
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
                                              const LoadProgress& progress, LoadTimes* times) {
  LoadTimes unused;
  LoadTimes& spent = times != nullptr ? *times : unused;
  auto weights = std::make_unique<Weights>();
  auto start = Clock::now();
  VL2_ASSIGN(std::vector<Source> sources, match(checkpoint, tensor_table(config, *weights)));
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
