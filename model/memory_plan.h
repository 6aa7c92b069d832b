// What a model needs on a device, known before anything is loaded.
//
// Design: the plan is a rehearsal. The very code that loads, encodes, prefills and decodes runs once on a device without a driver
// (Device::rehearsal), where buffers are sizes and dispatches are checked and counted; the plan is what that allocated at its
// peak. So no size is written down twice, and what is added to a session is in the plan the same day. Tried before: a formula
// beside each allocation, which was an upper estimate within a third and wrong after each change.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/kv_cache.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace vl2 {

class Checkpoint;
class Device;
struct QuantizeMix;

struct PictureSize {
  uint32_t width = 0, height = 0;  ///< pixels
};

/// What a session will be asked to do.
struct MemoryUse {
  uint32_t context = 0;  ///< tokens that it holds; all of them are used
  uint32_t chunk = 0;    ///< tokens that prefill runs at a time; 0: chunk_of()
  /// Pictures in front of the prompt. Not given: a photo of 12 megapixels, of as many tiles as the context has room for.
  std::optional<std::vector<PictureSize>> pictures;
  CacheType cache_type = CacheType::F16;
  /// For the rows of pictures that are kept (model/picture_cache.h), beside all that: kSparePictureCache counts nothing here.
  uint64_t picture_cache = 0;
};

/// As the size of a picture cache: what spare_picture_cache() says.
inline constexpr uint64_t kSparePictureCache = UINT64_MAX;

/// A model before it is loaded.
struct PlannedModel {
  const Config& config;
  const Checkpoint* checkpoint = nullptr;  ///< null: weights are made up
  const QuantizeMix* mix = nullptr;        ///< not null: what the weights become while they are read
  uint32_t expert_slots = 0;               ///< not 0: routed experts are in host memory, so many of a layer cached on the device
  uint64_t expert_window = 0;  ///< not 0: they stay in the file, and so many bytes of host memory hold those used last
};

/// What device memory is taken for.
enum class MemoryGroup {
  Experts,    ///< weights of routed experts, or the slots of those that are cached and the room to gather a layer's
  Language,   ///< the language model's other weights
  Vision,     ///< the encoder's weights
  Projector,  ///< its weights, and the separators'
  Loading,    ///< gone when the weights are there
  Cache,      ///< keys and values, or latents
  Session,    ///< the decode plan's buffers, logits, tables
  Pictures,   ///< pixels, the encoder's activations, the pictures' rows of the prompt
  Prefill,    ///< the language model's activations
  Kept,       ///< rows of pictures that are kept for the next question, where a size was asked for
  Pipelines,  ///< compiled kernels: an estimate
};
inline constexpr size_t kMemoryGroups = 11;

/// "weights: experts", for tables.
const char* memory_group_name(MemoryGroup group);

struct MemoryPlan {
  std::array<uint64_t, kMemoryGroups> bytes{};  ///< of each group, at the moment when most is taken
  uint64_t staging_bytes = 0;                   ///< the most host memory that copies pass through; not the device's
  uint64_t available_bytes = 0;                 ///< what the device has
  uint64_t host_bytes = 0;                      ///< weights that stay in host memory, or the window for those in the file
  uint64_t file_bytes = 0;                      ///< weights that stay in the file; as they are on the device
  uint64_t available_host_bytes = 0;            ///< what that has, where host_bytes is not 0
  uint32_t expert_slots = 0;                    ///< of a layer; 0: all experts are on the device
  uint64_t expert_window = 0;                   ///< that was asked for; host_bytes has the whole experts of it
  uint32_t context = 0, chunk = 0;
  CacheType cache_type = CacheType::F16;
  std::vector<PictureSize> pictures;  ///< that were planned for
  uint32_t views = 0;                 ///< of the picture with most of them
  size_t pipelines = 0;
  uint64_t picture_cache_bytes = 0;  ///< that kept pictures may take: group Kept, or of what is left beside needed_bytes()

  uint64_t operator[](MemoryGroup group) const { return bytes[static_cast<size_t>(group)]; }
  uint64_t weight_bytes() const;
  uint64_t cache_bytes() const { return (*this)[MemoryGroup::Cache]; }
  /// All that is allocated: what Memory::device_bytes_peak() will say while no pictures are kept.
  uint64_t buffer_bytes() const;
  /// The pipelines' estimate in it.
  uint64_t needed_bytes() const;
  bool fits() const { return needed_bytes() <= available_bytes && host_bytes <= available_host_bytes; }
};

/// The plan for running `model` on a device like `device`, of which nothing is taken; available_bytes stays 0.
///
/// Errors  those of load_weights, which reads no weights here; OutOfMemory: a buffer is larger than this device allocates in one
///         piece, by name; BadShape: a view is larger than it binds; BadArgument: the context, or a picture that cannot be shown
/// Cost    milliseconds: every dispatch of a session is checked once
Result<MemoryPlan> plan_memory(const Device& device, const PlannedModel& model, const MemoryUse& use);

/// The plan with as many slots of cached experts a layer as `available_bytes` have room for, less a fiftieth that allocators and
/// drivers may want. The experts are in host memory, or where that is too small in the file, with all of it as a window.
///
/// device      where experts may be: host memory that it reads is asked what it has
/// host_limit  bytes of host memory that experts may take; 0: what is free, less what should stay so (spare_host_bytes())
/// Errors  NotFound: not even as many slots as a token chooses experts fit, or there are no experts; BadArgument: the window is too
///         small; Unsupported: these experts are in no file, or are quantized while they are read; those of plan_memory()
/// Cost    some plans
Result<MemoryPlan> plan_with_cached_experts(const Device& device, const PlannedModel& model, const MemoryUse& use,
                                            uint64_t available_bytes, uint64_t host_limit);

/// Whether that says why experts can be neither in host memory nor in the file, where a smaller session would not help.
inline bool says_why_uncached(Code code) {
  return code == Code::BadArgument || code == Code::Unsupported;
}

/// "experts are cached in 23 slots a layer, of 64 that are in host memory (8.1 GB)", or "... of 64 that are in the file (8.1 GB),
/// behind a window of 2.0 GB of host memory"
std::string cached_experts_text(const MemoryPlan& plan, const Config& config);

/// What pictures may take where no size was asked for: a quarter of what a plan that fits leaves, 256 MiB at most, which is 70
/// pictures of one tile in Small, or 16 of nine. Nothing for a plan without pictures.
uint64_t spare_picture_cache(const MemoryPlan& plan);

/// Which group of weights a tensor of that published name belongs to.
MemoryGroup weight_group(const std::string& name);

/// Leaves canvases of at most `tiles` tiles, so that pictures take less memory and fewer tokens, and show less. 0: as it is.
///
/// Errors  BadArgument: the model has no canvas so small
Status limit_tiles(Config& config, uint32_t tiles);

/// One change to what was asked for, after which it fits.
struct WayOut {
  std::string change;         ///< "-c 1536", "--type Q8_0"
  uint64_t needed_bytes = 0;  ///< then
};

/// The three ways out that cost least, of those that there are: less at a time, fewer tokens, fewer tiles, fewer bits, a smaller
/// model. Nothing is changed.
///
/// The experts elsewhere than on the device come behind them, where that was not to be tried.
///
/// use         its context and chunk are not 0
/// host_limit  as plan_with_cached_experts() has it
/// no_cache    --no-expert-cache was given
std::vector<WayOut> ways_to_fit(const Device& device, const PlannedModel& model, const MemoryUse& use, uint64_t available_bytes,
                                uint64_t host_limit = 0, bool no_cache = false);

/// "DIR: needs 33.1 GB (weights ..., cache ..., the rest ...), DEVICE has 8.6 GB"
std::string does_not_fit_text(const MemoryPlan& plan, const std::string& name, const std::string& device_name);
/// "; what would fit: -c 1536 (3.4 GB) or --type Q8_0 (3.6 GB)", to stand behind it.
std::string ways_out_text(std::span<const WayOut> ways);

/// "3.4 GB", decimal as everywhere.
std::string memory_size_text(uint64_t bytes);

}  // namespace vl2
