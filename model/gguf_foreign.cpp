#include "model/gguf_foreign.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/utf8.h"

namespace vl2 {

namespace {

using nlohmann::json;

constexpr uint64_t kSigmoid = 2;                                // llama.cpp, enum llama_expert_gating_func_type
constexpr int64_t kControl = 3, kUserDefined = 4, kUnused = 5;  // enum llama_token_type

// Keys of one architecture, read into a JSON object. Keeps the first error.
class KeyReader {
 public:
  KeyReader(const Gguf& gguf, std::string prefix, const std::string& where)
      : gguf_(gguf), prefix_(std::move(prefix)), where_(where) {}

  bool has(const std::string& key) const { return gguf_.find(prefix_ + key) != nullptr; }

  uint64_t count(const std::string& key) {
    const auto value = gguf_.count(prefix_ + key, where_);
    keep(value.status());
    return value.ok() ? *value : 0;
  }
  uint64_t count_or(const std::string& key, uint64_t otherwise) { return has(key) ? count(key) : otherwise; }

  double number_or(const std::string& key, double otherwise) {
    if (!has(key))
      return otherwise;
    const auto value = gguf_.number(prefix_ + key, where_);
    keep(value.status());
    return value.ok() ? *value : 0;
  }

  bool flag_or(const std::string& key, bool otherwise) {
    if (!has(key))
      return otherwise;
    const GgufValue& value = *gguf_.find(prefix_ + key);
    if (value.type != GgufType::Bool)
      keep(fail(Code::BadFile, where_, ": key ", prefix_, key, " is ", gguf_type_name(value.type), ", wanted bool"));
    return value.type == GgufType::Bool && std::get<uint64_t>(value.data) != 0;
  }

  void must_be(const std::string& key, uint64_t only) {
    const uint64_t got = count_or(key, only);
    if (got != only)
      keep(fail(Code::Unsupported, where_, ": key ", prefix_, key, " is ", got, ", this program runs models with ", only));
  }

  const Status& status() const { return status_; }

 private:
  void keep(const Status& status) {
    if (status_.ok())
      status_ = status;
  }

  const Gguf& gguf_;
  std::string prefix_;
  const std::string& where_;
  Status status_;
};

void add_latent_attention(KeyReader& keys, json& language) {
  keys.must_be("attention.q_lora_rank", 0);
  const char* const suffix = keys.has("attention.key_length_mla") ? "_mla" : "";
  const uint64_t rope = keys.count("rope.dimension_count"), key = keys.count(std::string("attention.key_length") + suffix);
  language["q_lora_rank"] = nullptr;
  language["kv_lora_rank"] = keys.count("attention.kv_lora_rank");
  language["qk_rope_head_dim"] = rope;
  language["qk_nope_head_dim"] = key > rope ? key - rope : 0;
  language["v_head_dim"] = keys.count(std::string("attention.value_length") + suffix);
}

// What llama.cpp keeps is 0.1 * mscale_all_dim, for models whose mscale is the same.
json rope_scaling(KeyReader& keys, const std::string& type) {
  const double mscale = 10 * keys.number_or("rope.scaling.yarn_log_multiplier", 0);
  return {
      {"type", type},
      {"factor", keys.number_or("rope.scaling.factor", 1)},
      {"original_max_position_embeddings", keys.count_or("rope.scaling.original_context_length", keys.count("context_length"))},
      {"beta_fast", keys.number_or("rope.scaling.yarn_beta_fast", 32)},
      {"beta_slow", keys.number_or("rope.scaling.yarn_beta_slow", 1)},
      {"mscale", mscale},
      {"mscale_all_dim", mscale}};
}

void add_experts(KeyReader& keys, const Gguf& gguf, json& language) {
  const bool corrected = std::any_of(gguf.tensors.begin(), gguf.tensors.end(),
                                     [](const GgufTensor& tensor) { return tensor.name.ends_with(".exp_probs_b.bias"); });
  if (keys.count_or("expert_group_count", 0) != 0)
    keys.must_be("expert_group_count", 1);
  language["n_routed_experts"] = keys.count("expert_count");
  language["num_experts_per_tok"] = keys.count("expert_used_count");
  language["n_shared_experts"] = keys.count_or("expert_shared_count", 0);
  language["moe_intermediate_size"] = keys.count("expert_feed_forward_length");
  language["first_k_dense_replace"] = keys.count_or("leading_dense_block_count", 0);
  language["routed_scaling_factor"] = keys.number_or("expert_weights_scale", 1);
  language["norm_topk_prob"] = keys.flag_or("expert_weights_norm", false);
  language["scoring_func"] = keys.count_or("expert_gating_func", 1) == kSigmoid ? "sigmoid" : "softmax";
  language["topk_method"] = corrected ? "noaux_tc" : "greedy";
}

// The cased letters of DeepSeek-LLM's second pattern.
constexpr uint32_t kLetters[][2] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},       {0xd8, 0xf6},       {0xf8, 0x1ba},
    {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x376},     {0x377, 0x377},
    {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},     {0x38e, 0x3a1},
    {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},     {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},
    {0x13f8, 0x13fd},   {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},
    {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},
    {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},
    {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2183},   {0x2184, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf2},   {0x2cf3, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},
    {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
    {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};

std::string letters_class() {
  std::string text = "[";
  for (const auto& range : kLetters) {
    append_utf8(text, range[0]);
    if (range[1] != range[0]) {
      text += '-';
      append_utf8(text, range[1]);
    }
  }
  return text + "]";
}

json split(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

// null for a name that is neither.
json pre_tokenizer(const std::string& name) {
  json steps = json::array();
  if (name == "deepseek-v3") {
    steps.push_back(split(R"(\p{N}{1,3})"));
    steps.push_back(split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"));
    steps.push_back(
        split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
              " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"));
  } else if (name == "deepseek-llm") {
    steps.push_back(split("[\r\n]"));
    steps.push_back(split("\\s?" + letters_class() + "+"));
    steps.push_back(split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"));
    steps.push_back(split("\\s+$"));
    steps.push_back(split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"));
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  } else {
    return nullptr;
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Result<const std::vector<std::string>*> texts(const Gguf& gguf, const char* key, const std::string& where) {
  const GgufValue* value = gguf.find(key);
  if (value == nullptr || value->texts() == nullptr)
    return fail(Code::BadFile, where, ": key ", key, value == nullptr ? " is missing" : " is no list of strings");
  return value->texts();
}

// The type of each token: all normal where the file says nothing.
Result<std::vector<int64_t>> token_types(const Gguf& gguf, size_t count, const std::string& where) {
  const char* const key = "tokenizer.ggml.token_type";
  const GgufValue* value = gguf.find(key);
  if (value == nullptr)
    return std::vector<int64_t>(count, 1);
  const auto* types = std::get_if<std::vector<int64_t>>(&value->data);
  if (types == nullptr || types->size() != count)
    return fail(Code::BadFile, where, ": key ", key, " is no list of ", count, " numbers, one a token");
  return *types;
}

}  // namespace

Result<std::string> config_text_of_keys(const Gguf& gguf, const std::string& where) {
  VL2_ASSIGN(const std::string architecture, gguf.text("general.architecture", where));
  if (architecture != "deepseek" && architecture != "deepseek2")
    return fail(Code::Unsupported, where, ": key general.architecture is ",
                json(architecture.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace),
                ", wanted \"deepseek\" or \"deepseek2\"");
  KeyReader keys(gguf, architecture + ".", where), tokenizer(gguf, "tokenizer.ggml.", where);
  const bool latent = architecture == "deepseek2";
  VL2_ASSIGN(const std::string vocabulary, gguf.text("tokenizer.ggml.model", where));
  const bool no_text = vocabulary == "no_vocab";  // a file for measuring: ids in, ids out
  const uint64_t hidden = keys.count("embedding_length"), heads = keys.count("attention.head_count");
  json language = {{"use_mla", latent},
                   {"hidden_size", hidden},
                   {"intermediate_size", keys.count("feed_forward_length")},
                   {"num_hidden_layers", keys.count("block_count")},
                   {"num_attention_heads", heads},
                   {"num_key_value_heads", nullptr},
                   {"max_position_embeddings", keys.count("context_length")},
                   {"rms_norm_eps", keys.number_or("attention.layer_norm_rms_epsilon", 1e-6)},
                   {"rope_theta", keys.number_or("rope.freq_base", 10000)},
                   {"bos_token_id", no_text ? tokenizer.count_or("bos_token_id", 0) : tokenizer.count("bos_token_id")},
                   {"eos_token_id", no_text ? tokenizer.count_or("eos_token_id", 1) : tokenizer.count("eos_token_id")}};
  if (latent) {
    add_latent_attention(keys, language);
  } else {
    keys.must_be("attention.head_count_kv", heads);
    for (const char* none : {"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"})
      language[none] = nullptr;
  }
  add_experts(keys, gguf, language);
  if (keys.has("vocab_size")) {
    language["vocab_size"] = keys.count("vocab_size");
  } else {
    VL2_ASSIGN(const auto* tokens, texts(gguf, "tokenizer.ggml.tokens", where));
    language["vocab_size"] = tokens->size();
  }
  if (keys.has("rope.scaling.type")) {
    VL2_ASSIGN(const std::string type, gguf.text(architecture + ".rope.scaling.type", where));
    if (type != "none")
      language["rope_scaling"] = rope_scaling(keys, type);
  }
  VL2_TRY(keys.status());
  VL2_TRY(tokenizer.status());
  const json config = {{"model_type", "deepseek_vl_v2"},
                       {"tile_tag", "2D"},
                       {"candidate_resolutions", {{384, 384}}},
                       {"vision_config", {{"width", 1152}}},
                       {"projector_config", {{"n_embed", hidden}}},
                       {"language_config", language}};
  return config.dump(-1, ' ', true, json::error_handler_t::replace);
}

Result<std::string> tokenizer_text_of_keys(const Gguf& gguf, const std::string& where) {
  VL2_ASSIGN(const std::string model, gguf.text("tokenizer.ggml.model", where));
  VL2_ASSIGN(const std::string pre, gguf.text("tokenizer.ggml.pre", where));
  const json steps = pre_tokenizer(pre);
  if (model != "gpt2" || steps.is_null())
    return fail(Code::Unsupported, where,
                ": its tokenizer is none of DeepSeek-LLM's and DeepSeek-V3's, which are \"gpt2\" with pre ",
                "\"deepseek-llm\" or \"deepseek-v3\"");
  VL2_ASSIGN(const auto* tokens, texts(gguf, "tokenizer.ggml.tokens", where));
  VL2_ASSIGN(const auto* merges, texts(gguf, "tokenizer.ggml.merges", where));
  VL2_ASSIGN(const std::vector<int64_t> types, token_types(gguf, tokens->size(), where));
  json vocabulary = json::object(), added = json::array();
  for (size_t id = 0; id < tokens->size(); ++id) {
    const std::string& token = (*tokens)[id];
    if (types[id] == kUnused)
      continue;
    if (types[id] == kControl || types[id] == kUserDefined)
      added.push_back({{"id", id}, {"content", token}, {"normalized", false}, {"special", types[id] == kControl}});
    else if (!vocabulary.emplace(token, id).second)
      return fail(Code::BadFile, where, ": key tokenizer.ggml.tokens: the token ", id, " is there twice");
  }
  const json root = {{"added_tokens", std::move(added)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", steps},
                     {"decoder", {{"type", "ByteLevel"}}},
                     {"model", {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", *merges}}}};
  return root.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace vl2
