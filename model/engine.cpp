#include "model/engine.h"

#include <algorithm>
#include <future>
#include <sstream>

#include "model/kv_cache.h"
#include "model/synthetic_weights.h"
#include "runtime/clock.h"
#include "runtime/pipeline_file.h"

namespace vl2 {

namespace {

constexpr uint64_t kMaxViews = 10;  // a picture: the whole and at most nine tiles

std::string gigabytes(uint64_t bytes) {
  const uint64_t tenths = (bytes + 50'000'000) / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GB";
}

uint64_t vision_working_bytes(const Config& config, uint64_t act) {
  const VisionConfig& vision = config.vision;
  const uint64_t rows = kMaxViews * vision.tokens();
  const uint64_t a_row =
      4 * vision.width + act * (3 * vision.patch_size * vision.patch_size + 6 * vision.width + vision.mlp_width());
  const uint64_t tokens = kMaxViews * config.tokens_per_view();
  return rows * a_row + tokens * (act * (4 * vision.width + config.projector.n_embed) + 4 * config.language.hidden_size);
}

uint64_t language_working_bytes(const LanguageConfig& language, uint64_t act, uint64_t context, uint64_t chunk) {
  const uint64_t heads = language.num_attention_heads, hidden = language.hidden_size;
  const uint64_t q = heads * (language.use_mla ? language.qk_nope_head_dim + language.qk_rope_head_dim + language.v_head_dim : 0);
  const uint64_t dense =
      3 * std::max<uint64_t>(language.intermediate_size, language.n_shared_experts * language.moe_intermediate_size);
  const uint64_t routed = language.num_experts_per_tok * (3 * language.moe_intermediate_size * act + hidden * 4);
  const uint64_t a_token = act * (4 * hidden + q + dense) + routed + 4 * (3 * hidden + language.n_routed_experts);
  const uint64_t expanded = language.use_mla ? context * heads * (language.qk_nope_head_dim + language.v_head_dim) * act : 0;
  return std::min(chunk, context) * a_token + expanded + context * hidden * 4 + uint64_t{language.vocab_size} * 8;
}

}  // namespace

MemoryPlan plan_memory(const Config& config, DType act, uint32_t context, uint32_t chunk) {
  MemoryPlan plan;
  plan.weight_bytes = weight_bytes(config);
  plan.cache_bytes = kv_cache_bytes_per_token(config.language, act) * context;
  plan.working_bytes = (config.has_vision ? vision_working_bytes(config, dtype_bytes(act)) : 0) +
                       language_working_bytes(config.language, dtype_bytes(act), context, chunk);
  return plan;
}

uint64_t pipeline_tag(const Config& config) {
  // Written field by field: a struct's padding has no value.
  const LanguageConfig& language = config.language;
  const VisionConfig& vision = config.vision;
  std::ostringstream text;
  text << vision.layers << ' ' << vision.width << ' ' << vision.patch_size << ' ' << vision.mlp_ratio << ' ' << vision.image_size
       << ' ' << vision.heads << ' ' << config.projector.n_embed << ' ' << language.vocab_size << ' ' << language.hidden_size
       << ' ' << language.intermediate_size << ' ' << language.moe_intermediate_size << ' ' << language.num_attention_heads << ' '
       << language.n_shared_experts << ' ' << language.n_routed_experts << ' ' << language.use_mla << ' '
       << language.kv_lora_rank;
  const std::string bytes = text.str();
  return fnv1a64(bytes.data(), bytes.size());
}

Status Engine::check_context(uint32_t wanted) {
  const uint32_t longest = config_.language.max_position_embeddings;
  context_ = wanted == 0 ? longest : wanted;
  if (context_ > longest)
    return fail(Code::BadArgument, "context: got ", wanted, " tokens, this model holds at most ", longest);
  return {};
}

void Engine::make_plan() {
  plan_ = plan_memory(config_, device_->act(), context_, chunk());
  plan_.available_bytes = device_->memory().available_bytes();
}

Status Engine::check_memory(const std::string& name) {
  make_plan();
  if (device_->executes() && plan_.needed_bytes() > plan_.available_bytes)
    return fail(Code::OutOfMemory, name, ": needs ", gigabytes(plan_.needed_bytes()), " (weights ", gigabytes(plan_.weight_bytes),
                ", cache of ", context_, " tokens ", gigabytes(plan_.cache_bytes), ", working memory ",
                gigabytes(plan_.working_bytes), "), ", device_->caps().name, " has ", gigabytes(plan_.available_bytes),
                " free; a smaller context (-c) or another device (--device) may do");
  return {};
}

Result<std::unique_ptr<Engine>> Engine::load(const std::string& path, const EngineOptions& options) {
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return load(files, options);
}

Result<MemoryPlan> Engine::plan_load(const ModelFiles& files, const EngineOptions& options, std::string& device_name) {
  Engine engine;
  VL2_ASSIGN(engine.config_, files.config());
  VL2_TRY(engine.check_context(options.context));
  VL2_ASSIGN(engine.device_, Device::create(options.device));
  engine.make_plan();
  device_name = engine.device_->caps().name;
  return engine.plan_;
}

Result<std::unique_ptr<Engine>> Engine::load(const ModelFiles& files, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  VL2_ASSIGN(engine->config_, files.config());
  VL2_TRY(engine->check_context(options.context));

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
  VL2_ASSIGN(const auto checkpoint, opening.get());  // first: a folder that is none is worth more words than a missing driver
  VL2_ASSIGN(engine->device_, std::move(device));
  VL2_TRY(engine->check_memory(files.path()));
  checkpoint->cancel_when(options.cancelled);
  engine->device_->pipelines().prebuild(pipeline_tag(engine->config_));
  VL2_ASSIGN(engine->weights_,
             load_weights(*engine->device_, *checkpoint, engine->config_, options.progress, &times, options.mix));
  times.total_ms = ms_since(start);
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::synthetic(const std::string& name, const Config& config, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  engine->config_ = config;
  VL2_TRY(engine->check_context(options.context));
  VL2_ASSIGN(engine->device_, Device::create(options.device));
  engine->times_.device_ms = ms_since(start);
  VL2_TRY(engine->check_memory(name));
  engine->device_->pipelines().prebuild(pipeline_tag(engine->config_));
  const auto upload_start = Clock::now();
  VL2_ASSIGN(engine->weights_, make_synthetic_weights(*engine->device_, config, options.mix));
  engine->times_.upload_ms = ms_since(upload_start);
  engine->times_.total_ms = ms_since(start);
  return engine;
}

}  // namespace vl2
