// config.json of a DeepSeek-VL2 folder, checked, with the official defaults for what it leaves out.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

// Fields are named as the keys of config.json; their defaults are those of the official configuration classes.

struct VisionConfig {
  uint32_t layers = 24;
  uint32_t width = 1024;
  uint32_t patch_size = 16;
  double mlp_ratio = 4;
  uint32_t image_size = 384;
  uint32_t heads = 16;

  uint32_t grid() const { return image_size / patch_size; }                        ///< patches along a side: 27
  uint32_t tokens() const { return grid() * grid(); }                              ///< patches of a view: 729
  uint32_t mlp_width() const { return static_cast<uint32_t>(width * mlp_ratio); }  ///< truncated, as Python's int()
  bool operator==(const VisionConfig&) const = default;
};

struct ProjectorConfig {
  uint32_t input_dim = 1152;
  uint32_t n_embed = 2048;
  uint32_t downsample_ratio = 2;
  bool operator==(const ProjectorConfig&) const = default;
};

enum class TopkMethod { Greedy, NoauxTc };
enum class ScoringFunc { Softmax, Sigmoid };

/// rope_scaling of type "yarn": a context longer than the one that the model was first trained with.
struct YarnConfig {
  double factor = 1;
  uint32_t original_max_position_embeddings = 4096;
  double beta_fast = 32, beta_slow = 1;
  double mscale = 1, mscale_all_dim = 0;
  bool operator==(const YarnConfig&) const = default;
};

struct LanguageConfig {
  uint32_t vocab_size = 102400;
  uint32_t hidden_size = 4096;
  uint32_t intermediate_size = 11008;
  uint32_t moe_intermediate_size = 1407;
  uint32_t num_hidden_layers = 30;
  uint32_t num_attention_heads = 32;
  uint32_t n_shared_experts = 0;
  uint32_t n_routed_experts = 0;
  uint32_t num_experts_per_tok = 0;
  uint32_t moe_layer_freq = 1;
  uint32_t first_k_dense_replace = 0;
  TopkMethod topk_method = TopkMethod::Greedy;
  ScoringFunc scoring_func = ScoringFunc::Softmax;
  bool norm_topk_prob = false;
  float routed_scaling_factor = 1.0f;
  bool use_mla = true;
  uint32_t kv_lora_rank = 512;
  uint32_t qk_nope_head_dim = 128;
  uint32_t qk_rope_head_dim = 64;
  uint32_t v_head_dim = 128;
  uint32_t max_position_embeddings = 2048;
  float rope_theta = 10000.0f;
  std::optional<YarnConfig> yarn;
  float rms_norm_eps = 1e-6f;
  uint32_t bos_token_id = 100000;
  uint32_t eos_token_id = 100001;

  bool is_moe_layer(uint32_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
  /// Whether the checkpoint has gate.e_score_correction_bias.
  bool has_correction_bias() const { return topk_method == TopkMethod::NoauxTc; }
  bool operator==(const LanguageConfig&) const = default;
};

struct Config {
  VisionConfig vision;
  ProjectorConfig projector;
  LanguageConfig language;
  std::vector<std::array<uint32_t, 2>> candidate_resolutions;  ///< (width, height), in the order of the file
  bool has_vision = true;  ///< false: a file with the language model alone, which sees nothing

  /// Vision tokens along a side of a view: 14.
  uint32_t tokens_per_side() const { return (vision.grid() + projector.downsample_ratio - 1) / projector.downsample_ratio; }
  /// Vision tokens of a view: 196.
  uint32_t tokens_per_view() const { return tokens_per_side() * tokens_per_side(); }
  bool operator==(const Config&) const = default;
};

/// Errors  Unsupported: pictures are shown to a model that is a language model alone
Status check_sees(const Config& config);

/// Parses the text of a config.json.
///
/// where   how messages name the text: a path
/// Errors  BadFile: not JSON, a value of the wrong type, out of range, or contradicting another, by its key ("config.json:
///         language_config.hidden_size: got a string, wanted a count"); Unsupported: well-formed, but a model that this program
///         does not run (rope_scaling other than YaRN, q_lora_rank, n_group above 1, another tile_tag, ...)
/// Source  DeepSeek-VL2 configuration_deepseek.py, modeling_deepseek_vl_v2.py
Result<Config> parse_config(const std::string& text, const std::string& where);

/// Reads and parses the file `path`.
///
/// Errors  NotFound, IoError, and those of parse_config
Result<Config> load_config(const std::string& path);

}  // namespace vl2
