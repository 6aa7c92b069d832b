// A loaded model on a GPU.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/config.h"
#include "model/memory_plan.h"
#include "model/model_files.h"
#include "model/picture_cache.h"
#include "model/weights.h"
#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/tuning.h"

namespace vl2 {

struct EngineOptions {
  DeviceOptions device;
  uint32_t context = 0;  ///< tokens a session holds; 0: max_position_embeddings
  uint32_t chunk = 0;    ///< tokens that prefill runs at a time; 0: chunk_of()
  uint32_t tiles = 0;    ///< most tiles of a picture; 0: as many as the model's canvases have
  CacheType cache_type = CacheType::F16;
  /// Pictures that will be shown, for the plan; not given: as MemoryUse has it.
  std::optional<std::vector<PictureSize>> pictures;
  uint64_t picture_cache = 0;  ///< bytes that pictures are kept in for the next question; kSparePictureCache: as there is room
  LoadProgress progress;
  /// Whether experts may stay in host memory, with a cache of them on the device, where the model does not fit otherwise. Without
  /// a limit on the device's memory only where host memory is other memory than the device's.
  bool expert_cache = true;
  /// Bytes of host memory that experts may take, where they do not fit on the device; what is over stays in the file, from which it
  /// is read whenever it is wanted. 0: what is free, less what should stay so. Given, experts may go there on any device.
  uint64_t host_limit_bytes = 0;
  float router_skew = 0;      ///< of made-up weights: skew_routing()
  uint32_t expert_slots = 0;  ///< not 0: experts are in host memory (or the file), with so many slots a layer, whatever fits
  std::function<bool()> cancelled;   ///< asked by any thread before each read of a file; true ends the load
  const QuantizeMix* mix = nullptr;  ///< not null: weights become what a file of this mix would hold
};

/// Tokens that prefill runs at a time: prefill_chunk(), or fewer where the widest activations of a layer, in f32, would not fit one
/// binding: [chunk, 2 intermediate_size] of Small's dense layer is 179 MB for 2048 tokens, and 128 MiB is all that a device must
/// bind. Pure.
uint32_t chunk_of(const DeviceCaps& caps, const LanguageConfig& config);

/// Device, configuration and weights. One thread at a time; sessions made from it must be gone before it.
class Engine {
 public:
  /// Loads configuration and weights of a model (the tokenizer is loaded by whoever needs text).
  ///
  /// Errors  everything that Config, Checkpoint, Device and load_weights say; OutOfMemory, before any weight is read, when the
  ///         plan does not fit: with its sums, and what would
  static Result<std::unique_ptr<Engine>> load(const ModelFiles& files, const EngineOptions& options);
  /// The same for the folder or the GGUF file `path`.
  static Result<std::unique_ptr<Engine>> load(const std::string& path, const EngineOptions& options);

  /// What load() would check against the memory of the device, and on which device; nothing is loaded. Fits or not.
  ///
  /// device_name  gets the name of the device
  static Result<MemoryPlan> plan_load(const ModelFiles& files, const EngineOptions& options, std::string& device_name);

  /// The same with random weights of the shapes of `config`; no file is read. `name` is how messages call the model.
  ///
  /// Errors  OutOfMemory with the plan, BadArgument for the context, those of Device
  static Result<std::unique_ptr<Engine>> synthetic(const std::string& name, const Config& config, const EngineOptions& options);

  /// One that plan_memory() tries a session on: a rehearsal of `like`, with weights that are sizes.
  ///
  /// Errors  BadArgument for the context, those of load_weights
  static Result<std::unique_ptr<Engine>> rehearsal(const Device& like, const PlannedModel& model, const MemoryUse& use);

  Device& device() const { return *device_; }
  const Config& config() const { return config_; }
  const Weights& weights() const { return *weights_; }
  uint32_t context() const { return context_; }
  /// How its sessions store their caches.
  CacheType cache_type() const { return cache_type_; }
  /// One line about what was done to make the model fit that costs speed; empty where all of it is on the device.
  std::string memory_notice() const;
  /// Empty on a device that does not execute.
  const MemoryPlan& plan() const { return plan_; }
  /// Pictures that conversations of this model have encoded.
  PictureCache& picture_cache() { return picture_cache_; }
  const PictureCache& picture_cache() const { return picture_cache_; }
  /// Tokens that prefill runs at a time, unless told otherwise.
  uint32_t chunk() const { return chunk_ != 0 ? chunk_ : chunk_of(device_->caps(), config_.language); }
  /// Slots a layer that experts in host memory or in the file are cached in; 0: all are on the device.
  uint32_t expert_slots() const { return expert_slots_; }
  const LoadTimes& load_times() const { return times_; }
  /// identity_of_weights() of what was loaded; of made-up weights 0.
  uint64_t identity() const { return identity_; }

 private:
  Engine() = default;
  Status check_memory(const std::string& name, const Checkpoint* checkpoint, const EngineOptions& options);
  Status make_plan(const std::string& name, const Checkpoint* checkpoint, const EngineOptions& options);

  std::unique_ptr<Device> device_;
  Config config_;
  std::unique_ptr<Checkpoint> checkpoint_;  // where experts stay in its files
  std::unique_ptr<Weights> weights_;
  uint32_t expert_slots_ = 0;
  uint32_t context_ = 0;
  CacheType cache_type_ = CacheType::F16;
  uint32_t chunk_ = 0;
  MemoryPlan plan_;
  LoadTimes times_;
  uint64_t identity_ = 0;
  PictureCache picture_cache_;  // gone before the device
};

/// Tokens that a session of a model holds when `wanted` are asked for; 0 asks for as many as it holds.
///
/// Errors  BadArgument: more than max_position_embeddings
Result<uint32_t> context_of(const Config& config, uint32_t wanted);

/// Whether experts may be cached for a model that does not fit: EngineOptions::expert_cache.
bool may_cache_experts(const Device& device, const EngineOptions& options);

/// Names the shapes of a model and the cache: what PipelineStore::prebuild() keeps its lists by. Pure.
uint64_t pipeline_tag(const Config& config, CacheType cache_type);

}  // namespace vl2
