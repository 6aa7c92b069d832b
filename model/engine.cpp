#include "model/engine.h"

#include <algorithm>

#include "model/kv_cache.h"

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
  plan.working_bytes =
      vision_working_bytes(config, dtype_bytes(act)) + language_working_bytes(config.language, dtype_bytes(act), context, chunk);
  return plan;
}

Result<std::unique_ptr<Engine>> Engine::load(const std::string& folder, const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine);
  VL2_ASSIGN(engine->config_, load_config(folder + "/config.json"));
  VL2_ASSIGN(const auto checkpoint, Checkpoint::open(folder));
  const uint32_t longest = engine->config_.language.max_position_embeddings;
  engine->context_ = options.context == 0 ? longest : options.context;
  if (engine->context_ > longest)
    return fail(Code::BadArgument, "context: got ", options.context, " tokens, this model holds at most ", longest);

  VL2_ASSIGN(engine->device_, Device::create(options.device));
  engine->plan_ = plan_memory(engine->config_, engine->device_->act(), engine->context_, engine->chunk());
  MemoryPlan& plan = engine->plan_;
  plan.available_bytes = engine->device_->memory().available_bytes();
  if (plan.needed_bytes() > plan.available_bytes)
    return fail(Code::OutOfMemory, folder, ": needs ", gigabytes(plan.needed_bytes()), " (weights ", gigabytes(plan.weight_bytes),
                ", cache of ", engine->context_, " tokens ", gigabytes(plan.cache_bytes), ", working memory ",
                gigabytes(plan.working_bytes), "), ", engine->device_->caps().name, " has ", gigabytes(plan.available_bytes),
                " free; a smaller context (-c) or another device (--device) may do");
  VL2_ASSIGN(engine->weights_, load_weights(*engine->device_, *checkpoint, engine->config_, options.progress));
  return engine;
}

}  // namespace vl2
