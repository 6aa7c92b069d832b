#include "model/weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "model/expert_cache.h"
#include "model/expert_file.h"
#include "model/memory_plan.h"
#include "model/quantize_mix.h"
#include "model/weight_source.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/upload.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

// read_weight_rows() by several threads over ranges of rows.
Status read_rows_parallel(const Checkpoint& checkpoint, const WeightSource& source, const RowTarget& target,
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
      results[i] = read_weight_rows(
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
Status upload_planes(Uploader& uploader, const Checkpoint& checkpoint, const WeightSource& source, const Buffer& buffer,
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

Status upload_source(Uploader& uploader, const Checkpoint& checkpoint, WeightSource& source, const Buffer& buffer) {
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

LanguageWeights::LanguageWeights() = default;
LanguageWeights::~LanguageWeights() = default;

uint64_t weight_bytes(const Config& config) {
  Weights weights;
  uint64_t bytes = 0;
  for (const TensorSlot& slot : tensor_table(config, weights))
    bytes += slot.device_bytes(slot.device_dtype(std::array{DType::BF16}));
  return bytes;
}

Result<std::unique_ptr<Weights>> load_weights(Device& device, const Checkpoint& checkpoint, const Config& config,
                                              const LoadProgress& progress, LoadTimes* times, const QuantizeMix* mix,
                                              uint32_t expert_slots, uint64_t expert_window) {
  LoadTimes unused;
  LoadTimes& spent = times != nullptr ? *times : unused;
  auto weights = std::make_unique<Weights>();
  auto start = Clock::now();
  VL2_ASSIGN(std::vector<WeightSource> sources,
             match_weights(checkpoint, tensor_table(config, *weights),
                           mix == nullptr ? std::map<std::string, DType>() : published_types(*mix, config)));
  spent.match_ms = ms_since(start);
  uint64_t total = 0, done = 0;
  std::vector<WeightSource> left_in_file;
  if (expert_window > 0) {
    const auto experts = std::stable_partition(sources.begin(), sources.end(), [](const WeightSource& source) {
      return weight_group(source.slot.parts[0].name) != MemoryGroup::Experts;
    });
    left_in_file.assign(std::make_move_iterator(experts), std::make_move_iterator(sources.end()));
    sources.erase(experts, sources.end());
  }
  for (const WeightSource& source : sources)
    total += source.bytes();
  Uploader uploader(device);
  for (WeightSource& source : sources) {
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
  if (!left_in_file.empty())
    VL2_TRY(add_expert_file(device, checkpoint, config.language, std::move(left_in_file), expert_slots, expert_window, *weights));
  if (expert_slots > 0)
    VL2_TRY(add_expert_cache(device, config.language, expert_slots, *weights));
  return weights;
}

}  // namespace vl2
