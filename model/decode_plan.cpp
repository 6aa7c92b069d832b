#include "model/decode_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string>

#include "model/expert_file.h"
#include "model/language_model.h"
#include "model/rope_scaling.h"
#include "runtime/device.h"
#include "runtime/ops/decode_router.h"
#include "runtime/ops/embed_tokens.h"
#include "runtime/ops/expert_cache.h"

namespace vl2 {

namespace {

constexpr uint32_t kMaxMhaWidth = 512;  // DECODE_ATTENTION_MAX_HEAD

uint32_t head_depth(const LanguageConfig& config) {
  return config.use_mla ? config.kv_lora_rank + config.qk_rope_head_dim : rope_width(config);
}

std::string text_of(const TensorView& view) {
  std::ostringstream out;
  out << view;
  return out.str();
}

}  // namespace

Result<PlanChoice> plan_choice_from_environment() {
  const char* value = std::getenv("VL2_PLAN");
  const std::string word = value == nullptr ? "" : value;
  if (word.empty() || word == "auto")
    return PlanChoice::Auto;
  if (word == "plain")
    return PlanChoice::Plain;
  if (word == "fused")
    return PlanChoice::Fused;
  return fail(Code::BadArgument, "VL2_PLAN: got \"", word, "\", wanted plain, fused or auto");
}

std::string DecodePlan::unsupported(Recorder& rec, const LanguageConfig& config, const LanguageWeights& weights) {
  if (config.num_experts_per_tok > kRouterMaxTopK || config.n_routed_experts > kRouterMaxExperts)
    return "more experts than the router takes";
  const uint32_t depth = head_depth(config);
  if (depth % 8 != 0 || (config.use_mla ? config.kv_lora_rank % 8 != 0 : depth > kMaxMhaWidth))
    return "heads of " + std::to_string(depth) + " elements";
  const auto bad = [&](const TensorView& weight, bool in_pieces) {
    if (weight.empty())
      return false;
    return weight.dim(weight.rank() - 1) % 8 != 0 || (!in_pieces && weight.span_bytes() + 16 > rec.max_binding_bytes());
  };
  for (const LayerWeights& layer : weights.layers)
    for (const TensorView* weight : {&layer.mlp.gate_up, &decoded_experts(layer).gate_up, &decoded_experts(layer).down,
                                     &layer.shared.gate_up, &layer.kv_b, &layer.router})
      if (bad(*weight, false))
        return "weight " + text_of(*weight) + ": too large for one binding, or rows of no multiple of 8";
  for (const LayerWeights& layer : weights.layers)
    for (const TensorView* weight : {&layer.qkv, &layer.q, &layer.kv_a, &layer.o, &layer.mlp.down, &layer.shared.down})
      if (bad(*weight, true))
        return "weight " + text_of(*weight) + ": rows of no multiple of 8";
  return bad(weights.lm_head, true) ? "lm_head " + text_of(weights.lm_head) : "";
}

Result<std::unique_ptr<DecodePlan>> DecodePlan::create(Device& device, const LanguageConfig& config,
                                                       const LanguageWeights& weights, const KvCache& cache,
                                                       const DecodeInputs& inputs) {
  std::unique_ptr<DecodePlan> plan(new DecodePlan(config, weights, cache, inputs));
  if (const char* text = std::getenv("VL2_DECODE_TUNING"); text != nullptr) {
    VL2_ASSIGN(plan->tuning_, parse_decode_tuning(text));
  }
  VL2_ASSIGN(plan->attention_, PlanAttention::create(device, config, cache.type, cache.capacity, 1, plan->tuning_));
  plan->shape_ = plan->attention_->shape(cache.capacity);
  VL2_TRY(plan->create_buffers(device));
  return plan;
}

Status DecodePlan::create_buffers(Device& device) {
  const auto allocate = [&](DType dtype, std::initializer_list<uint32_t> dims, const char* name, TensorView& view,
                            MemoryKind kind = MemoryKind::Device) -> Status {
    uint64_t bytes = dtype_bytes(dtype);
    for (const uint32_t dim : dims)
      bytes *= dim;
    if (bytes == 0)
      return {};
    VL2_ASSIGN(auto buffer, device.memory().allocate(bytes, kind, name));
    view = make_view(*buffer, dtype, dims);
    buffers_.push_back(std::move(buffer));
    return {};
  };
  const LanguageConfig& c = config_;
  const uint32_t heads = c.num_attention_heads, hidden = c.hidden_size;
  VL2_TRY(allocate(DType::U32, {decode_state_words()}, "decode state", state_));
  VL2_TRY(allocate(DType::U32, {1}, "decode token", token_));
  VL2_TRY(allocate(DType::F32, {hidden}, "decode residual", residual_));
  if (c.use_mla) {
    VL2_TRY(allocate(DType::F32, {heads, c.qk_nope_head_dim + c.qk_rope_head_dim}, "decode q", q_));
    VL2_TRY(allocate(DType::F32, {c.kv_lora_rank + c.qk_rope_head_dim}, "decode kv_a", kv_a_));
    VL2_TRY(allocate(DType::F32, {heads, c.v_head_dim}, "decode attended", attended_));
  } else {
    VL2_TRY(allocate(DType::F32, {3 * hidden}, "decode qkv", q_));
    VL2_TRY(allocate(DType::F32, {heads, rope_width(c)}, "decode attended", attended_));
  }
  VL2_TRY(allocate(DType::F32, {c.intermediate_size}, "decode gated", gated_));
  if (c.n_routed_experts == 0)
    return {};
  const uint32_t shared = c.n_shared_experts * c.moe_intermediate_size;
  VL2_TRY(allocate(DType::F32, {shared}, "decode shared gated", shared_gated_));
  VL2_TRY(allocate(DType::F32, {hidden}, "decode shared", shared_out_));
  VL2_TRY(allocate(DType::F32, {c.num_experts_per_tok, c.moe_intermediate_size}, "decode experts gated", experts_gated_));
  VL2_TRY(allocate(DType::F32, {c.n_routed_experts}, "decode router logits", router_logits_));
  VL2_TRY(allocate(DType::U32, {1}, "decode router counter", router_counter_));
  VL2_TRY(allocate(DType::U32, {c.num_experts_per_tok}, "decode expert ids", ids_));
  VL2_TRY(allocate(DType::U32, {c.num_experts_per_tok}, "decode expert slots", slots_,
                   weights_.file != nullptr ? MemoryKind::Upload : MemoryKind::Device));
  VL2_TRY(allocate(DType::U32, {c.num_experts_per_tok}, "decode expert loads", loads_));
  return allocate(DType::F32, {c.num_experts_per_tok}, "decode expert weights", expert_weights_);
}

Status DecodePlan::start(Recorder& rec, uint32_t position) const {
  VL2_TRY(rec.fill(state_.rows(0, 1), position));
  VL2_TRY(rec.fill(state_.rows(1, 1), 0));
  VL2_TRY(attention_->clear(rec));  // a token that never finished must not leave its arrivals behind
  return router_counter_.empty() ? Status{} : rec.fill(router_counter_, 0);
}

std::optional<DecodeGemvGroup> decode_dot_group_of(const Recorder& rec, const TensorView& weight, bool pairs, uint32_t top_k,
                                                   const DecodeTuning& tuning) {
  const uint32_t rank = weight.rank(), chosen = rank == 3 ? top_k : 1;
  const bool sum = rank == 3 && !pairs;
  return decode_dot_group(rec.device().caps(), rec.device().tier(), weight.dim(rank - 2) * (sum ? 1 : chosen),
                          weight.dim(rank - 1) * (sum ? chosen : 1), weight.dtype, pairs, tuning);
}

Status tuned_decode_gemv(Recorder& rec, const DecodeGemv& op, uint32_t top_k, const DecodeTuning& tuning) {
  const TensorView& weight = op.weight;
  const uint32_t rank = weight.rank(), chosen = rank == 3 ? top_k : 1;
  const bool sum = rank == 3 && !op.pairs;
  Device& device = rec.device();
  const uint32_t rows = weight.dim(rank - 2) * (sum ? 1 : chosen), k = weight.dim(rank - 1) * (sum ? chosen : 1);
  const auto dot = decode_dot_group_of(rec, weight, op.pairs, top_k, tuning);
  DecodeGemvGroup group = dot ? *dot : decode_gemv_group(device.caps(), device.quirks(), rows, k, weight.dtype, op.pairs, tuning);
  if (op.tokens > 1)
    group = with_tokens(device.caps(), group, rows, k, op.pairs,
                        {.count = op.tokens, .given = !op.bytes.empty(), .experts = rank == 3});
  return decode_gemv(rec, op, group);
}

Status tuned_decode_router(Recorder& rec, const LanguageConfig& config, const LayerWeights& layer, const TensorView& x,
                           const TensorView& logits, const TensorView& counter, const TensorView& ids,
                           const TensorView& weights) {
  const RouterOptions options{.top_k = config.num_experts_per_tok,
                              .scoring = config.scoring_func == ScoringFunc::Sigmoid ? Scoring::Sigmoid : Scoring::Softmax,
                              .norm_topk_prob = config.norm_topk_prob,
                              .routed_scaling_factor = config.routed_scaling_factor};
  Device& device = rec.device();
  const DecodeGemvGroup group =
      decode_gemv_group(device.caps(), device.quirks(), layer.router.dim(0), layer.router.dim(1), DType::F32, false);
  return decode_router(rec, x, layer.post_attention_norm, config.rms_norm_eps, layer.router, layer.router_bias, options, logits,
                       counter, ids, weights, group);
}

Status DecodePlan::gemv(Recorder& rec, const DecodeGemv& op) const {
  return tuned_decode_gemv(rec, op, config_.num_experts_per_tok, tuning_);
}

Status DecodePlan::attend(Recorder& rec, uint32_t index) const {
  const LayerWeights& layer = weights_.layers[index];
  const float eps = config_.rms_norm_eps;
  const bool mla = config_.use_mla;
  VL2_TRY(gemv(rec, {.x = residual_, .norm = layer.input_norm, .weight = mla ? layer.q : layer.qkv, .y = q_, .eps = eps}));
  if (mla)
    VL2_TRY(gemv(rec, {.x = residual_, .norm = layer.input_norm, .weight = layer.kv_a, .y = kv_a_, .eps = eps}));
  const PlanAttention::Rows rows{.shape = shape_,
                                 .caches = {&cache_},
                                 .rope_table = in_.rope_table,
                                 .state = state_,
                                 .q = mla ? q_.reshaped({1, q_.dim(0), q_.dim(1)}) : q_.reshaped({1, q_.dim(0)}),
                                 .kv_a = mla ? kv_a_.reshaped({1, kv_a_.dim(0)}) : TensorView{},
                                 .attended = attended_.reshaped({1, attended_.dim(0), attended_.dim(1)})};
  for (uint32_t part = 0; part < attention_->parts(); ++part)
    VL2_TRY(attention_->record(rec, part, layer, index, rows));
  return gemv(rec, {.x = attended_, .weight = layer.o, .y = residual_, .accumulate = true});
}

Status DecodePlan::dense(Recorder& rec, const LayerWeights& layer) const {
  VL2_TRY(gemv(rec, {.x = residual_,
                     .norm = layer.post_attention_norm,
                     .weight = layer.mlp.gate_up,
                     .y = gated_,
                     .pairs = true,
                     .eps = config_.rms_norm_eps}));

  return gemv(rec, {.x = gated_, .weight = layer.mlp.down, .y = residual_, .accumulate = true});
}

Status DecodePlan::moe(Recorder& rec, const LayerWeights& layer) const {
  const float eps = config_.rms_norm_eps;
  const MlpWeights& experts = decoded_experts(layer);
  const bool cached = !layer.cache_state.empty(), in_file = layer.file != nullptr;
  const TensorView& ids = cached || in_file ? slots_ : ids_;
  const bool shared = !layer.shared.down.empty();
  VL2_TRY(tuned_decode_router(rec, config_, layer, residual_, router_logits_, router_counter_, ids_, expert_weights_));
  std::vector<uint32_t> choices;
  if (in_file) {
    VL2_ASSIGN(choices, layer.file->read_choices(rec, ids_));
  }
  // A cache's two levels, its decision and the first copies, run beside the shared experts' two products, and the other copies
  // beside the first product of what they are not needed for.
  if (cached)
    VL2_TRY(expert_cache_update(rec, ids_, layer.router.dim(0), experts.down.dim(0), layer.cache_state, slots_, loads_));
  if (shared)
    VL2_TRY(gemv(rec, {.x = residual_,
                       .norm = layer.post_attention_norm,
                       .weight = layer.shared.gate_up,
                       .y = shared_gated_,
                       .pairs = true,
                       .eps = eps}));

  const DecodeGemv shared_down{.x = shared_gated_, .weight = layer.shared.down, .y = shared_out_};
  if (cached)
    VL2_TRY(expert_cache_load(rec, layer.experts.gate_up, experts.gate_up, slots_, loads_));
  if ((cached || in_file) && shared)
    VL2_TRY(gemv(rec, shared_down));
  if (in_file) {
    VL2_TRY(rec.submit());  // the shared experts' products run while the file is read
    VL2_TRY(layer.file->load(rec, layer, choices, slots_));
  }
  VL2_TRY(gemv(rec, {.x = residual_,
                     .norm = layer.post_attention_norm,
                     .weight = experts.gate_up,
                     .ids = ids,
                     .expert_weights = expert_weights_,
                     .y = experts_gated_,
                     .pairs = true,
                     .eps = eps}));
  if (cached)
    VL2_TRY(expert_cache_load(rec, layer.experts.down, experts.down, slots_, loads_));
  else if (shared && !in_file)
    VL2_TRY(gemv(rec, shared_down));

  return gemv(rec, {.x = experts_gated_,
                    .weight = experts.down,
                    .ids = ids,
                    .addend = shared ? shared_out_ : TensorView{},
                    .y = residual_,
                    .accumulate = true});
}

Status DecodePlan::record_token(Recorder& rec, const SampleOptions& options) const {
  SampleOptions step = options;
  step.step = 0;
  step.position = state_.rows(0, 1);  // DECODE_STATE_POSITION
  step.update_seen = true;
  VL2_TRY(sample(rec, in_.logits.reshaped({config_.vocab_size}), in_.seen, step, in_.sample_scratch, token_));
  VL2_TRY(embed_tokens(rec, weights_.embed_tokens, token_, residual_.reshaped({1, config_.hidden_size})));
  for (uint32_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    VL2_TRY(attend(rec, i));
    VL2_TRY(layer.is_moe ? moe(rec, layer) : dense(rec, layer));
  }
  VL2_TRY(gemv(
      rec, {.x = residual_, .norm = weights_.norm, .weight = weights_.lm_head, .y = in_.logits, .eps = config_.rms_norm_eps}));
  return decode_advance(rec, token_, state_, in_.ring);
}

uint32_t DecodePlan::levels() const {
  uint32_t levels = 2;  // embedding, logits
  for (const LayerWeights& layer : weights_.layers)
    levels += 2 + attention_->parts() + (layer.is_moe ? 3 : 2) + (layer.cache_state.empty() ? 0 : 2);
  return levels;
}

}  // namespace vl2
