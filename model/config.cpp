#include "model/config.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <sstream>

#include "model/json_file.h"

namespace vl2 {

namespace {

using nlohmann::json;

// Bounds far above any model of this family, low enough that sums and products of two stay inside 32 bits.
constexpr uint32_t kMaxWidth = 65536;
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxHeads = 1024;
constexpr uint32_t kMaxHeadDim = 1024;
constexpr uint32_t kMaxVocab = 1u << 20;
constexpr uint32_t kMaxPositions = 1u << 20;
constexpr uint32_t kMaxImageSize = 4096;
constexpr uint32_t kMaxGrid = 256;
constexpr uint32_t kMaxExperts = 256;
constexpr uint32_t kMaxExpertsPerToken = 16;
constexpr uint32_t kMaxSharedExperts = 64;
constexpr size_t kMaxCandidates = 64;
constexpr uint32_t kMaxTiles = 64;

// One object of the file. Each call reads one key into a value that already holds its default, and keeps the first error.
class Section {
 public:
  Section(const json& object, std::string prefix, Status& status)
      : object_(object), prefix_(std::move(prefix)), status_(status) {}

  // An absent key is no error; callers that need it ask has().
  bool has(const char* key) const { return object_.contains(key); }
  bool is_null(const char* key) const { return has(key) && object_[key].is_null(); }
  const json& at(const char* key) const { return object_[key]; }

  void count(const char* key, uint32_t& value, uint32_t low, uint32_t high) {
    if (!has(key))
      return check_range(key, value, low, high);
    const json& got = at(key);
    if (!got.is_number_integer())
      return refuse(Code::BadFile, key, describe_json(got), "a count");
    if (!got.is_number_unsigned() || got.get<uint64_t>() < low || got.get<uint64_t>() > high)
      return refuse(Code::BadFile, key, describe_json(got), range(low, high));
    value = got.get<uint32_t>();
  }

  // Like count, and null means 0: Python's None in the places where the classes have it as "there is none".
  void count_or_null(const char* key, uint32_t& value, uint32_t high) {
    if (is_null(key))
      value = 0;
    else
      count(key, value, 0, high);
  }

  template <typename T>
  void real(const char* key, T& value, double low, double high) {
    if (!has(key))
      return;
    const json& got = at(key);
    if (!got.is_number())
      return refuse(Code::BadFile, key, describe_json(got), "a number");
    const double number = got.get<double>();
    if (!(number >= low && number <= high))
      return refuse(Code::BadFile, key, describe_json(got), range(low, high));
    value = static_cast<T>(number);
  }

  void flag(const char* key, bool& value) {
    if (!has(key))
      return;
    if (!at(key).is_boolean())
      return refuse(Code::BadFile, key, describe_json(at(key)), "true or false");
    value = at(key).get<bool>();
  }

  void word(const char* key, std::string& value) {
    if (!has(key))
      return;
    if (!at(key).is_string())
      return refuse(Code::BadFile, key, describe_json(at(key)), "a string");
    value = at(key).get<std::string>();
  }

  // The object under a key that has one.
  Section child(const char* key) { return Section(at(key), prefix_ + key + ".", status_); }

  // The rest: keys whose only value that this program runs is `wanted`, with the default of the official class.
  void only_flag(const char* key, bool wanted) {
    bool got = wanted;
    flag(key, got);
    if (got != wanted)
      refuse(Code::Unsupported, key, got ? "true" : "false", wanted ? "true" : "false");
  }

  void only_word(const char* key, const std::string& official_default, const std::string& wanted) {
    std::string got = official_default;
    word(key, got);
    if (got != wanted)
      refuse(Code::Unsupported, key, quote(got), quote(wanted));
  }

  void only_count(const char* key, uint32_t official_default, uint32_t wanted) {
    uint32_t got = official_default;
    count(key, got, 0, std::numeric_limits<uint32_t>::max());
    if (got != wanted)
      refuse(Code::Unsupported, key, std::to_string(got), std::to_string(wanted));
  }

  void only_null(const char* key) {
    if (has(key) && !is_null(key))
      refuse(Code::Unsupported, key, describe_json(at(key)), "null");
  }

  void refuse(Code code, const char* key, const std::string& got, const std::string& wanted) {
    if (status_.ok())
      status_ = fail(code, prefix_, key, ": got ", got, ", wanted ", wanted);
  }

  // On one line, whatever the text holds.
  static std::string quote(const std::string& text) {
    return json(text.substr(0, 48)).dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  }

 private:
  void check_range(const char* key, uint32_t value, uint32_t low, uint32_t high) {
    if (value < low || value > high)
      refuse(Code::BadFile, key, "none, which means " + std::to_string(value), range(low, high));
  }

  template <typename T>
  static std::string range(T low, T high) {
    std::ostringstream out;
    out << low << " to " << high;
    return out.str();
  }

  const json& object_;
  std::string prefix_;
  Status& status_;
};

void read_vision(Section s, VisionConfig& vision) {
  s.count("layers", vision.layers, 1, kMaxLayers);
  s.count("width", vision.width, 1, kMaxWidth);
  s.count("image_size", vision.image_size, 1, kMaxImageSize);
  s.count("patch_size", vision.patch_size, 1, kMaxImageSize);
  s.count("heads", vision.heads, 1, kMaxHeads);
  s.real("mlp_ratio", vision.mlp_ratio, 1e-3, 64);
  s.only_word("global_pool", "map", "map");  // another one would move the final norm
  s.only_flag("ignore_head", true);
  s.only_flag("class_token", false);
}

void read_projector(Section s, ProjectorConfig& projector) {
  s.only_word("projector_type", "downsample_mlp_gelu", "downsample_mlp_gelu");
  s.count("input_dim", projector.input_dim, 1, kMaxWidth);
  s.count("n_embed", projector.n_embed, 1, kMaxWidth);
  s.only_count("depth", 2, 2);
  s.only_count("mlp_ratio", 1, 1);
  s.only_count("downsample_ratio", 2, 2);
  s.only_flag("token_pooling", false);
}

void read_attention(Section s, LanguageConfig& language) {
  s.count("num_attention_heads", language.num_attention_heads, 1, kMaxHeads);
  uint32_t key_value_heads = 32;
  if (s.is_null("num_key_value_heads"))
    key_value_heads = language.num_attention_heads;
  else
    s.count("num_key_value_heads", key_value_heads, 1, kMaxHeads);
  if (key_value_heads != language.num_attention_heads)
    s.refuse(Code::Unsupported, "num_key_value_heads", std::to_string(key_value_heads),
             std::to_string(language.num_attention_heads) + ", the same as num_attention_heads");
  s.flag("use_mla", language.use_mla);
  s.only_flag("attention_bias", false);
  if (language.use_mla) {
    if (!s.has("q_lora_rank"))
      s.refuse(Code::Unsupported, "q_lora_rank", "none, which means 1536", "null");
    s.only_null("q_lora_rank");
    s.count("kv_lora_rank", language.kv_lora_rank, 1, kMaxWidth);
    s.count("qk_nope_head_dim", language.qk_nope_head_dim, 1, kMaxHeadDim);
    s.count("qk_rope_head_dim", language.qk_rope_head_dim, 2, kMaxHeadDim);
    s.count("v_head_dim", language.v_head_dim, 1, kMaxHeadDim);
    return;
  }
  // Not used by plain attention, which splits hidden_size; the published Tiny writes null and 0.
  s.count_or_null("kv_lora_rank", language.kv_lora_rank, kMaxWidth);
  s.count_or_null("qk_nope_head_dim", language.qk_nope_head_dim, kMaxHeadDim);
  s.count_or_null("qk_rope_head_dim", language.qk_rope_head_dim, kMaxHeadDim);
  s.count_or_null("v_head_dim", language.v_head_dim, kMaxHeadDim);
}

void read_experts(Section s, LanguageConfig& language) {
  s.count_or_null("n_routed_experts", language.n_routed_experts, kMaxExperts);
  s.count_or_null("n_shared_experts", language.n_shared_experts, kMaxSharedExperts);
  s.count_or_null("num_experts_per_tok", language.num_experts_per_tok, kMaxExperts);
  s.count("moe_intermediate_size", language.moe_intermediate_size, 1, kMaxWidth);
  s.count("moe_layer_freq", language.moe_layer_freq, 1, kMaxLayers);
  s.count("first_k_dense_replace", language.first_k_dense_replace, 0, kMaxLayers);
  s.flag("norm_topk_prob", language.norm_topk_prob);
  s.real("routed_scaling_factor", language.routed_scaling_factor, 1e-6, 1e6);
  for (const char* key : {"n_group", "topk_group"})
    if (!s.is_null(key))
      s.only_count(key, 1, 1);

  std::string method = "greedy";  // as one release of the class has it; another misspells it, which selects no branch
  s.word("topk_method", method);
  if (method == "noaux_tc")
    language.topk_method = TopkMethod::NoauxTc;
  else if (method != "greedy")
    s.refuse(Code::Unsupported, "topk_method", Section::quote(method), "\"greedy\" or \"noaux_tc\"");
  std::string scoring = "softmax";
  s.word("scoring_func", scoring);
  if (scoring == "sigmoid")
    language.scoring_func = ScoringFunc::Sigmoid;
  else if (scoring != "softmax")
    s.refuse(Code::Unsupported, "scoring_func", Section::quote(scoring), "\"softmax\" or \"sigmoid\"");

  const uint32_t chosen = language.num_experts_per_tok, most = std::min(kMaxExpertsPerToken, language.n_routed_experts);
  if (language.n_routed_experts > 0 && (chosen < 1 || chosen > most))
    s.refuse(Code::BadFile, "num_experts_per_tok", std::to_string(chosen), "1 to " + std::to_string(most));
}

void read_rope_scaling(Section language_section, LanguageConfig& language) {
  const char* key = "rope_scaling";
  if (!language_section.at(key).is_object())
    return language_section.refuse(Code::BadFile, key, describe_json(language_section.at(key)), "an object or null");
  if (!language.use_mla)
    return language_section.refuse(Code::Unsupported, key, "an object", "null where use_mla is false");
  Section s = language_section.child(key);
  YarnConfig yarn;
  s.only_word("type", "none", "yarn");
  if (!s.has("factor"))
    return s.refuse(Code::BadFile, "factor", "none", "1 to 10000");
  s.real("factor", yarn.factor, 1, 1e4);
  s.count("original_max_position_embeddings", yarn.original_max_position_embeddings, 1, kMaxPositions);
  s.real("beta_fast", yarn.beta_fast, 1e-3, 1e6);
  s.real("beta_slow", yarn.beta_slow, 1e-3, 1e6);
  s.real("mscale", yarn.mscale, 0, 100);
  s.real("mscale_all_dim", yarn.mscale_all_dim, 0, 100);
  language.yarn = yarn;
}

void read_language(Section s, LanguageConfig& language) {
  s.count("vocab_size", language.vocab_size, 1, kMaxVocab);
  s.count("hidden_size", language.hidden_size, 1, kMaxWidth);
  s.count("intermediate_size", language.intermediate_size, 1, kMaxWidth);
  s.count("num_hidden_layers", language.num_hidden_layers, 1, kMaxLayers);
  read_attention(s, language);
  read_experts(s, language);
  s.only_word("hidden_act", "silu", "silu");
  s.only_flag("tie_word_embeddings", false);
  s.count("max_position_embeddings", language.max_position_embeddings, 1, kMaxPositions);
  s.real("rope_theta", language.rope_theta, 1, 1e9);
  if (s.has("rope_scaling") && !s.is_null("rope_scaling"))
    read_rope_scaling(s, language);
  s.real("rms_norm_eps", language.rms_norm_eps, 1e-12, 1);
  s.count("bos_token_id", language.bos_token_id, 0, language.vocab_size - 1);
  s.count("eos_token_id", language.eos_token_id, 0, language.vocab_size - 1);
}

std::string describe_list(const Section& s, const char* key) {
  if (!s.has(key))
    return "none";
  return s.at(key).is_array() ? std::to_string(s.at(key).size()) + " entries" : describe_json(s.at(key));
}

void read_candidates(Section& s, uint32_t image_size, std::vector<std::array<uint32_t, 2>>& candidates) {
  const char* key = "candidate_resolutions";
  const std::string wanted = "1 to " + std::to_string(kMaxCandidates) + " pairs of a width and a height";
  if (!s.has(key) || !s.at(key).is_array() || s.at(key).empty() || s.at(key).size() > kMaxCandidates)
    return s.refuse(Code::BadFile, key, describe_list(s, key), wanted);
  for (const json& pair : s.at(key)) {
    const auto is_side = [](const json& side) {
      return side.is_number_unsigned() && side.get<uint64_t>() <= kMaxTiles * kMaxImageSize;
    };
    if (!pair.is_array() || pair.size() != 2 || !is_side(pair[0]) || !is_side(pair[1]))
      return s.refuse(Code::BadFile, key, "an entry that is no pair of counts", wanted);
    const std::array<uint32_t, 2> sides{pair[0].get<uint32_t>(), pair[1].get<uint32_t>()};
    const uint64_t across = sides[0] / image_size, down = sides[1] / image_size;
    if (sides[0] % image_size != 0 || sides[1] % image_size != 0 || across * down < 1 || across * down > kMaxTiles)
      return s.refuse(Code::BadFile, key, std::to_string(sides[0]) + " x " + std::to_string(sides[1]),
                      "multiples of vision_config.image_size, " + std::to_string(image_size) + ", that make 1 to " +
                          std::to_string(kMaxTiles) + " tiles");
    candidates.push_back(sides);
  }
}

// What no single key shows: values that contradict each other.
Status check_together(const Config& config, const std::string& where) {
  const VisionConfig& vision = config.vision;
  const LanguageConfig& language = config.language;
  if (vision.patch_size > vision.image_size || vision.grid() > kMaxGrid)
    return fail(Code::BadFile, where, ": vision_config.patch_size: got ", vision.patch_size, ", wanted 1 to ", kMaxGrid,
                " patches along image_size, ", vision.image_size);
  if (vision.width % vision.heads != 0)
    return fail(Code::BadFile, where, ": vision_config.width: got ", vision.width, ", wanted a multiple of heads, ",
                vision.heads);
  if (vision.mlp_width() < 1 || vision.mlp_width() > kMaxWidth * 4)
    return fail(Code::BadFile, where, ": vision_config.mlp_ratio: got ", vision.mlp_ratio, ", wanted 1 to ", kMaxWidth * 4,
                " inner features");
  if (config.projector.input_dim != vision.width)
    return fail(Code::BadFile, where, ": projector_config.input_dim: got ", config.projector.input_dim, ", wanted ", vision.width,
                ", vision_config.width");
  if (config.projector.n_embed != language.hidden_size)
    return fail(Code::BadFile, where, ": projector_config.n_embed: got ", config.projector.n_embed, ", wanted ",
                language.hidden_size, ", language_config.hidden_size");
  if (language.hidden_size % language.num_attention_heads != 0)
    return fail(Code::BadFile, where, ": language_config.hidden_size: got ", language.hidden_size,
                ", wanted a multiple of num_attention_heads, ", language.num_attention_heads);
  if (language.use_mla && language.qk_rope_head_dim % 2 != 0)
    return fail(Code::BadFile, where, ": language_config.qk_rope_head_dim: got ", language.qk_rope_head_dim,
                ", wanted an even number");
  if (!language.use_mla && language.hidden_size / language.num_attention_heads % 2 != 0)
    return fail(Code::BadFile, where, ": language_config.hidden_size: got ", language.hidden_size,
                ", wanted an even number for each of ", language.num_attention_heads, " heads");
  return {};
}

// Element counts are 32 bits wide below: every matrix must have fewer than 2^32, whatever the single bounds allow.
Status check_sizes(const Config& config, const std::string& where) {
  const VisionConfig& v = config.vision;
  const LanguageConfig& l = config.language;
  uint64_t views = 1;
  for (const auto& [width, height] : config.candidate_resolutions)
    views = std::max(views, 1 + uint64_t{width / v.image_size} * (height / v.image_size));
  const uint64_t query = uint64_t{l.num_attention_heads} * (l.qk_nope_head_dim + l.qk_rope_head_dim);
  const uint64_t expanded = uint64_t{l.num_attention_heads} * (l.qk_nope_head_dim + l.v_head_dim);
  const uint64_t hidden = l.hidden_size;
  const struct {
    const char* what;
    uint64_t elements;
  } matrices[] = {
      {"the pixels of the views", views * 3 * v.image_size * v.image_size},
      {"the features of the views", views * v.tokens() * std::max(v.mlp_width(), 3 * v.width)},
      {"vision_config.width in its qkv", 3ull * v.width * v.width},
      {"vision_config.width in its mlp", uint64_t{v.width} * v.mlp_width()},
      {"vision_config.patch_size in its patch_embed", 3ull * v.patch_size * v.patch_size * v.width},
      {"projector_config.input_dim in its first layer", 4ull * config.projector.input_dim * config.projector.n_embed},
      {"language_config.vocab_size in embed_tokens", l.vocab_size * hidden},
      {"language_config.intermediate_size in its mlp", l.intermediate_size * hidden},
      {"language_config.n_routed_experts of a layer", uint64_t{l.n_routed_experts} * l.moe_intermediate_size * hidden},
      {"language_config.n_shared_experts of a layer", uint64_t{l.n_shared_experts} * l.moe_intermediate_size * hidden},
      {"language_config.hidden_size in o_proj", hidden * hidden},
      {"language_config.num_attention_heads in q_proj", l.use_mla ? query * hidden : 0},
      {"language_config.kv_lora_rank in kv_b_proj", l.use_mla ? expanded * l.kv_lora_rank : 0},
  };
  for (const auto& matrix : matrices)
    if (matrix.elements > std::numeric_limits<uint32_t>::max())
      return fail(Code::BadFile, where, ": ", matrix.what, ": got ", matrix.elements, " elements, wanted fewer than 2^32");
  return {};
}

Result<Config> read_config(const json& file, const std::string& where) {
  if (!file.is_object())
    return fail(Code::BadFile, where, ": got ", describe_json(file), ", wanted an object");
  static const json kEmpty = json::object();
  Status status;
  Section top(file, where + ": ", status);
  const auto section = [&](const char* key) {
    if (top.has(key) && !top.at(key).is_object())
      top.refuse(Code::BadFile, key, describe_json(top.at(key)), "an object");
    const json& object = top.has(key) && top.at(key).is_object() ? top.at(key) : kEmpty;
    return Section(object, where + ": " + key + ".", status);
  };
  Config config;
  top.only_word("model_type", "deepseek_vl_v2", "deepseek_vl_v2");
  top.only_word("tile_tag", "tile_tag", "2D");  // the class default is that word, which names no way of tiling
  top.only_word("global_view_pos", "head", "head");
  read_vision(section("vision_config"), config.vision);
  read_projector(section("projector_config"), config.projector);
  read_language(section("language_config"), config.language);
  if (status.ok())
    read_candidates(top, config.vision.image_size, config.candidate_resolutions);
  VL2_TRY(status);
  VL2_TRY(check_together(config, where));
  VL2_TRY(check_sizes(config, where));
  return config;
}

}  // namespace

Status check_sees(const Config& config) {
  if (!config.has_vision)
    return fail(Code::Unsupported, "picture: this model file is text-only, it holds no vision encoder");
  return {};
}

Result<Config> parse_config(const std::string& text, const std::string& where) {
  VL2_ASSIGN(const json file, parse_json(text, where));
  return read_config(file, where);
}

Result<Config> load_config(const std::string& path) {
  VL2_ASSIGN(const json file, read_json_file(path));
  return read_config(file, path);
}

}  // namespace vl2
