#include "model/gguf_keys.h"

#include <array>

namespace vl2 {

namespace {

using Kind = JsonValue::Kind;

// llama.cpp, enum llama_token_type.
constexpr int64_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;
// llama.cpp, enum llama_expert_gating_func_type.
constexpr uint32_t kSoftmax = 1, kSigmoid = 2;
constexpr uint32_t kQuantizationVersion = 2;  // ggml's, of the block layouts

// The first pattern of a pre-tokenizer tells the family.
Result<std::string> pre_tokenizer_name(const JsonValue& tokenizer, const std::string& where) {
  const JsonValue* value = tokenizer.find("pre_tokenizer");
  const JsonValue* list = value == nullptr ? nullptr : value->find("pretokenizers");
  if (list != nullptr && list->is(Kind::Array) && !list->as_array().empty()) {
    const JsonValue* pattern = list->as_array()[0].find("pattern");
    const JsonValue* regex = pattern == nullptr ? nullptr : pattern->find("Regex");
    if (regex != nullptr && regex->is(Kind::String)) {
      if (regex->as_string() == "\\p{N}{1,3}")
        return std::string("deepseek-v3");
      if (regex->as_string() == "[\r\n]" || regex->as_string() == "[\\r\\n]")
        return std::string("deepseek-llm");
    }
  }
  return fail(Code::Unsupported, where, ": pre_tokenizer: llama.cpp has a name for those of DeepSeek-LLM and DeepSeek-V3 only");
}

void add_latent_keys(GgufKeys& keys, const LanguageConfig& config, const std::string& arch, bool split_kv_b) {
  const uint32_t key_length = config.qk_nope_head_dim + config.qk_rope_head_dim;
  keys.emplace_back(arch + "attention.kv_lora_rank", gguf_u32(config.kv_lora_rank));
  if (split_kv_b) {  // one head of keys, the latent with its rope, that all queries share
    keys.emplace_back(arch + "attention.key_length", gguf_u32(config.kv_lora_rank + config.qk_rope_head_dim));
    keys.emplace_back(arch + "attention.value_length", gguf_u32(config.kv_lora_rank));
    keys.emplace_back(arch + "attention.key_length_mla", gguf_u32(key_length));
    keys.emplace_back(arch + "attention.value_length_mla", gguf_u32(config.v_head_dim));
  } else {
    keys.emplace_back(arch + "attention.key_length", gguf_u32(key_length));
    keys.emplace_back(arch + "attention.value_length", gguf_u32(config.v_head_dim));
  }
  keys.emplace_back(arch + "rope.dimension_count", gguf_u32(config.qk_rope_head_dim));
  keys.emplace_back(arch + "expert_weights_norm", gguf_bool(config.norm_topk_prob));
  keys.emplace_back(arch + "expert_gating_func", gguf_u32(config.scoring_func == ScoringFunc::Sigmoid ? kSigmoid : kSoftmax));
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;

  void set(int64_t id, const std::string& token, int64_t type) {
    if (id >= 0 && static_cast<size_t>(id) < tokens.size()) {
      tokens[static_cast<size_t>(id)] = token;
      types[static_cast<size_t>(id)] = type;
    }
  }
};

Vocabulary read_vocabulary(const JsonValue& tokenizer, uint32_t size) {
  Vocabulary vocabulary;
  for (uint32_t id = 0; id < size; ++id)
    vocabulary.tokens.push_back("[PAD" + std::to_string(id) + "]");
  vocabulary.types.assign(size, kUnused);
  for (const auto& [token, id] : tokenizer.find("model")->find("vocab")->as_object())
    vocabulary.set(id.as_integer(), token, kNormal);
  if (const JsonValue* added = tokenizer.find("added_tokens"))
    for (const JsonValue& token : added->as_array()) {
      const JsonValue* special = token.find("special");
      const bool control = special != nullptr && special->as_bool();
      vocabulary.set(token.find("id")->as_integer(), token.find("content")->as_string(), control ? kControl : kUserDefined);
    }
  return vocabulary;
}

std::vector<std::string> read_merges(const JsonValue& tokenizer) {
  std::vector<std::string> merges;
  for (const JsonValue& merge : tokenizer.find("model")->find("merges")->as_array())
    merges.push_back(merge.is(Kind::String) ? merge.as_string()
                                            : merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
  return merges;
}

}  // namespace

GgufKeys gguf_language_keys(const LanguageConfig& config, const std::string& name, uint32_t file_type, bool split_kv_b) {
  const std::string architecture = config.use_mla ? "deepseek2" : "deepseek", arch = architecture + ".";
  const bool shared_key = config.use_mla && split_kv_b;
  GgufKeys keys = {
      {"general.architecture", gguf_text(architecture)},
      {"general.name", gguf_text(name)},
      {"general.file_type", gguf_u32(file_type)},
      {"general.quantization_version", gguf_u32(kQuantizationVersion)},
      {arch + "block_count", gguf_u32(config.num_hidden_layers)},
      {arch + "context_length", gguf_u32(config.max_position_embeddings)},
      {arch + "embedding_length", gguf_u32(config.hidden_size)},
      {arch + "feed_forward_length", gguf_u32(config.intermediate_size)},
      {arch + "attention.head_count", gguf_u32(config.num_attention_heads)},
      {arch + "attention.head_count_kv", gguf_u32(shared_key ? 1 : config.num_attention_heads)},
      {arch + "attention.layer_norm_rms_epsilon", gguf_f32(config.rms_norm_eps)},
      {arch + "rope.freq_base", gguf_f32(config.rope_theta)},
      {arch + "rope.scaling.type", gguf_text(config.yarn.has_value() ? "yarn" : "none")},
      {arch + "vocab_size", gguf_u32(config.vocab_size)},
      {arch + "leading_dense_block_count", gguf_u32(config.first_k_dense_replace)},
      {arch + "expert_count", gguf_u32(config.n_routed_experts)},
      {arch + "expert_used_count", gguf_u32(config.num_experts_per_tok)},
      {arch + "expert_shared_count", gguf_u32(config.n_shared_experts)},
      {arch + "expert_feed_forward_length", gguf_u32(config.moe_intermediate_size)},
      {arch + "expert_weights_scale", gguf_f32(config.routed_scaling_factor)},
  };
  if (config.yarn.has_value()) {
    keys.emplace_back(arch + "rope.scaling.factor", gguf_f32(static_cast<float>(config.yarn->factor)));
    keys.emplace_back(arch + "rope.scaling.original_context_length", gguf_u32(config.yarn->original_max_position_embeddings));
    keys.emplace_back(arch + "rope.scaling.yarn_beta_fast", gguf_f32(static_cast<float>(config.yarn->beta_fast)));
    keys.emplace_back(arch + "rope.scaling.yarn_beta_slow", gguf_f32(static_cast<float>(config.yarn->beta_slow)));
    keys.emplace_back(arch + "rope.scaling.yarn_log_multiplier", gguf_f32(static_cast<float>(0.1 * config.yarn->mscale_all_dim)));
  }
  if (config.use_mla)
    add_latent_keys(keys, config, arch, split_kv_b);
  else
    keys.emplace_back(arch + "rope.dimension_count", gguf_u32(config.hidden_size / config.num_attention_heads));
  return keys;
}

Result<GgufKeys> gguf_tokenizer_keys(const JsonValue& tokenizer, const LanguageConfig& config, const std::string& where) {
  VL2_ASSIGN(std::string pre, pre_tokenizer_name(tokenizer, where));
  Vocabulary vocabulary = read_vocabulary(tokenizer, config.vocab_size);
  return GgufKeys{
      {"tokenizer.ggml.model", gguf_text("gpt2")},
      {"tokenizer.ggml.pre", gguf_text(std::move(pre))},
      {"tokenizer.ggml.tokens", gguf_texts(std::move(vocabulary.tokens))},
      {"tokenizer.ggml.token_type", gguf_i32s(std::move(vocabulary.types))},
      {"tokenizer.ggml.merges", gguf_texts(read_merges(tokenizer))},
      {"tokenizer.ggml.bos_token_id", gguf_u32(config.bos_token_id)},
      {"tokenizer.ggml.eos_token_id", gguf_u32(config.eos_token_id)},
      {"tokenizer.ggml.add_bos_token", gguf_bool(true)},
      {"tokenizer.ggml.add_eos_token", gguf_bool(false)},
  };
}

}  // namespace vl2
