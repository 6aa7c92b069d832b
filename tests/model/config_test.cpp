#include "model/config.h"

#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "model/json_file.h"
#include "model/variants.h"

using namespace vl2;

namespace {

using nlohmann::json;

// The three published files: the keys that each holds, and no other; architectures and the like are there to be ignored.
const char* const kTop = R"({
  "model_type": "deepseek_vl_v2", "torch_dtype": "bfloat16", "transformers_version": "4.38.2", "tile_tag": "2D",
  "global_view_pos": "head",
  "candidate_resolutions": [[384, 384], [384, 768], [768, 384], [384, 1152], [1152, 384], [384, 1536], [1536, 384], [768, 768],
    [384, 1920], [1920, 384], [384, 2304], [2304, 384], [768, 1152], [1152, 768], [384, 2688], [2688, 384], [384, 3072], [3072, 384],
    [768, 1536], [1536, 768], [384, 3456], [3456, 384], [1152, 1152]],
  "vision_config": {"layers": 27, "mlp_ratio": 3.7362, "model_name": "siglip_so400m_patch14_384", "model_type": "vision",
    "patch_size": 14, "width": 1152}
})";
const char* const kTiny = R"({
  "projector_config": {"model_type": "mlp_projector", "n_embed": 1280},
  "language_config": {"architectures": ["DeepseekV2ForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1,
    "hidden_size": 1280, "intermediate_size": 6848, "kv_lora_rank": null, "lm_head": true, "max_position_embeddings": 4096,
    "model_type": "deepseek_v2", "moe_intermediate_size": 896, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_attention_heads": 10, "num_experts_per_tok": 6, "num_hidden_layers": 12, "num_key_value_heads": 10, "q_lora_rank": null,
    "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "rm_head": false, "topk_group": 1, "topk_method": "greedy",
    "torch_dtype": "bfloat16", "use_mla": false, "v_head_dim": 0, "vocab_size": 129280}
})";
const char* const kSmall = R"({
  "projector_config": {"model_type": "mlp_projector"},
  "language_config": {"architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 1, "hidden_size": 2048,
    "intermediate_size": 10944, "lm_head": true, "max_position_embeddings": 4096, "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 16,
    "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16, "q_lora_rank": null, "rm_head": false,
    "topk_group": 1, "topk_method": "greedy", "torch_dtype": "bfloat16"}
})";
const char* const kBase = R"({
  "projector_config": {"model_type": "mlp_projector", "n_embed": 2560},
  "language_config": {"architectures": ["DeepseekV2ForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1,
    "hidden_size": 2560, "intermediate_size": 12288, "lm_head": false, "max_position_embeddings": 4096, "model_type": "deepseek_v2",
    "moe_intermediate_size": 1536, "n_group": 1, "n_routed_experts": 72, "n_shared_experts": 2, "norm_topk_prob": true,
    "num_experts_per_tok": 6, "q_lora_rank": null, "rm_head": false, "routed_scaling_factor": 2.0, "scoring_func": "sigmoid",
    "topk_group": 1, "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "vocab_size": 129280}
})";

json published(const std::string& name) {
  json file = json::parse(kTop);
  file.update(json::parse(name == "tiny" ? kTiny : name == "small" ? kSmall : kBase));
  return file;
}

// The message for the published file of `name` with one value changed; "" when it is accepted. `path` is a JSON pointer; the
// value "absent" (as the text `absent`) takes the key away.
std::string message_of(const std::string& name, const std::string& path, const std::string& value, Code code = Code::BadFile) {
  json file = published(name);
  const json::json_pointer key(path);
  if (value == "absent")
    file.at(key.parent_pointer()).erase(key.back());
  else
    file[key] = json::parse(value);
  const auto config = parse_config(file.dump(), "config.json");
  if (config.ok())
    return "";
  CHECK(config.code() == code);
  return config.message();
}

struct Refusal {
  const char *path, *value, *message;  // the message without its "config.json: "
};

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("config: the published files are the variants") {
    for (const Variant& variant : variants()) {
      CAPTURE(variant.name);
      const auto config = parse_config(published(variant.name).dump(), "config.json");
      REQUIRE_MESSAGE(config.ok(), config.message());
      CHECK(config->vision == variant.config.vision);
      CHECK(config->projector == variant.config.projector);
      CHECK(config->language == variant.config.language);
      CHECK(config->candidate_resolutions == variant.config.candidate_resolutions);
    }
  }

  TEST_CASE("config: refuses a value of the wrong type, naming its key") {
    for (const auto& [path, value, message] : std::initializer_list<Refusal>{
             {"/language_config/hidden_size", "\"1280\"", "language_config.hidden_size: got a string, wanted a count"},
             {"/language_config/hidden_size", "null", "language_config.hidden_size: got null, wanted a count"},
             {"/language_config/hidden_size", "1280.0", "language_config.hidden_size: got 1280.0, wanted a count"},
             {"/language_config/hidden_size", "[1280]", "language_config.hidden_size: got a list, wanted a count"},
             {"/language_config/use_mla", "0", "language_config.use_mla: got 0, wanted true or false"},
             {"/language_config/norm_topk_prob", "null", "language_config.norm_topk_prob: got null, wanted true or false"},
             {"/language_config/rope_theta", "true", "language_config.rope_theta: got true, wanted a number"},
             {"/language_config/topk_method", "3", "language_config.topk_method: got 3, wanted a string"},
             {"/language_config", "[]", "language_config: got a list, wanted an object"},
             {"/vision_config", "null", "vision_config: got null, wanted an object"},
             {"/vision_config/mlp_ratio", "\"4\"", "vision_config.mlp_ratio: got a string, wanted a number"},
             {"/tile_tag", "2", "tile_tag: got 2, wanted a string"},
             {"/candidate_resolutions", "absent",
              "candidate_resolutions: got none, wanted 1 to 64 pairs of a width and a height"},
             {"/candidate_resolutions", "7", "candidate_resolutions: got 7, wanted 1 to 64 pairs of a width and a height"},
             {"/candidate_resolutions", "[]",
              "candidate_resolutions: got 0 entries, wanted 1 to 64 pairs of a width and a height"},
             {"/candidate_resolutions", "[[384]]",
              "candidate_resolutions: got an entry that is no pair of counts, wanted 1 to 64 pairs of a width and a height"},
             {"/candidate_resolutions/0/1", "-384",
              "candidate_resolutions: got an entry that is no pair of counts, wanted 1 to 64 pairs of a width and a height"},
         })
      CHECK(message_of("tiny", path, value) == std::string("config.json: ") + message);
  }

  TEST_CASE("config: refuses a value out of range, saying the range") {
    for (const auto& [path, value, message] : std::initializer_list<Refusal>{
             {"/language_config/hidden_size", "0", "language_config.hidden_size: got 0, wanted 1 to 65536"},
             {"/language_config/hidden_size", "-1", "language_config.hidden_size: got -1, wanted 1 to 65536"},
             {"/language_config/hidden_size", "65537", "language_config.hidden_size: got 65537, wanted 1 to 65536"},
             {"/language_config/hidden_size", "18446744073709551615",
              "language_config.hidden_size: got 18446744073709551615, wanted 1 to 65536"},
             {"/language_config/num_hidden_layers", "1025", "language_config.num_hidden_layers: got 1025, wanted 1 to 1024"},
             {"/language_config/vocab_size", "1048577", "language_config.vocab_size: got 1048577, wanted 1 to 1048576"},
             {"/language_config/max_position_embeddings", "4294967296",
              "language_config.max_position_embeddings: got 4294967296, wanted 1 to 1048576"},
             {"/language_config/bos_token_id", "129280", "language_config.bos_token_id: got 129280, wanted 0 to 129279"},
             {"/language_config/eos_token_id", "129280", "language_config.eos_token_id: got 129280, wanted 0 to 129279"},
             {"/language_config/n_routed_experts", "257", "language_config.n_routed_experts: got 257, wanted 0 to 256"},
             {"/language_config/num_experts_per_tok", "0", "language_config.num_experts_per_tok: got 0, wanted 1 to 16"},
             {"/language_config/num_experts_per_tok", "17", "language_config.num_experts_per_tok: got 17, wanted 1 to 16"},
             {"/language_config/num_experts_per_tok", "null", "language_config.num_experts_per_tok: got 0, wanted 1 to 16"},
             {"/language_config/n_routed_experts", "5", "language_config.num_experts_per_tok: got 6, wanted 1 to 5"},
             {"/language_config/rms_norm_eps", "0", "language_config.rms_norm_eps: got 0, wanted 1e-12 to 1"},
             {"/language_config/rope_theta", "-1e4", "language_config.rope_theta: got -10000.0, wanted 1 to 1e+09"},
             {"/vision_config/image_size", "4097", "vision_config.image_size: got 4097, wanted 1 to 4096"},
             {"/vision_config/patch_size", "0", "vision_config.patch_size: got 0, wanted 1 to 4096"},
             {"/vision_config/mlp_ratio", "1e300", "vision_config.mlp_ratio: got 1e+300, wanted 0.001 to 64"},
         })
      CHECK(message_of("tiny", path, value) == std::string("config.json: ") + message);
    // Small leaves bos out; with a small vocabulary the default is out of range too.
    CHECK(message_of("small", "/language_config/vocab_size", "1000") ==
          "config.json: language_config.bos_token_id: got none, which means 100000, wanted 0 to 999");
    CHECK(message_of("small", "/language_config/kv_lora_rank", "null") ==
          "config.json: language_config.kv_lora_rank: got null, wanted a count");
    CHECK(message_of("small", "/language_config/qk_rope_head_dim", "0") ==
          "config.json: language_config.qk_rope_head_dim: got 0, wanted 2 to 1024");
  }

  TEST_CASE("config: refuses values that contradict each other") {
    for (const auto& [path, value, message] : std::initializer_list<Refusal>{
             {"/projector_config/n_embed", "absent",
              "projector_config.n_embed: got 2048, wanted 1280, language_config.hidden_size"},
             {"/projector_config/input_dim", "1024", "projector_config.input_dim: got 1024, wanted 1152, vision_config.width"},
             {"/vision_config/heads", "15", "vision_config.width: got 1152, wanted a multiple of heads, 15"},
             {"/vision_config/patch_size", "385",
              "vision_config.patch_size: got 385, wanted 1 to 256 patches along image_size, 384"},
             {"/vision_config/patch_size", "1", "vision_config.patch_size: got 1, wanted 1 to 256 patches along image_size, 384"},
             {"/candidate_resolutions/3", "[384, 385]",
              "candidate_resolutions: got 384 x 385, wanted multiples of vision_config.image_size, 384, that make 1 to 64 tiles"},
             {"/candidate_resolutions/3", "[384, 0]",
              "candidate_resolutions: got 384 x 0, wanted multiples of vision_config.image_size, 384, that make 1 to 64 tiles"},
             {"/candidate_resolutions/3", "[24960, 384]",
              "candidate_resolutions: got 24960 x 384, wanted multiples of vision_config.image_size, 384, that make 1 to 64 "
              "tiles"},
         })
      CHECK(message_of("tiny", path, value) == std::string("config.json: ") + message);

    json heads = published("tiny");
    heads["language_config"]["num_attention_heads"] = heads["language_config"]["num_key_value_heads"] = 11;
    CHECK(parse_config(heads.dump(), "c").message() ==
          "c: language_config.hidden_size: got 1280, wanted a multiple of num_attention_heads, 11");
    heads["language_config"]["num_attention_heads"] = heads["language_config"]["num_key_value_heads"] = 256;
    CHECK(parse_config(heads.dump(), "c").message() ==
          "c: language_config.hidden_size: got 1280, wanted an even number for each of 256 heads");
    CHECK(message_of("small", "/language_config/qk_rope_head_dim", "63") ==
          "config.json: language_config.qk_rope_head_dim: got 63, wanted an even number");
  }

  TEST_CASE("config: refuses matrices of 2^32 elements, which single bounds let through") {
    CHECK(message_of("base", "/language_config/moe_intermediate_size", "65536") ==
          "config.json: language_config.n_routed_experts of a layer: got 12079595520 elements, wanted fewer than 2^32");
    json wide = published("tiny");
    wide["language_config"]["hidden_size"] = wide["projector_config"]["n_embed"] = 65520;
    CHECK(parse_config(wide.dump(), "c").message() ==
          "c: language_config.vocab_size in embed_tokens: got 8470425600 elements, wanted fewer than 2^32");
  }

  TEST_CASE("config: refuses by name what this program does not run") {
    for (const auto& [path, value, message] : std::initializer_list<Refusal>{
             {"/model_type", "\"llava\"", "model_type: got \"llava\", wanted \"deepseek_vl_v2\""},
             {"/tile_tag", "\"1D\"", "tile_tag: got \"1D\", wanted \"2D\""},
             {"/tile_tag", "absent", "tile_tag: got \"tile_tag\", wanted \"2D\""},
             {"/global_view_pos", "\"tail\"", "global_view_pos: got \"tail\", wanted \"head\""},
             {"/vision_config/global_pool", "\"avg\"", "vision_config.global_pool: got \"avg\", wanted \"map\""},
             {"/vision_config/ignore_head", "false", "vision_config.ignore_head: got false, wanted true"},
             {"/vision_config/class_token", "true", "vision_config.class_token: got true, wanted false"},
             {"/projector_config/projector_type", "\"linear\"",
              "projector_config.projector_type: got \"linear\", wanted \"downsample_mlp_gelu\""},
             {"/projector_config/depth", "3", "projector_config.depth: got 3, wanted 2"},
             {"/projector_config/mlp_ratio", "4", "projector_config.mlp_ratio: got 4, wanted 1"},
             {"/projector_config/downsample_ratio", "4", "projector_config.downsample_ratio: got 4, wanted 2"},
             {"/projector_config/token_pooling", "true", "projector_config.token_pooling: got true, wanted false"},
             {"/language_config/rope_scaling", R"({"type": "linear", "factor": 4})",
              "language_config.rope_scaling.type: got \"linear\", wanted \"yarn\""},
             {"/language_config/q_lora_rank", "1536", "language_config.q_lora_rank: got 1536, wanted null"},
             {"/language_config/q_lora_rank", "absent", "language_config.q_lora_rank: got none, which means 1536, wanted null"},
             {"/language_config/n_group", "8", "language_config.n_group: got 8, wanted 1"},
             {"/language_config/topk_group", "3", "language_config.topk_group: got 3, wanted 1"},
             {"/language_config/topk_method", "\"group_limited_greedy\"",
              "language_config.topk_method: got \"group_limited_greedy\", wanted \"greedy\" or \"noaux_tc\""},
             {"/language_config/scoring_func", "\"tanh\"",
              "language_config.scoring_func: got \"tanh\", wanted \"softmax\" or \"sigmoid\""},
             {"/language_config/hidden_act", "\"gelu\"", "language_config.hidden_act: got \"gelu\", wanted \"silu\""},
             {"/language_config/attention_bias", "true", "language_config.attention_bias: got true, wanted false"},
             {"/language_config/tie_word_embeddings", "true", "language_config.tie_word_embeddings: got true, wanted false"},
             {"/language_config/num_key_value_heads", "4",
              "language_config.num_key_value_heads: got 4, wanted 16, the same as num_attention_heads"},
             {"/language_config/num_key_value_heads", "absent",
              "language_config.num_key_value_heads: got 32, wanted 16, the same as num_attention_heads"},
         })
      CHECK(message_of("small", path, value, Code::Unsupported) == std::string("config.json: ") + message);
  }

  TEST_CASE("config: rope_scaling is YaRN with a factor, and MLA's") {
    const char* const path = "/language_config/rope_scaling";
    json file = published("small");
    file["language_config"]["rope_scaling"] = {
        {"type", "yarn"}, {"factor", 40}, {"original_max_position_embeddings", 2048}, {"beta_fast", 16}, {"mscale", 0.707}};
    const auto config = parse_config(file.dump(), "config.json");
    REQUIRE_MESSAGE(config.ok(), config.message());
    CHECK(config->language.yarn == YarnConfig{40, 2048, 16, 1, 0.707, 0});
    CHECK(message_of("small", path, "3", Code::BadFile) ==
          "config.json: language_config.rope_scaling: got 3, wanted an object or null");
    CHECK(message_of("small", path, R"({"type": "yarn"})", Code::BadFile) ==
          "config.json: language_config.rope_scaling.factor: got none, wanted 1 to 10000");
    CHECK(message_of("small", path, R"({"type": "yarn", "factor": 0.5})", Code::BadFile) ==
          "config.json: language_config.rope_scaling.factor: got 0.5, wanted 1 to 10000");
    CHECK(message_of("tiny", path, R"({"type": "yarn", "factor": 4})", Code::Unsupported) ==
          "config.json: language_config.rope_scaling: got an object, wanted null where use_mla is false");
  }

  TEST_CASE("config: accepts what the reference accepts") {
    CHECK(message_of("small", "/language_config/num_key_value_heads", "null") == "");  // means as many as heads
    CHECK(message_of("small", "/language_config/rope_scaling", "null") == "");
    CHECK(message_of("small", "/language_config/n_group", "null") == "");
    CHECK(message_of("small", "/language_config/topk_method", "absent") == "");
    CHECK(message_of("tiny", "/language_config/q_lora_rank", "absent") == "");  // plain attention has none
    CHECK(message_of("tiny", "/language_config/kv_lora_rank", "absent") == "");
    CHECK(message_of("tiny", "/model_type", "absent") == "");
    CHECK(message_of("tiny", "/language_config/rope_theta", "10000") == "");  // a whole number is a number
  }

  TEST_CASE("config: a message stays on one line, whatever the file holds") {
    const std::string message =
        message_of("tiny", "/tile_tag", R"("2\nD\u0000\u00e9)" + std::string(5000, 'x') + "\"", Code::Unsupported);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 200);
    CHECK(message.starts_with(R"(config.json: tile_tag: got "2\nD\u0000\u00e9xxx)"));
  }

  TEST_CASE("config: says where a text stops being JSON") {
    CHECK(parse_config("", "c").message() == "c: not JSON from byte 1 of 0 on");
    CHECK(parse_config("{\"a\": 1,}", "c").message() == "c: not JSON from byte 9 of 9 on");
    CHECK(parse_config("{\"a\": nul}", "c").message() == "c: not JSON from byte 10 of 10 on");
    CHECK(parse_config("{} {}", "c").message() == "c: not JSON from byte 4 of 5 on");
    CHECK(parse_config("{\"a\": \"\xff\"}", "c").message() == "c: not JSON from byte 8 of 10 on");
    CHECK(parse_config("[]", "c").message() == "c: got a list, wanted an object");
    CHECK(parse_config("3", "c").message() == "c: got 3, wanted an object");
    CHECK(parse_config(std::string(200000, '['), "c").code() == Code::BadFile);  // deep, and no stack that overflows
    CHECK(parse_config(std::string(200000, '[') + std::string(200000, ']'), "c").code() == Code::BadFile);
  }

  TEST_CASE("config: every truncation of a file is refused") {
    const std::string text = published("tiny").dump();
    for (size_t length = 0; length < text.size(); ++length)
      CHECK(parse_config(text.substr(0, length), "c").code() == Code::BadFile);
  }

  TEST_CASE("config: reads files, and says what is wrong with one that it cannot read") {
    const auto folder = std::filesystem::temp_directory_path() / "vl2_config_test";
    std::filesystem::create_directories(folder);
    const std::string path = (folder / "config.json").string();
    std::ofstream(path) << published("base").dump(2);
    const auto config = load_config(path);
    REQUIRE_MESSAGE(config.ok(), config.message());
    CHECK(*config == find_variant("base")->config);
    CHECK(load_config(path + "x").code() == Code::NotFound);
    CHECK(load_config(path + "x").message() == path + "x: no such file");
    CHECK(load_config(folder.string()).message() == folder.string() + ": not a regular file");
    CHECK(read_text_file(path, 10).message() ==
          path + ": " + std::to_string(std::filesystem::file_size(path)) + " bytes, wanted at most 10");
    std::filesystem::resize_file(path, kMaxJsonBytes + 1);  // sparse
    CHECK(load_config(path).message() == path + ": 268435457 bytes, wanted at most 268435456");
    std::filesystem::remove_all(folder);
  }
}
