#include "model/variants.h"

namespace vl2 {

namespace {

VisionConfig so400m() {
  return {.layers = 27, .width = 1152, .patch_size = 14, .mlp_ratio = 3.7362, .image_size = 384, .heads = 16};
}

std::vector<std::array<uint32_t, 2>> published_candidates() {
  return {{384, 384},  {384, 768},  {768, 384},  {384, 1152}, {1152, 384}, {384, 1536}, {1536, 384}, {768, 768},
          {384, 1920}, {1920, 384}, {384, 2304}, {2304, 384}, {768, 1152}, {1152, 768}, {384, 2688}, {2688, 384},
          {384, 3072}, {3072, 384}, {768, 1536}, {1536, 768}, {384, 3456}, {3456, 384}, {1152, 1152}};
}

// Plain attention with 10 heads of 128.
LanguageConfig tiny() {
  return {.vocab_size = 129280,
          .hidden_size = 1280,
          .intermediate_size = 6848,
          .moe_intermediate_size = 896,
          .num_hidden_layers = 12,
          .num_attention_heads = 10,
          .n_shared_experts = 2,
          .n_routed_experts = 64,
          .num_experts_per_tok = 6,
          .moe_layer_freq = 1,
          .first_k_dense_replace = 1,
          .topk_method = TopkMethod::Greedy,
          .scoring_func = ScoringFunc::Softmax,
          .norm_topk_prob = false,
          .routed_scaling_factor = 1.0f,
          .use_mla = false,
          .kv_lora_rank = 0,
          .qk_nope_head_dim = 0,
          .qk_rope_head_dim = 0,
          .v_head_dim = 0,
          .max_position_embeddings = 4096,
          .rope_theta = 10000.0f,
          .rms_norm_eps = 1e-6f,
          .bos_token_id = 0,
          .eos_token_id = 1};
}

LanguageConfig small() {
  return {.vocab_size = 102400,
          .hidden_size = 2048,
          .intermediate_size = 10944,
          .moe_intermediate_size = 1408,
          .num_hidden_layers = 27,
          .num_attention_heads = 16,
          .n_shared_experts = 2,
          .n_routed_experts = 64,
          .num_experts_per_tok = 6,
          .moe_layer_freq = 1,
          .first_k_dense_replace = 1,
          .topk_method = TopkMethod::Greedy,
          .scoring_func = ScoringFunc::Softmax,
          .norm_topk_prob = false,
          .routed_scaling_factor = 1.0f,
          .use_mla = true,
          .kv_lora_rank = 512,
          .qk_nope_head_dim = 128,
          .qk_rope_head_dim = 64,
          .v_head_dim = 128,
          .max_position_embeddings = 4096,
          .rope_theta = 10000.0f,
          .rms_norm_eps = 1e-6f,
          .bos_token_id = 100000,
          .eos_token_id = 100001};
}

LanguageConfig base() {
  return {.vocab_size = 129280,
          .hidden_size = 2560,
          .intermediate_size = 12288,
          .moe_intermediate_size = 1536,
          .num_hidden_layers = 30,
          .num_attention_heads = 32,
          .n_shared_experts = 2,
          .n_routed_experts = 72,
          .num_experts_per_tok = 6,
          .moe_layer_freq = 1,
          .first_k_dense_replace = 1,
          .topk_method = TopkMethod::NoauxTc,
          .scoring_func = ScoringFunc::Sigmoid,
          .norm_topk_prob = true,
          .routed_scaling_factor = 2.0f,
          .use_mla = true,
          .kv_lora_rank = 512,
          .qk_nope_head_dim = 128,
          .qk_rope_head_dim = 64,
          .v_head_dim = 128,
          .max_position_embeddings = 4096,
          .rope_theta = 10000.0f,
          .rms_norm_eps = 1e-6f,
          .bos_token_id = 0,
          .eos_token_id = 1};
}

Variant variant(const char* name, const LanguageConfig& language) {
  return {.name = name,
          .config = {.vision = so400m(),
                     .projector = {.input_dim = 1152, .n_embed = language.hidden_size, .downsample_ratio = 2},
                     .language = language,
                     .candidate_resolutions = published_candidates()}};
}

}  // namespace

std::span<const Variant> variants() {
  static const Variant kVariants[] = {variant("tiny", tiny()), variant("small", small()), variant("base", base())};
  return kVariants;
}

const Variant* find_variant(const std::string& name) {
  for (const Variant& candidate : variants())
    if (candidate.name == name)
      return &candidate;
  return nullptr;
}

}  // namespace vl2
