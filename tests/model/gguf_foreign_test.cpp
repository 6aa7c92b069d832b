// Files that have llama.cpp's keys alone: ours without what we add, which is what its converter writes.
#include "model/gguf_foreign.h"

#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/gguf_write.h"
#include "model/model_files.h"
#include "model/quantize.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/toy_checkpoint.h"
#include "tests/support/v3_tokenizer.h"

using namespace vl2;
using nlohmann::json;

namespace {

template <typename T>
T taken(Result<T> result) {
  REQUIRE_MESSAGE(result.ok(), result.message());
  return result.take();
}

using Change = std::function<void(std::map<std::string, GgufValue>&)>;

// `in` without the keys vl2.*, its other keys changed.
void write_foreign(const std::string& in, const std::string& out, const Change& change = {}) {
  const Gguf gguf = taken(read_gguf(in));
  std::map<std::string, GgufValue> keys;
  for (const auto& [key, value] : gguf.keys)
    if (!key.starts_with("vl2."))
      keys[key] = value;
  if (change)
    change(keys);
  const auto writer = taken(GgufWriter::create(out, GgufKeys(keys.begin(), keys.end()), gguf.tensors));
  const std::string bytes = read_file(in);
  for (size_t i = 0; i < gguf.tensors.size(); ++i)
    REQUIRE(writer
                ->write(writer->tensors()[i], 0,
                        std::as_bytes(std::span(bytes)).subspan(gguf.tensors[i].first_byte, gguf.tensors[i].byte_count))
                .ok());
  REQUIRE(writer->finish().ok());
}

// A golden model with this tokenizer and this change to its language_config, as a text-only file.
std::string write_text_only(const TemporaryFolder& folder, const std::string& kind, const std::string& tokenizer,
                            const json& language = json::object()) {
  const std::string in = folder / "in", out = folder / "ours.gguf";
  std::filesystem::create_directories(in);
  write_toy_model(in, source_dir() + "/tests/golden/" + kind);
  write_file(in + "/tokenizer.json", tokenizer);
  json config = json::parse(read_file(in + "/config.json"));
  config["language_config"].update(language);
  write_file(in + "/config.json", config.dump());
  QuantizeOptions options;
  options.mix = find_quantize_mix("F16");
  options.text_only = true;
  const auto report = quantize_model(taken(ModelFiles::open(in)), out, options);
  REQUIRE_MESSAGE(report.ok(), report.message());
  return out;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("gguf of llama.cpp: its keys say what config.json said") {
    const std::string tokenizer = small_tokenizer_json(v3_pre_tokenizer(), {}, {"<image>"});
    const json yarn = {{"rope_scaling",
                        {{"type", "yarn"},
                         {"factor", 40},
                         {"original_max_position_embeddings", 100},
                         {"beta_fast", 30},
                         {"beta_slow", 2},
                         {"mscale", 0.5},
                         {"mscale_all_dim", 0.5}}}};
    for (const auto& [kind, language] : std::vector<std::pair<const char*, json>>{{"mha_softmax", json::object()},
                                                                                  {"mla_softmax", json::object()},
                                                                                  {"mla_sigmoid", json::object()},
                                                                                  {"mla_softmax", yarn}}) {
      CAPTURE(kind);
      const TemporaryFolder folder;
      const std::string ours = write_text_only(folder, kind, tokenizer, language), foreign = folder / "foreign.gguf";
      write_foreign(ours, foreign);
      const ModelFiles files = taken(ModelFiles::open(foreign));
      const Config wanted = taken(taken(ModelFiles::open(folder / "in")).config()), got = taken(files.config());
      CHECK_FALSE(got.has_vision);
      LanguageConfig language_got = got.language;
      if (wanted.language.yarn.has_value()) {  // in the file as f32, a tenth of it
        REQUIRE(language_got.yarn.has_value());
        CHECK(language_got.yarn->mscale == doctest::Approx(0.5));
        CHECK(language_got.yarn->mscale_all_dim == doctest::Approx(0.5));
        language_got.yarn->mscale = language_got.yarn->mscale_all_dim = 0.5;
      }
      CHECK(language_got == wanted.language);
      CHECK(files.checkpoint(got).ok());

      // And once more through our writer, which adds what it needs.
      QuantizeOptions options;
      options.mix = find_quantize_mix("F16");
      const auto report = quantize_model(files, folder / "again.gguf", options);
      REQUIRE_MESSAGE(report.ok(), report.message());
      CHECK(taken(taken(ModelFiles::open(folder / "again.gguf")).config()).language == got.language);
    }
  }

  TEST_CASE("gguf of llama.cpp: its tokens, merges and pre-tokenizer make the tokenizer that was") {
    const std::vector<std::string> merges = {"t h", "th e", "Ġ the", "1 2", "! !"};
    const std::string texts[] = {"the Ther the  the\n\nthe", "a1234567 12!! \u4e2d\u6587 \u00e9\u0939 x",
                                 "<image>the<|User|> the", " \r\n\t"};
    for (const std::string& pre : {v3_pre_tokenizer(), family_100k_pre_tokenizer()}) {
      const TemporaryFolder folder;
      const std::string ours = write_text_only(folder, "mla_softmax", small_tokenizer_json(pre, merges, {"<image>", "<|User|>"})),
                        foreign = folder / "foreign.gguf";
      write_foreign(ours, foreign);
      const Tokenizer wanted = taken(load_tokenizer(folder / "in")), got = taken(load_tokenizer(foreign));
      CHECK(got.id_count() == wanted.id_count());
      for (const std::string& text : texts)
        for (const ControlTokens control : {ControlTokens::Ignore, ControlTokens::Recognise}) {
          const auto ids = taken(got.encode(text, control));
          CHECK(ids == taken(wanted.encode(text, control)));
          CHECK(got.decode(ids, true) == wanted.decode(ids, true));
        }
      CHECK(got.is_special(wanted.find_added_token("<image>").value()));
      const json steps = json::parse(taken(taken(ModelFiles::open(foreign)).tokenizer_text()))["pre_tokenizer"];
      CHECK(steps == json::parse(pre));
    }
  }

  TEST_CASE("gguf of llama.cpp: models and tokenizers that are others are named") {
    const TemporaryFolder folder;
    const std::string ours = write_text_only(folder, "mla_softmax", small_tokenizer_json(v3_pre_tokenizer(), {}, {})),
                      foreign = folder / "foreign.gguf";
    const auto config_message = [&](const Change& change) {
      write_foreign(ours, foreign, change);
      const auto config = taken(ModelFiles::open(foreign)).config();
      return config.ok() ? "" : config.message().substr(foreign.size());
    };
    const auto tokenizer_message = [&](const Change& change) {
      write_foreign(ours, foreign, change);
      const auto tokenizer = taken(ModelFiles::open(foreign)).tokenizer();
      return tokenizer.ok() ? "" : tokenizer.message().substr(foreign.size());
    };
    using Keys = std::map<std::string, GgufValue>;
    CHECK(config_message([](Keys& keys) { keys["general.architecture"] = gguf_text("llama\n"); }) ==
          ": key general.architecture is \"llama\\n\", wanted \"deepseek\" or \"deepseek2\"");
    CHECK(config_message([](Keys& keys) { keys.erase("deepseek2.embedding_length"); }) ==
          ": key deepseek2.embedding_length is missing");
    CHECK(config_message([](Keys& keys) { keys["deepseek2.attention.q_lora_rank"] = gguf_u32(1536); }) ==
          ": key deepseek2.attention.q_lora_rank is 1536, this program runs models with 0");
    CHECK(config_message([](Keys& keys) { keys["deepseek2.expert_group_count"] = gguf_u32(8); }) ==
          ": key deepseek2.expert_group_count is 8, this program runs models with 1");
    CHECK(config_message([](Keys& keys) { keys["deepseek2.rope.scaling.type"] = gguf_text("linear"); }) ==
          ": its keys as config.json: language_config.rope_scaling.type: got \"linear\", wanted \"yarn\"");
    CHECK(config_message([](Keys& keys) { keys["deepseek2.block_count"] = gguf_u32(100000); }) ==
          ": its keys as config.json: language_config.num_hidden_layers: got 100000, wanted 1 to 1024");
    const auto without_bos = [](Keys& keys) { keys.erase("tokenizer.ggml.bos_token_id"); };
    CHECK(config_message(without_bos) == ": key tokenizer.ggml.bos_token_id is missing");
    CHECK(config_message([&](Keys& keys) {  // a file for measuring has no text at all
            without_bos(keys);
            keys["tokenizer.ggml.model"] = gguf_text("no_vocab");
          }) == "");
    CHECK(tokenizer_message([](Keys& keys) {
            keys["tokenizer.ggml.pre"] = gguf_text("llama-bpe");
          }).starts_with(": its tokenizer is none of DeepSeek-LLM's and DeepSeek-V3's"));
    CHECK(tokenizer_message([](Keys& keys) { keys["tokenizer.ggml.merges"] = gguf_u32(1); }) ==
          ": key tokenizer.ggml.merges is no list of strings");
    CHECK(tokenizer_message([](Keys& keys) {
            keys["tokenizer.ggml.token_type"] = gguf_i32s({1, 1});
          }) == ": key tokenizer.ggml.token_type is no list of 300 numbers, one a token");
    CHECK(tokenizer_message([](Keys& keys) { keys["tokenizer.ggml.merges"] = gguf_texts({"a"}); }) ==
          ": its keys as tokenizer.json: model.merges[0]: wanted two tokens, as \"a b\" or [\"a\", \"b\"]");
  }
}
