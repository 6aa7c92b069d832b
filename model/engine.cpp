#include "model/engine.h"

#include <algorithm>
#include <future>
#include <sstream>

#include "model/expert_file.h"
#include "model/model_identity.h"
#include "model/quantize_mix.h"
#include "model/synthetic_weights.h"
#include "runtime/clock.h"
#include "runtime/pipeline_file.h"

namespace vl2 {

uint64_t pipeline_tag(const Config& config, CacheType cache_type) {
  // Written field by field: a struct's padding has no value.
  const LanguageConfig& language = config.language;
  const VisionConfig& vision = config.vision;
  std::ostringstream text;
  text << vision.layers << ' ' << vision.width << ' ' << vision.patch_size << ' ' << vision.mlp_ratio << ' ' << vision.image_size
       << ' ' << vision.heads << ' ' << config.projector.n_embed << ' ' << language.vocab_size << ' ' << language.hidden_size
       << ' ' << language.intermediate_size << ' ' << language.moe_intermediate_size << ' ' << language.num_attention_heads << ' '
       << language.n_shared_experts << ' ' << language.n_routed_experts << ' ' << language.use_mla << ' '
       << language.kv_lora_rank;
  if (cache_type != CacheType::F16)
    text << ' ' << cache_type_name(cache_type);
  const std::string bytes = text.str();
  return fnv1a64(bytes.data(), bytes.size());
}

Result<uint32_t> context_of(const Config& config, uint32_t wanted) {
  const uint32_t longest = config.language.max_position_embeddings;
  if (wanted > longest)
    return fail(Code::BadArgument, "context: got ", wanted, " tokens, this model holds at most ", longest);
  return wanted == 0 ? longest : wanted;
}

uint32_t chunk_of(const DeviceCaps& caps, const LanguageConfig& config) {
  constexpr uint32_t kLeastChunk = 64;  // fewer tokens at a time would read the weights for next to nothing
  const uint64_t widest = std::max({2 * config.intermediate_size, 2 * config.num_experts_per_tok * config.moe_intermediate_size,
                                    config.num_experts_per_tok * config.hidden_size, 3 * config.hidden_size});
  uint32_t chunk = prefill_chunk(caps);
  while (chunk > kLeastChunk && 4 * widest * chunk > caps.max_storage_buffer_bytes)
    chunk /= 2;
  return chunk;
}

bool may_cache_experts(const Device& device, const EngineOptions& options) {
  return options.expert_cache && options.expert_slots == 0 &&
         (options.device.heap_limit_bytes != 0 || options.host_limit_bytes != 0 || device.memory().has_host_heap());
}

std::string Engine::memory_notice() const {
  return expert_slots_ == 0 ? "" : cached_experts_text(plan_, config_);
}

// A plan that does not fit keeps experts in host memory, where it may; else it is refused with what would; so is one with a buffer that this device does not allocate in one piece, or
// with a view that it does not bind.
Status Engine::check_memory(const std::string& name, const Checkpoint* checkpoint, const EngineOptions& options) {
  VL2_TRY(make_plan(name, checkpoint, options));
  if (options.picture_cache == kSparePictureCache)
    plan_.picture_cache_bytes = spare_picture_cache(plan_);
  picture_cache_.set_limit(plan_.picture_cache_bytes);
  return {};
}

Status Engine::make_plan(const std::string& name, const Checkpoint* checkpoint, const EngineOptions& options) {
  expert_slots_ = options.expert_slots;
  if (!device_->executes())
    return {};
  PlannedModel model{config_, checkpoint, options.mix, options.expert_slots};
  const MemoryUse use{context_, chunk(), options.pictures, cache_type_, options.picture_cache};
  const uint64_t available = device_->memory().available_bytes();
  const auto start = Clock::now();
  auto plan = plan_memory(*device_, model, use);
  if (options.host_limit_bytes != 0 && plan.ok() && plan->host_bytes > options.host_limit_bytes) {
    model.expert_window = options.host_limit_bytes;
    plan = plan_memory(*device_, model, use);
  }
  times_.plan_ms = ms_since(start);
  if (!plan.ok() && plan.code() != Code::OutOfMemory && plan.code() != Code::BadShape)
    return plan.status();
  if (plan.ok()) {
    plan_ = plan.take();
    plan_.available_bytes = available;
    plan_.available_host_bytes = device_->memory().available_host_bytes();
    if (plan_.fits())
      return {};
  }
  if (may_cache_experts(*device_, options)) {
    auto cached = plan_with_cached_experts(*device_, model, use, available, options.host_limit_bytes);
    times_.plan_ms = ms_since(start);
    if (cached.ok()) {
      plan_ = cached.take();
      expert_slots_ = plan_.expert_slots;
      return {};
    }
    if (says_why_uncached(cached.code()))
      return fail(cached.code(), name, ": ", cached.message());
  }
  const std::vector<WayOut> ways = ways_to_fit(*device_, model, use, available, options.host_limit_bytes, !options.expert_cache);
  const std::string& where = device_->caps().name;
  return fail(Code::OutOfMemory, plan.ok() ? does_not_fit_text(plan_, name, where) : name + ": " + plan.message(),
              ways_out_text(ways));
}

Result<std::unique_ptr<Engine>> Engine::rehearsal(const Device& like, const PlannedModel& model, const MemoryUse& use) {
  std::unique_ptr<Engine> engine(new Engine);
  engine->config_ = model.config;
  engine->chunk_ = use.chunk;
  engine->cache_type_ = use.cache_type;
  VL2_ASSIGN(engine->context_, context_of(engine->config_, use.context));
  engine->device_ = Device::rehearsal(like);
  if (model.expert_window > 0 && model.checkpoint == nullptr)
    return fail(Code::Unsupported, "experts in the file: made-up weights are in none");
  if (model.expert_window > 0 && model.mix != nullptr)
    return fail(Code::Unsupported, "experts in the file: they would be quantized to ", model.mix->name,
                " whenever they are read; `vl2 quantize` writes a file of these once");
  if (model.checkpoint == nullptr) {
    VL2_ASSIGN(engine->weights_, make_synthetic_weights(*engine->device_, engine->config_, model.mix, model.expert_slots));
  } else {
    VL2_ASSIGN(engine->weights_, load_weights(*engine->device_, *model.checkpoint, engine->config_, {}, nullptr, model.mix,
                                              model.expert_slots, model.expert_window));
  }
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::load(const std::string& path, const EngineOptions& options) {
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return load(files, options);
}

Result<MemoryPlan> Engine::plan_load(const ModelFiles& files, const EngineOptions& options, std::string& device_name) {
  VL2_ASSIGN(Config config, files.config());
  VL2_TRY(limit_tiles(config, options.tiles));
  VL2_ASSIGN(const uint32_t context, context_of(config, options.context));
  VL2_ASSIGN(const auto checkpoint, files.checkpoint(config));
  VL2_ASSIGN(const auto device, Device::create(options.device));
  device_name = device->caps().name;
  const PlannedModel model{config, checkpoint.get(), options.mix};
  const MemoryUse use{context, options.chunk, options.pictures, options.cache_type, options.picture_cache};
  VL2_ASSIGN(MemoryPlan plan, plan_memory(*device, model, use));
  plan.available_bytes = device->memory().available_bytes();
  if (!plan.fits() && may_cache_experts(*device, options)) {
    auto cached = plan_with_cached_experts(*device, model, use, plan.available_bytes, options.host_limit_bytes);
    if (says_why_uncached(cached.code()))
      return fail(cached.code(), files.path(), ": ", cached.message());
    if (cached.ok())
      plan = cached.take();
  }
  if (options.picture_cache == kSparePictureCache)
    plan.picture_cache_bytes = spare_picture_cache(plan);
  return plan;
}

Result<std::unique_ptr<Engine>> Engine::load(const ModelFiles& files, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  VL2_ASSIGN(engine->config_, files.config());
  VL2_TRY(limit_tiles(engine->config_, options.tiles));
  VL2_ASSIGN(engine->context_, context_of(engine->config_, options.context));
  engine->chunk_ = options.chunk;
  engine->cache_type_ = options.cache_type;

  // Starting a driver takes as long as parsing thousands of tensor names: side by side.
  LoadTimes& times = engine->times_;
  auto opening = std::async(std::launch::async, [&] {
    const auto begin = Clock::now();
    auto checkpoint = files.checkpoint(engine->config_);
    times.checkpoint_ms = ms_since(begin);
    return checkpoint;
  });
  const auto device_start = Clock::now();
  auto device = Device::create(options.device);
  times.device_ms = ms_since(device_start);
  VL2_ASSIGN(auto checkpoint, opening.get());  // first: a folder that is none is worth more words than a missing driver
  VL2_ASSIGN(engine->device_, std::move(device));
  VL2_TRY(engine->check_memory(files.path(), checkpoint.get(), options));
  checkpoint->cancel_when(options.cancelled);
  engine->device_->pipelines().prebuild(pipeline_tag(engine->config_, engine->cache_type_));
  VL2_ASSIGN(engine->weights_, load_weights(*engine->device_, *checkpoint, engine->config_, options.progress, &times, options.mix,
                                            engine->expert_slots_, engine->plan_.expert_window));
  VL2_ASSIGN(engine->identity_, identity_of_weights(*checkpoint, options.mix));
  checkpoint->cancel_when({});
  if (engine->weights_->language.file != nullptr)
    engine->checkpoint_ = std::move(checkpoint);
  times.total_ms = ms_since(start);
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::synthetic(const std::string& name, const Config& config, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  engine->config_ = config;
  VL2_TRY(limit_tiles(engine->config_, options.tiles));
  VL2_ASSIGN(engine->context_, context_of(engine->config_, options.context));
  engine->chunk_ = options.chunk;
  engine->cache_type_ = options.cache_type;
  VL2_ASSIGN(engine->device_, Device::create(options.device));
  engine->times_.device_ms = ms_since(start);
  VL2_TRY(engine->check_memory(name, nullptr, options));
  engine->device_->pipelines().prebuild(pipeline_tag(engine->config_, engine->cache_type_));
  const auto upload_start = Clock::now();
  VL2_ASSIGN(engine->weights_, make_synthetic_weights(*engine->device_, config, options.mix, engine->expert_slots_));
  if (options.router_skew != 0)
    VL2_TRY(skew_routing(*engine->device_, options.router_skew, *engine->weights_));
  engine->times_.upload_ms = ms_since(upload_start);
  engine->times_.total_ms = ms_since(start);
  return engine;
}

}  // namespace vl2
