// Models whose experts are in host memory against the same models with all of them on the device: not close, but the same bits.
#include "model/expert_cache.h"

#include <filesystem>
#include <fstream>

#include "model/expert_file.h"
#include "model/quantize.h"
#include "model/session.h"
#include "tests/reference/expert_cache.h"
#include "tests/support/engine_options.h"
#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

const std::string kPico = source_dir() + "/app/demo/pico";
constexpr uint32_t kTokens = 12;

EngineOptions options_of(uint32_t tier) {
  return test_engine_options(64, static_cast<int>(tier));
}

std::unique_ptr<Engine> load(const std::string& path, EngineOptions options, uint32_t slots) {
  options.expert_slots = slots;
  auto engine = Engine::load(path, options);
  REQUIRE_MESSAGE(engine.ok(), engine.message());
  REQUIRE((*engine)->expert_slots() == slots);
  REQUIRE((*engine)->weights().expert_slots == slots);
  return engine.take();
}

// Bytes of host memory for so many experts of 16 bits, and less than for one more.
uint64_t window_for(const LanguageConfig& c, uint32_t experts) {
  return uint64_t{experts} * (6 * c.moe_intermediate_size * c.hidden_size + 512);
}

// The same with experts in the file, and a window for `window` of them.
std::unique_ptr<Engine> load_from_file(const std::string& path, EngineOptions options, const LanguageConfig& config,
                                       uint32_t slots, uint32_t window) {
  options.host_limit_bytes = window_for(config, window);
  auto engine = load(path, options, slots);
  const ExpertFile* file = engine->weights().language.file.get();
  REQUIRE(file != nullptr);
  CHECK(file->window_experts() == window);
  CHECK(engine->weights().host_bytes <= options.host_limit_bytes);
  CHECK(engine->weights().host_bytes == engine->plan().host_bytes);
  CHECK(engine->weights().file_bytes == engine->plan().file_bytes);
  return engine;
}

std::vector<uint32_t> prompt_of(const Engine& engine) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < 21; ++i)
    ids.push_back((7 + 31 * i + 5 * i * i) % std::min(engine.config().language.vocab_size, 250u));
  return ids;
}

struct Answer {
  std::vector<float> prompt_logits;  // of every position, before a token is decoded
  std::vector<uint32_t> ids;
  std::vector<float> logits;        // after each decoded token
  std::vector<float> later_logits;  // of a prompt behind those tokens, when there is something in the slots
  bool operator==(const Answer&) const = default;
};

// As bits: two NaN would be no answer at all.
Answer answer(Session& session, const std::vector<uint32_t>& ids) {
  Answer result;
  Status status = session.prefill(ids, {}, {static_cast<uint32_t>(ids.size()), &result.prompt_logits}, 8);
  REQUIRE_MESSAGE(status.ok(), status.message());
  for (uint32_t i = 0; i < kTokens; ++i) {
    const auto token = session.decode(1, {});
    REQUIRE_MESSAGE(token.ok(), token.message());
    result.ids.push_back(token->front());
    std::vector<float> logits;
    REQUIRE(session.next_logits(logits).ok());
    result.logits.insert(result.logits.end(), logits.begin(), logits.end());
  }
  status = session.prefill(std::span(ids).first(9), {}, {9, &result.later_logits}, 0);
  REQUIRE_MESSAGE(status.ok(), status.message());
  for (const std::vector<float>* values : {&result.prompt_logits, &result.logits, &result.later_logits})
    for (const float value : *values)
      REQUIRE(std::isfinite(value));
  return result;
}

Answer answer(Engine& engine, PlanChoice plan) {
  auto session = Session::create(engine, plan);
  REQUIRE_MESSAGE(session.ok(), session.message());
  return answer(**session, prompt_of(engine));
}

void check_silent(const Engine& engine) {
  for (const std::string& message : engine.device().instance().validation_messages())
    FAIL_CHECK(message);
}

// With every number of slots, in both plans.
void check_same(const std::string& path, const EngineOptions& options, std::initializer_list<uint32_t> slot_counts) {
  const auto resident = load(path, options, 0);
  for (const PlanChoice plan : {PlanChoice::Fused, PlanChoice::Plain}) {
    CAPTURE(plan == PlanChoice::Fused);
    const Answer wanted = answer(*resident, plan);
    for (const uint32_t slots : slot_counts) {
      CAPTURE(slots);
      const auto engine = load(path, options, slots);
      CHECK(engine->weights().host_bytes > 0);
      CHECK(answer(*engine, plan) == wanted);
      Recorder rec(engine->device());
      const auto counts = count_expert_cache(rec, engine->weights().language);
      REQUIRE(counts.ok());
      const LanguageConfig& c = engine->config().language;
      uint64_t moe_layers = 0;
      for (uint32_t i = 0; i < c.num_hidden_layers; ++i)
        moe_layers += c.is_moe_layer(i);
      // Prompts leave the cache as it is, and the plain plan is a prompt of one token.
      CHECK(counts->hits + counts->misses == (plan == PlanChoice::Plain ? 0 : kTokens * c.num_experts_per_tok * moe_layers));
      CHECK((plan == PlanChoice::Plain || counts->misses > 0));
      if (plan == PlanChoice::Fused && slots == c.n_routed_experts)
        CHECK(counts->hits > counts->misses);
      check_silent(*engine);
    }
  }
}

}  // namespace

TEST_CASE("expert_cache: the golden models give the same bits with any number of slots, in every tier") {
  for (const char* kind : {"mha_softmax", "mla_softmax", "mla_sigmoid"}) {
    const TemporaryFolder folder;
    write_toy_model(folder.path(), source_dir() + "/tests/golden/" + kind);
    for (uint32_t tier = 0; tier <= test_device().tier(); ++tier) {
      CAPTURE(kind);
      CAPTURE(tier);
      check_same(folder.path(), options_of(tier), {3, 5, 8});
    }
  }
}

TEST_CASE("expert_cache: experts in the file give the same bits, with the least window and with more, in every tier") {
  for (const char* kind : {"mha_softmax", "mla_sigmoid"}) {
    const TemporaryFolder folder;
    write_toy_model(folder.path(), source_dir() + "/tests/golden/" + kind);
    for (uint32_t tier = 0; tier <= test_device().tier(); ++tier) {
      CAPTURE(kind);
      CAPTURE(tier);
      const auto resident = load(folder.path(), options_of(tier), 0);
      const LanguageConfig& c = resident->config().language;
      const uint32_t top_k = c.num_experts_per_tok;
      auto engine = load_from_file(folder.path(), options_of(tier), c, top_k, top_k);
      CHECK(answer(*engine, PlanChoice::Fused) == answer(*resident, PlanChoice::Fused));
      const ExpertFileCounts fused = engine->weights().language.file->counts();
      CHECK(fused.slot_hits + fused.slot_misses == kTokens * top_k * (c.num_hidden_layers - c.first_k_dense_replace));
      CHECK(fused.slot_misses > fused.slot_hits);   // 45 and 37 of 72
      CHECK(fused.reads > 20 * fused.window_hits);  // such a window has what nobody asks for: 0 or 1 of some 90
      check_silent(*engine);
      if (c.use_mla)
        continue;  // the plain plan is a prompt of one token, whatever the attention
      engine = load_from_file(folder.path(), options_of(tier), c, top_k + 1, c.n_routed_experts + 1);
      CHECK(answer(*engine, PlanChoice::Plain) == answer(*resident, PlanChoice::Plain));
      const ExpertFileCounts& plain = engine->weights().language.file->counts();
      CHECK(plain.slot_hits + plain.slot_misses == 0);
      CHECK(plain.window_hits > plain.reads / 3);
      check_silent(*engine);
    }
  }
}

TEST_CASE("expert_cache: experts in a file of blocks give the same bits, whatever the layouts of its layers") {
  const TemporaryFolder folder;
  const std::string path = folder / "pico.gguf";
  const auto files = ModelFiles::open(kPico);
  REQUIRE(files.ok());
  REQUIRE(quantize_model(*files, path, {.mix = find_quantize_mix("Q4_K_M")}).ok());
  EngineOptions options = options_of(test_device().tier());
  const auto resident = load(path, options, 0);
  options.host_limit_bytes = resident->weights().device_bytes / 16;
  const auto engine = load(path, options, 4);
  REQUIRE(engine->weights().language.file != nullptr);
  CHECK(answer(*engine, PlanChoice::Fused) == answer(*resident, PlanChoice::Fused));
  CHECK(engine->weights().language.file->counts().reads > 100);
  check_silent(*engine);
}

TEST_CASE("expert_cache: a prompt that goes round all experts finds in half a window what the one before it left") {
  auto config = load_config(kPico + "/config.json");
  REQUIRE(config.ok());
  const auto engine = load_from_file(kPico, options_of(test_device().tier()), config->language, 3, 20);
  auto session = Session::create(*engine, PlanChoice::Fused);
  REQUIRE_MESSAGE(session.ok(), session.message());
  const ExpertFileCounts& counts = engine->weights().language.file->counts();
  REQUIRE((*session)->prefill(prompt_of(*engine), {}).ok());
  const uint64_t chosen = counts.reads, before = counts.window_hits;
  CHECK(before == 0);
  CHECK(chosen > 30);  // of 40
  REQUIRE((*session)->clear().ok());
  REQUIRE((*session)->prefill(prompt_of(*engine), {}).ok());
  CHECK(counts.window_hits > 8);  // 13 of 33; where what is read pushes out what was used before it, 0
}

// The comparisons above are awake: slots that do not hold what the host believes change the logits.
TEST_CASE("expert_cache: a slot that was not loaded from the file shows") {
  const TemporaryFolder folder;
  write_toy_model(folder.path(), source_dir() + "/tests/golden/mla_softmax");
  const EngineOptions options = options_of(test_device().tier());
  const auto resident = load(folder.path(), options, 0);
  const auto from_file = load_from_file(folder.path(), options, resident->config().language, 7, 4);
  for (const bool wrong : {false, true}) {
    std::vector<float> logits[2];
    for (Engine* engine : {resident.get(), from_file.get()}) {
      auto session = Session::create(*engine, PlanChoice::Fused);
      REQUIRE(session.ok());
      REQUIRE((*session)->prefill(prompt_of(*engine), {}).ok());
      REQUIRE((*session)->decode(6, {}).ok());
      for (const LayerWeights& layer : engine->weights().language.layers)
        if (layer.file != nullptr && wrong) {
          const Buffer& slots = *layer.cached.down.buffer;
          REQUIRE((*session)->recorder().fill(make_view(slots, DType::U32, {static_cast<uint32_t>(slots.bytes() / 4)}), 0).ok());
        }
      REQUIRE((*session)->decode(1, {}).ok());
      REQUIRE((*session)->next_logits(logits[engine == from_file.get() ? 1 : 0]).ok());
    }
    CHECK((logits[0] == logits[1]) == !wrong);
  }
}

// Decodes until that fails, which it does when something is to be read that is in neither slots nor window.
Status decode_until_refused(Session& session) {
  for (uint32_t i = 0; i < 20; ++i)
    if (const auto token = session.decode(1, {.temperature = 30, .seed = i}); !token.ok())
      return token.status();
  return {};
}

TEST_CASE("expert_cache: a file that is cut short or written to while it is used is an error, and the session says so") {
  for (const bool cut : {true, false}) {
    CAPTURE(cut);
    const TemporaryFolder folder;
    write_toy_model(folder.path(), source_dir() + "/tests/golden/mla_softmax");
    const std::string path = folder / "model.safetensors";
    auto config = load_config(folder / "config.json");
    REQUIRE(config.ok());
    const auto engine = load_from_file(folder.path(), options_of(test_device().tier()), config->language, 3, 3);
    auto made = Session::create(*engine, PlanChoice::Fused);
    REQUIRE_MESSAGE(made.ok(), made.message());
    Session& session = **made;
    REQUIRE(session.prefill(prompt_of(*engine), {}).ok());
    REQUIRE(session.decode(2, {}).ok());
    if (cut) {
      std::filesystem::resize_file(path, std::filesystem::file_size(path) / 8);
    } else {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(-1, std::ios::end);
      file.put('\1');
    }
    const uint32_t reached = session.length();
    const Status refused = decode_until_refused(session);
    CHECK(refused.code() == Code::IoError);
    CHECK_MESSAGE(
        refused.message().starts_with(cut ? "model.safetensors: ends at byte " : "model.safetensors: was changed while"),
        refused.message());
    CHECK(session.length() >= reached);
    CHECK(!session.ready());
    CHECK(session.decode(1, {}).code() == Code::BadArgument);
    CHECK(session.prefill(prompt_of(*engine), {}).code() == Code::IoError);
    CHECK(session.clear().ok());
    check_silent(*engine);
  }
}

TEST_CASE("expert_cache: a window that is too small, and experts that are in no file as they are wanted, are refused by name") {
  EngineOptions options = options_of(test_device().tier());
  options.expert_slots = 3;
  options.host_limit_bytes = 500'000;  // of 245 760 bytes an expert
  CHECK(Engine::load(kPico, options).message() ==
        "experts in the file: a window of 500000 bytes of host memory holds 2 experts, wanted at least 737280 bytes, for the 3 "
        "that "
        "a token chooses in a layer");
  options.host_limit_bytes = 1'000'000;
  options.mix = find_quantize_mix("Q8_0");
  const auto quantized = Engine::load(kPico, options);
  CHECK(quantized.code() == Code::Unsupported);
  CHECK_MESSAGE(quantized.message().find("to Q8_0 whenever they are read; `vl2 quantize` writes") != std::string::npos,
                quantized.message());
  options.mix = nullptr;
  const auto config = load_config(kPico + "/config.json");
  REQUIRE(config.ok());
  CHECK(Engine::synthetic("made up", *config, options).code() == Code::Unsupported);
}

TEST_CASE("expert_cache: pico gives the same bits with every layout of blocks") {
  for (const char* type : {"Q8_0", "Q6_K", "Q4_K_S"}) {
    CAPTURE(type);
    EngineOptions options = options_of(test_device().tier());
    options.mix = find_quantize_mix(type);
    REQUIRE(options.mix != nullptr);
    check_same(kPico, options, {4});
  }
}

TEST_CASE("expert_cache: what the slots of the last layer hold is what a queue by least recent use holds") {
  const auto engine = load(kPico, options_of(test_device().tier()), 3);
  auto made = Session::create(*engine, PlanChoice::Fused);
  REQUIRE_MESSAGE(made.ok(), made.message());
  Session& session = **made;
  const LanguageConfig& c = engine->config().language;
  REQUIRE(session.prefill(prompt_of(*engine), {}).ok());
  reference::ExpertCache wanted(c.n_routed_experts, 3);
  for (uint32_t i = 0; i < 30; ++i) {
    REQUIRE(session.decode(1, {.temperature = 30, .seed = i}).ok());
    std::vector<uint32_t> ids(c.num_experts_per_tok);
    REQUIRE(session.recorder().download(session.plan()->expert_ids(), std::as_writable_bytes(std::span(ids))).ok());
    wanted.turn(ids);
  }
  const auto states = read_expert_caches(session.recorder(), engine->weights().language);
  REQUIRE(states.ok());
  REQUIRE(states->size() == c.num_hidden_layers - c.first_k_dense_replace);
  const ExpertCacheState& last = states->back();
  CHECK(last.clock == 30);
  CHECK(last.expert_of == wanted.expert_of());
  CHECK(last.slot_of == wanted.slot_of());
  CHECK(last.hits == wanted.hits);
  CHECK(last.misses == wanted.misses);
  CHECK(wanted.hits > 0);
  CHECK(wanted.misses > 3);  // something was evicted
}

TEST_CASE("expert_cache: sessions that take turns share it, and several tokens a call are as good as one") {
  const auto resident = load(kPico, options_of(test_device().tier()), 0);
  const auto cached = load(kPico, options_of(test_device().tier()), 4);
  std::vector<std::vector<uint32_t>> both[2];
  for (Engine* engine : {resident.get(), cached.get()}) {
    auto& ids = both[engine == cached.get() ? 1 : 0];
    std::unique_ptr<Session> sessions[2];
    for (int i = 0; i < 2; ++i) {
      auto session = Session::create(*engine, PlanChoice::Fused);
      REQUIRE_MESSAGE(session.ok(), session.message());
      sessions[i] = session.take();
      std::vector<uint32_t> prompt = prompt_of(*engine);
      prompt.resize(10 + 5 * static_cast<size_t>(i));
      REQUIRE(sessions[i]->prefill(prompt, {}).ok());
    }
    for (const uint32_t count : {3u, 1u, 7u})
      for (const auto& session : sessions) {
        const auto more = session->decode(count, {.temperature = 0.9f, .seed = 5});
        REQUIRE_MESSAGE(more.ok(), more.message());
        ids.push_back(*more);
      }
  }
  CHECK(both[0] == both[1]);
}

TEST_CASE("expert_cache: costs two levels a layer, whatever is missed") {
  uint64_t barriers[2] = {};
  uint32_t layers = 0;
  for (const uint32_t slots : {0u, 4u}) {
    const auto engine = load(kPico, options_of(test_device().tier()), slots);
    const LanguageConfig& c = engine->config().language;
    layers = c.num_hidden_layers - c.first_k_dense_replace;
    auto session = Session::create(*engine, PlanChoice::Fused);
    REQUIRE_MESSAGE(session.ok(), session.message());
    REQUIRE((*session)->prefill(prompt_of(*engine), {}).ok());
    Recorder& recorder = (*session)->recorder();
    REQUIRE(recorder.begin_capture().ok());
    REQUIRE((*session)->plan()->record_token(recorder, {}).ok());
    const auto replay = recorder.end_capture();
    REQUIRE(replay.ok());
    barriers[slots == 0 ? 0 : 1] = (*replay)->barrier_count();
    CHECK((*session)->plan()->levels() + 2 == (*replay)->barrier_count());
  }
  CHECK(barriers[1] == barriers[0] + 2 * layers);
}

// The comparison above is awake: a table that says of two experts that each is where the other is changes the logits.
TEST_CASE("expert_cache: a table that is wrong shows") {
  const auto resident = load(kPico, options_of(test_device().tier()), 0);
  const auto cached = load(kPico, options_of(test_device().tier()), 8);
  for (const bool wrong : {false, true}) {
    std::vector<float> logits[2];
    for (Engine* engine : {resident.get(), cached.get()}) {
      auto session = Session::create(*engine, PlanChoice::Fused);
      REQUIRE(session.ok());
      REQUIRE((*session)->prefill(prompt_of(*engine), {}).ok());
      REQUIRE((*session)->decode(6, {}).ok());
      if (engine == cached.get() && wrong) {
        const auto states = read_expert_caches((*session)->recorder(), engine->weights().language);
        REQUIRE(states.ok());
        // In every layer, each expert's slot is that of the next expert: stale as after an eviction that forgot the table.
        size_t at = 0;
        for (const LayerWeights& layer : engine->weights().language.layers) {
          if (layer.cache_state.empty())
            continue;
          const std::vector<int>& slot_of = (*states)[at++].slot_of;
          for (uint32_t e = 0; e < slot_of.size(); ++e)
            REQUIRE((*session)
                        ->recorder()
                        .fill(layer.cache_state.rows(4 + e, 1), static_cast<uint32_t>(slot_of[(e + 1) % slot_of.size()] + 1))
                        .ok());
        }
      }
      REQUIRE((*session)->decode(1, {}).ok());
      REQUIRE((*session)->next_logits(logits[engine == cached.get() ? 1 : 0]).ok());
    }
    CHECK((logits[0] == logits[1]) == !wrong);
  }
}
