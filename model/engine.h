// A loaded model on a GPU.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/config.h"
#include "model/model_files.h"
#include "model/weights.h"
#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/tuning.h"

namespace vl2 {

/// What a model needs on a device, before anything is allocated.
struct MemoryPlan {
  uint64_t weight_bytes = 0;
  uint64_t cache_bytes = 0;    ///< of `context` tokens
  uint64_t working_bytes = 0;  ///< activations, an upper estimate
  uint64_t available_bytes = 0;

  uint64_t needed_bytes() const { return weight_bytes + cache_bytes + working_bytes; }
};

struct EngineOptions {
  DeviceOptions device;
  uint32_t context = 0;  ///< tokens a session holds; 0: max_position_embeddings
  LoadProgress progress;
  std::function<bool()> cancelled;   ///< asked by any thread before each read of a file; true ends the load
  const QuantizeMix* mix = nullptr;  ///< not null: weights become what a file of this mix would hold
};

/// Device, configuration and weights. One thread at a time; sessions made from it must be gone before it.
class Engine {
 public:
  /// Loads configuration and weights of a model (the tokenizer is loaded by whoever needs text).
  ///
  /// Errors  everything that Config, Checkpoint, Device and load_weights say; OutOfMemory with the plan when the model does not
  /// fit
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

  Device& device() const { return *device_; }
  const Config& config() const { return config_; }
  const Weights& weights() const { return *weights_; }
  uint32_t context() const { return context_; }
  const MemoryPlan& plan() const { return plan_; }
  /// Tokens that prefill runs at a time on this device, unless told otherwise.
  uint32_t chunk() const { return prefill_chunk(device_->caps()); }
  const LoadTimes& load_times() const { return times_; }

 private:
  Engine() = default;
  Status check_context(uint32_t wanted);
  void make_plan();
  Status check_memory(const std::string& name);

  std::unique_ptr<Device> device_;
  Config config_;
  std::unique_ptr<Weights> weights_;
  uint32_t context_ = 0;
  MemoryPlan plan_;
  LoadTimes times_;
};

/// Names the shapes of a model: what PipelineStore::prebuild() keeps its lists by. Pure.
uint64_t pipeline_tag(const Config& config);

/// The plan for a context of `context` tokens with activations of type `act`, prefilled in chunks of `chunk`. Pure but for
/// available_bytes, which stays 0.
MemoryPlan plan_memory(const Config& config, DType act, uint32_t context, uint32_t chunk);

}  // namespace vl2
