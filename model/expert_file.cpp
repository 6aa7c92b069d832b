#include "model/expert_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "model/weights.h"
#include "runtime/device.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

constexpr uint64_t kAlignment = 256;                  // of parts: any device's, and whole lines of a cache
constexpr uint64_t kBufferBytes = uint64_t{1} << 30;  // of the window: what any device allocates in one piece
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;   // that a thread reads at a time
constexpr uint32_t kReaders = 8;   // 2 to 8 read cold pieces at 1.07 GB/s, one at 0.55 to 0.64 (virtual disk, 2 cores)
constexpr uint32_t kPassing = 16;  // experts of a prompt that go through a full window at a time

uint64_t aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Elements of one expert.
uint64_t expert_elements(const WeightSource& source) {
  return source.slot.rows() / source.slot.dims.front() * source.slot.padded_columns();
}

uint64_t expert_rows(const WeightSource& source) {
  return source.slot.rows() / source.slot.dims.front();
}

const WeightSource& matrix_of(const ExpertFile::Layer& layer, uint32_t matrix) {
  return matrix == 0 ? layer.gate_up : layer.down;
}

ExpertFile::Parts parts_of(const ExpertFile::Layer& layer) {
  ExpertFile::Parts parts{};
  for (uint32_t i = 0; i < 2; ++i) {
    const WeightSource& source = matrix_of(layer, i);
    parts.codes[i] = parts.end;
    parts.scales[i] = parts.codes[i] + aligned(device_code_bytes(source.dtype, expert_elements(source)));
    parts.end = parts.scales[i] + aligned(device_scale_bytes(source.dtype, expert_elements(source)));
  }
  return parts;
}

TensorView bytes_at(const Buffer& buffer, uint64_t first, uint64_t count) {
  return make_view(buffer, DType::U8, {static_cast<uint32_t>(count)}, first);
}

// An expert's codes and scales at these bytes of a buffer, to expert `index` of `to`.
Status copy_planes(Recorder& rec, const Buffer& from, uint64_t codes, uint64_t scales, const TensorView& to, uint32_t index) {
  const uint64_t code_bytes = device_code_bytes(to.dtype, to.stride(0)), scale_bytes = device_scale_bytes(to.dtype, to.stride(0));
  VL2_TRY(rec.copy(bytes_at(from, codes, code_bytes), bytes_at(*to.buffer, index * code_bytes, code_bytes)));
  if (scale_bytes == 0)
    return {};
  return rec.copy(bytes_at(from, scales, scale_bytes), bytes_at(*to.buffer, to.scales + index * scale_bytes, scale_bytes));
}

}  // namespace

// Rows of a matrix of an expert, and the place they are read to.
struct ExpertFile::Piece {
  const WeightSource* source;
  RowTarget target;
};

ExpertFile::ExpertFile(Device& device, const Checkpoint& checkpoint, std::vector<Layer> layers, uint32_t slots, uint32_t places)
    : device_(device),
      checkpoint_(checkpoint),
      layers_(std::move(layers)),
      experts_(layers_.front().down.slot.dims.front()),
      window_(experts_ * static_cast<uint32_t>(layers_.size()), places) {
  for (const Layer& layer : layers_) {
    parts_.push_back(parts_of(layer));
    slots_.emplace_back(experts_, slots);
  }
}

Result<std::unique_ptr<ExpertFile>> ExpertFile::create(Device& device, const Checkpoint& checkpoint, std::vector<Layer> layers,
                                                       uint32_t slots, uint32_t top_k, uint64_t window_bytes) {
  uint64_t place_bytes = 0;
  for (const Layer& layer : layers)
    place_bytes = std::max(place_bytes, parts_of(layer).end);
  const uint64_t all = layers.size() * layers.front().down.slot.dims.front();
  const uint64_t places = std::min(window_bytes / place_bytes, all);
  if (places < top_k)
    return fail(Code::BadArgument, "experts in the file: a window of ", window_bytes, " bytes of host memory holds ", places,
                " experts, wanted at least ", top_k * place_bytes, " bytes, for the ", top_k, " that a token chooses in a layer");
  std::unique_ptr<ExpertFile> file(new ExpertFile(device, checkpoint, std::move(layers), slots, static_cast<uint32_t>(places)));
  VL2_TRY(file->allocate(place_bytes));
  return file;
}

Status ExpertFile::allocate(uint64_t place_bytes) {
  place_bytes_ = place_bytes;
  places_a_buffer_ = static_cast<uint32_t>(std::max<uint64_t>(kBufferBytes / place_bytes, 1));
  for (uint32_t first = 0; first < window_.places(); first += places_a_buffer_) {
    const uint64_t bytes = std::min(places_a_buffer_, window_.places() - first) * place_bytes;
    VL2_ASSIGN(auto buffer, device_.memory().allocate(bytes, MemoryKind::Host, "expert window"));
    buffers_.push_back(std::move(buffer));
    window_bytes_ += bytes;
  }
  return {};
}

uint64_t ExpertFile::file_bytes() const {
  uint64_t sum = 0;
  for (const Layer& layer : layers_)
    sum += layer.gate_up.bytes() + layer.down.bytes();
  return sum;
}

std::byte* ExpertFile::place_start(uint32_t place) const {
  return buffers_[place / places_a_buffer_]->mapped() + place % places_a_buffer_ * place_bytes_;
}

Result<std::vector<uint32_t>> ExpertFile::read_choices(Recorder& rec, const TensorView& ids) const {
  std::vector<uint32_t> choices(ids.element_count());
  VL2_TRY(rec.download(ids, std::as_writable_bytes(std::span(choices))));
  for (uint32_t& expert : choices)
    expert = std::min(expert, experts_ - 1);
  return choices;
}

Status ExpertFile::load(Recorder& rec, const LayerWeights& layer, std::span<const uint32_t> choices, const TensorView& slots) {
  if (!device_.executes())
    return {};
  LeastRecent& table = slots_[layer.file_layer];
  for (const uint32_t expert : choices)  // first, so that no choice is given up for another
    if (const int slot = table.find(expert); slot >= 0)
      table.use(static_cast<uint32_t>(slot));
  std::vector<Move> moves;
  for (const uint32_t expert : choices) {
    const bool hit = table.find(expert) >= 0;
    ++(hit ? counts_.slot_hits : counts_.slot_misses);
    if (!hit)
      moves.push_back({expert, table.take(expert)});
  }
  if (Status status = bring(rec, layer.file_layer, moves, layer.cached, false); !status.ok()) {
    for (const Move& move : moves)
      table.drop(move.expert);
    return status;
  }
  const Buffer& buffer = *slots.buffer;
  for (size_t i = 0; i < choices.size(); ++i) {
    const auto slot = static_cast<uint32_t>(table.find(choices[i]));
    std::memcpy(buffer.mapped() + slots.offset_bytes() + 4 * i, &slot, 4);
  }
  return buffer.flush(slots.offset_bytes(), 4 * choices.size());
}

Status ExpertFile::gather(Recorder& rec, const LayerWeights& layer, const TensorView& offsets) {
  std::vector<uint32_t> first(experts_ + size_t{1});
  VL2_TRY(rec.download(offsets, std::as_writable_bytes(std::span(first))));
  const LeastRecent& table = slots_[layer.file_layer];
  std::vector<Move> moves;
  for (uint32_t expert = 0; expert < experts_; ++expert) {
    if (first[expert] == first[expert + 1])
      continue;  // nobody chose it
    const int slot = table.find(expert);
    if (slot < 0) {
      moves.push_back({expert, expert});
      continue;
    }
    for (const auto& [from, to] :
         {std::pair(&layer.cached.gate_up, &layer.gathered.gate_up), std::pair(&layer.cached.down, &layer.gathered.down)}) {
      const uint64_t codes = device_code_bytes(from->dtype, from->stride(0)),
                     scales = device_scale_bytes(from->dtype, from->stride(0));
      const auto index = static_cast<uint32_t>(slot);
      VL2_TRY(copy_planes(rec, *from->buffer, index * codes, from->scales + index * scales, *to, expert));
    }
  }
  return bring(rec, layer.file_layer, moves, layer.gathered, true);
}

// Records the copies of experts to places of `to`, out of the window and with what was not in it read.
//
// in_passing  what is read does not push out more than it needs of a window that is full
Status ExpertFile::bring(Recorder& rec, uint32_t layer, std::span<const Move> moves, const MlpWeights& to, bool in_passing) {
  const size_t most = in_passing ? std::min(window_.places(), kPassing) : window_.places();
  while (!moves.empty()) {
    const auto group = moves.first(std::min(moves.size(), most));
    moves = moves.subspan(group.size());
    for (const Move& move : group)  // first, so that what is read does not push it out
      if (const int place = window_.find(key(layer, move.expert)); place >= 0)
        window_.use(static_cast<uint32_t>(place));
    std::vector<uint32_t> missing;
    for (const Move& move : group)
      if (window_.find(key(layer, move.expert)) < 0) {
        window_.take(key(layer, move.expert));
        missing.push_back(move.expert);
      }
    counts_.window_hits += group.size() - missing.size();
    if (Status status = read_experts(layer, missing); !status.ok()) {
      for (const uint32_t expert : missing)
        window_.drop(key(layer, expert));
      return status;
    }
    for (const Move& move : group)
      VL2_TRY(copy_expert(rec, layer, static_cast<uint32_t>(window_.find(key(layer, move.expert))), to, move.to));
    if (!moves.empty())
      VL2_TRY(rec.finish());  // the next ones may take the places that are copied from
    for (const uint32_t expert : missing)
      if (in_passing && window_.full())
        window_.age(static_cast<uint32_t>(window_.find(key(layer, expert))));
  }
  return {};
}

// Reads experts of a layer to their places in the window.
Status ExpertFile::read_experts(uint32_t layer, std::span<const uint32_t> experts) {
  std::vector<Piece> pieces;
  for (const uint32_t expert : experts)
    for (uint32_t i = 0; i < 2; ++i) {
      const WeightSource& source = matrix_of(layers_[layer], i);
      std::byte* const start = place_start(static_cast<uint32_t>(window_.find(key(layer, expert))));
      const uint64_t rows = expert_rows(source), row_bytes = source.row_bytes(), scale_bytes = source.row_scale_bytes();
      const uint64_t step = std::max<uint64_t>(kPieceBytes / row_bytes, 1);
      for (uint64_t row = 0; row < rows; row += step)
        pieces.push_back({&source,
                          {expert * rows + row,
                           {start + parts_[layer].codes[i] + row * row_bytes, std::min(step, rows - row) * row_bytes},
                           scale_bytes == 0 ? nullptr : start + parts_[layer].scales[i] + row * scale_bytes}});
    }
  if (pieces.empty())
    return {};
  if (readers_ == nullptr)
    readers_ = std::make_unique<WorkerPool>(kReaders - 1);
  std::vector<Status> results(pieces.size());
  std::vector<std::atomic<bool>> overflows(pieces.size());
  readers_->run(pieces.size(),
                [&](size_t i) { results[i] = read_weight_rows(checkpoint_, *pieces[i].source, pieces[i].target, overflows[i]); });
  for (size_t i = 0; i < pieces.size(); ++i) {
    VL2_TRY(results[i]);
    if (overflows[i])
      return fail(Code::BadFile, "experts in the file: tensor ", pieces[i].source->slot.parts[0].name,
                  " holds a value that is not finite in ", dtype_name(pieces[i].source->dtype),
                  "; in memory it would be kept as it is published");
  }
  VL2_TRY(checkpoint_.check_unchanged());
  counts_.reads += experts.size();
  counts_.read_bytes += experts.size() * parts_[layer].end;
  for (const uint32_t expert : experts) {
    const auto place = static_cast<uint32_t>(window_.find(key(layer, expert)));
    VL2_TRY(buffers_[place / places_a_buffer_]->flush(place % places_a_buffer_ * place_bytes_, place_bytes_));
  }
  return {};
}

Status ExpertFile::copy_expert(Recorder& rec, uint32_t layer, uint32_t place, const MlpWeights& to, uint32_t index) const {
  const Parts& parts = parts_[layer];
  const Buffer& from = *buffers_[place / places_a_buffer_];
  const uint64_t start = place % places_a_buffer_ * place_bytes_;
  for (uint32_t i = 0; i < 2; ++i)
    VL2_TRY(copy_planes(rec, from, start + parts.codes[i], start + parts.scales[i], i == 0 ? to.gate_up : to.down, index));
  return {};
}

}  // namespace vl2
