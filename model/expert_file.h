// Routed experts that stay in the model's file, where neither device nor host memory holds them all.
//
// Design: three levels. A layer's slots in device memory hold the experts that it used last, as where experts are in host memory
// (model/expert_cache.h). Behind them a window of host memory holds whole experts of all layers, in the layout of the device, those
// used last again. What is in neither is read from the model's own file with pread by some threads at once, and converted on the
// way by the very code that uploads weights; the device copies it from the window into its slot. What the products then read are
// the same bytes as always, so answers are the same bit for bit.
//
// A device cannot wait for a file, so the host decides here which slots are whose: a token is recorded layer by layer, the ids that
// the router chose are read back (the shared experts' products run meanwhile), and what misses is there before the rest is submitted.
// Prefill reads back which experts a layer's tokens chose and gathers these in the order of the file; what it reads does not push
// out what is in a window that is full, since going round all experts in order would leave it nothing that it finds the next time.
//
// Thought of instead: a copy of the experts on disk in the layout of the device, to be read without converting. Converting is cheaper
// than reading (one core turns bf16 into f16, or blocks into planes, at some GB/s), a copy would take as much disk again and
// could be torn, stale or refused; who wants fewer bytes a token has `vl2 quantize`, whose file is the copy. For the same reason
// --type is refused here: it would quantize an expert whenever it is read. Mapping the file instead of reading it would end the
// program by SIGBUS where it is cut short.
// Thought of as well: reading ahead what a layer chose for the token before. These experts are in the layer's slots by then, always:
// they are the ones used last.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/least_recent.h"
#include "model/weight_source.h"
#include "model/worker_pool.h"
#include "runtime/memory.h"
#include "runtime/recorder.h"

namespace vl2 {

struct LayerWeights;
struct MlpWeights;

/// What was asked of experts in a file since loading.
struct ExpertFileCounts {
  uint64_t slot_hits = 0;    ///< choices of decoded tokens whose expert was in a slot
  uint64_t slot_misses = 0;  ///< and those that were not
  uint64_t window_hits = 0;  ///< experts that were in the window when they were wanted there, for a prompt or a token
  uint64_t reads = 0;        ///< experts that were not, and were read
  uint64_t read_bytes = 0;   ///< of these, in the layout of the device
};

/// The experts of all MoE layers of a model: window, slots' tables, and the threads that read. One thread at a time.
class ExpertFile {
 public:
  /// A layer's matrices; their slots' dims are [experts, rows, columns].
  struct Layer {
    WeightSource gate_up, down;
  };

  /// checkpoint    outlives it; from it is read while tokens are made
  /// window_bytes  of host memory, of which whole experts are taken
  /// Errors  BadArgument: a window of fewer than `top_k` experts; OutOfMemory
  static Result<std::unique_ptr<ExpertFile>> create(Device& device, const Checkpoint& checkpoint, std::vector<Layer> layers,
                                                    uint32_t slots, uint32_t top_k, uint64_t window_bytes);

  /// Waits for the device and gives the ids that a router chose.
  Result<std::vector<uint32_t>> read_choices(Recorder& rec, const TensorView& ids) const;

  /// Puts a layer's experts that were chosen into slots of `layer.cached` (recorded) and says which (written at once: nothing that
  /// reads `slots` may be under way).
  ///
  /// choices  of one token or of several; there are slots for all of them
  /// slots    u32, like choices, in memory that the host maps
  /// Errors   IoError, BadFile: the file, which then may be asked again; the slots of what could not be read are free
  Status load(Recorder& rec, const LayerWeights& layer, std::span<const uint32_t> choices, const TensorView& slots);

  /// Waits for the device, and records the copies of all experts that a schedule has slots of to `layer.gathered`.
  ///
  /// offsets  u32 [experts + 1]: ExpertSchedule::offsets
  /// Errors   as load()
  Status gather(Recorder& rec, const LayerWeights& layer, const TensorView& offsets);

  const ExpertFileCounts& counts() const { return counts_; }
  uint64_t window_bytes() const { return window_bytes_; }  ///< that are allocated
  uint64_t file_bytes() const;                             ///< of all experts, in the layout of the device
  uint32_t window_experts() const { return window_.places(); }

  /// Where the parts of an expert of a layer lie in a place of the window.
  struct Parts {
    uint64_t codes[2], scales[2];  ///< bytes from its start: gate_up, down
    uint64_t end;
  };

 private:
  struct Move {
    uint32_t expert, to;
  };
  struct Piece;
  ExpertFile(Device& device, const Checkpoint& checkpoint, std::vector<Layer> layers, uint32_t slots, uint32_t places);
  Status allocate(uint64_t place_bytes);
  Status bring(Recorder& rec, uint32_t layer, std::span<const Move> moves, const MlpWeights& to, bool in_passing);
  Status read_experts(uint32_t layer, std::span<const uint32_t> experts);
  Status copy_expert(Recorder& rec, uint32_t layer, uint32_t place, const MlpWeights& to, uint32_t index) const;
  uint32_t key(uint32_t layer, uint32_t expert) const { return layer * experts_ + expert; }
  std::byte* place_start(uint32_t place) const;

  Device& device_;
  const Checkpoint& checkpoint_;
  const std::vector<Layer> layers_;
  const uint32_t experts_;
  std::vector<Parts> parts_;        // of each layer
  std::vector<LeastRecent> slots_;  // of each layer
  LeastRecent window_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  uint64_t place_bytes_ = 0, window_bytes_ = 0;
  uint32_t places_a_buffer_ = 0;
  ExpertFileCounts counts_;
  std::unique_ptr<WorkerPool> readers_;  // made by the first read
};

}  // namespace vl2
