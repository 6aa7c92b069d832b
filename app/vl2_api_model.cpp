// The C API: models, plans, tokens.
#include <algorithm>
#include <cstddef>
#include <cstdio>

#include "app/vl2_api_internal.h"
#include "model/prompt.h"
#include "model/quantize_mix.h"
#include "model/text_size.h"
#include "model/tiling.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/recorder.h"

namespace vl2::api {

namespace {

constexpr uint32_t kLoadFlags =
    VL2_LOAD_NO_WEIGHTS | VL2_LOAD_NEEDS_EYES | VL2_LOAD_TEXT_ONLY | VL2_LOAD_ALL_ON_DEVICE | VL2_LOAD_NO_PICTURE_CACHE;
constexpr uint64_t kMostPictureCache = uint64_t{1} << 60;  // sums with it do not overflow

// The structs as the first header had them, which have grown since.
constexpr size_t kFirstModelInfo = offsetof(vl2_model_info, notice), kFirstPlan = offsetof(vl2_plan, host_weight_bytes);

Result<const QuantizeMix*> mix_of(const char* name) {
  const QuantizeMix* mix = find_quantize_mix(name);
  if (mix != nullptr)
    return mix;
  std::string names;
  for (const QuantizeMix& known : quantize_mixes())
    names += std::string(names.empty() ? "" : ", ") + known.name;
  return fail(Code::BadArgument, "vl2_load_options: quantize is ", std::string_view(name).substr(0, 32), ", wanted one of ",
              names);
}

Result<EngineOptions> engine_options(const vl2_load_options& options) {
  EngineOptions result;
  VL2_ASSIGN(result.device, device_options_from_environment());
  if (options.device != nullptr && *options.device != '\0')
    result.device.device = options.device;
  if (options.cache_folder != nullptr)
    result.device.cache_dir = options.cache_folder;
  result.context = options.context_tokens;
  result.chunk = options.prefill_tokens;
  result.tiles = options.max_tiles;
  result.cache_type = static_cast<CacheType>(options.cache_type);
  if (options.memory_bytes != 0)
    result.device.heap_limit_bytes = options.memory_bytes;
  result.host_limit_bytes = options.host_memory_bytes;
  result.expert_cache = (options.flags & VL2_LOAD_ALL_ON_DEVICE) == 0;
  if ((options.flags & VL2_LOAD_TEXT_ONLY) != 0)
    result.pictures.emplace();
  if ((options.flags & VL2_LOAD_NO_PICTURE_CACHE) == 0)
    result.picture_cache = options.picture_cache_bytes == 0 ? kSparePictureCache : options.picture_cache_bytes;
  if (options.quantize != nullptr) {
    VL2_ASSIGN(result.mix, mix_of(options.quantize));
  }
  return result;
}

Outcome read_load_options(const vl2_load_options* given, vl2_load_options& options) {
  const Outcome outcome = read_options(given, offsetof(vl2_load_options, cache_type), "vl2_load_options", options);
  if (outcome.status != VL2_OK)
    return outcome;
  if ((options.flags & ~kLoadFlags) != 0)
    return refuse(VL2_ERROR_ARGUMENT, "vl2_load_options: flags are ", options.flags, ", this library knows ", kLoadFlags);
  if (options.cache_type > VL2_CACHE_Q8_0 || options.reserved2 != 0)
    return refuse(VL2_ERROR_ARGUMENT, "vl2_load_options: cache_type is ", options.cache_type, " and reserved2 ",
                  options.reserved2, ", wanted 0 or 1 and 0");
  if ((options.flags & VL2_LOAD_NO_PICTURE_CACHE) != 0 && options.picture_cache_bytes != 0)
    return refuse(VL2_ERROR_ARGUMENT, "vl2_load_options: picture_cache_bytes is ", options.picture_cache_bytes,
                  ", wanted 0 with VL2_LOAD_NO_PICTURE_CACHE");
  if (options.picture_cache_bytes >= kMostPictureCache)
    return refuse(VL2_ERROR_ARGUMENT, "vl2_load_options: picture_cache_bytes is ", options.picture_cache_bytes,
                  ", wanted less than ", kMostPictureCache);
  return {};
}

Status check_eyes(const ModelFiles& files, const Config& config, uint32_t flags) {
  if ((flags & VL2_LOAD_NEEDS_EYES) == 0)
    return {};
  const Status status = check_sees(config);
  return status.ok() ? status : fail(status.code(), files.path(), ": ", status.message());
}

Status load_weights_of(const ModelFiles& files, const vl2_load_options& options, ModelState& state) {
  VL2_ASSIGN(EngineOptions engine, engine_options(options));
  std::atomic<bool> cancelled{false};
  const auto tell = [&](uint64_t done, uint64_t total) {
    if (options.progress(options.progress_user, VL2_PHASE_LOAD, done, total) != 0)
      cancelled = true;
  };
  if (options.progress != nullptr) {
    engine.progress = tell;
    engine.cancelled = [&] { return cancelled.load(); };
  }
  auto loaded = Engine::load(files, engine);
  if (cancelled)
    return fail(Code::Cancelled, files.path(), ": loading was cancelled by the progress callback");
  VL2_ASSIGN(state.engine, std::move(loaded));
  state.steps = std::make_unique<StepScheduler>(*state.engine, state.turn);
  state.config = state.engine->config();
  const DeviceCaps& caps = state.engine->device().caps();
  state.device_driver = caps.driver_name + " " + caps.driver_info;
  state.notice = state.engine->device().tuning_notice();
  if (const std::string memory = state.engine->memory_notice(); !memory.empty())
    state.notice += (state.notice.empty() ? "" : "; ") + memory;
  return {};
}

Status load(const ModelFiles& files, const vl2_load_options& options, ModelState& state) {
  const auto start = Clock::now();
  state.path = files.path();
  VL2_ASSIGN(state.tokenizer, files.tokenizer());
  VL2_ASSIGN(state.config, files.config());
  VL2_TRY(limit_tiles(state.config, options.max_tiles));  // for pictures to be planned without weights, too
  VL2_TRY(check_eyes(files, state.config, options.flags));
  VL2_ASSIGN(state.control, ControlIds::find(*state.tokenizer));
  if ((options.flags & VL2_LOAD_NO_WEIGHTS) == 0)
    VL2_TRY(load_weights_of(files, options, state));
  state.load_ms = ms_since(start);
  return {};
}

// Opens the files, loads, and hands out a model. `open` gives a Result<ModelFiles>.
template <typename Open>
vl2_status load_model(const char* where, const vl2_load_options* given, vl2_model** model, const Open& open) {
  return guarded([&]() -> Outcome {
    if (model == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, where, ": model is NULL, wanted a place for the model");
    *model = nullptr;
    vl2_load_options options{};
    if (const Outcome outcome = read_load_options(given, options); outcome.status != VL2_OK)
      return outcome;
    VL2_ASSIGN(const ModelFiles files, open());
    auto made = std::make_unique<vl2_model>();
    made->state = std::make_shared<ModelState>();
    VL2_TRY(load(files, options, *made->state));
    *model = made.release();
    return {};
  });
}

// A word written by the device and read back.
Status ask_device(Device& device) {
  constexpr uint32_t kWord = 0x564c3221;
  Recorder recorder(device);
  VL2_ASSIGN(const auto buffer, device.memory().allocate(sizeof(uint32_t), MemoryKind::Device, "health check"));
  const TensorView view = make_view(*buffer, DType::U32, {1});
  VL2_TRY(recorder.fill(view, kWord));
  uint32_t word = 0;
  VL2_TRY(recorder.download(view, std::as_writable_bytes(std::span(&word, 1))));
  if (word != kWord)
    return fail(Code::VulkanError, "vl2_model_check: the device gave back ", word, ", wanted ", kWord);
  return {};
}

}  // namespace

Outcome check_picture(const ModelState& model, uint32_t width, uint32_t height, uint32_t pictures, TileGrid& grid) {
  VL2_TRY(check_sees(model.config));
  VL2_TRY(check_picture_size(width, height));
  VL2_ASSIGN(grid, tile_grid(width, height, model.config.candidate_resolutions, model.config.vision.image_size, pictures));
  return {};
}

}  // namespace vl2::api

using namespace vl2;
using namespace vl2::api;

namespace {

Outcome model_is_null(const char* where) {
  return refuse(VL2_ERROR_ARGUMENT, where, ": model is NULL");
}

// Runs `work` on the state of a model, whose error slot gets what goes wrong.
template <typename Work>
vl2_status with_model(const vl2_model* model, const char* where, const Work& work) {
  if (model == nullptr)
    return guarded([&] { return model_is_null(where); });
  return guarded([&] { return work(*model->state); }, &model->state->error);
}

Outcome check_token_flags(const char* where, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(VL2_TOKENS_CONTROL)) != 0)
    return refuse(VL2_ERROR_ARGUMENT, where, ": flags are ", flags, ", wanted 0 or ", VL2_TOKENS_CONTROL);
  return {};
}

}  // namespace

// ---- Loading -----------------------------------------------------------------------------------------------------------------

vl2_status vl2_model_load(const char* path, const vl2_load_options* options, vl2_model** model) {
  return load_model("vl2_model_load", options, model, [&]() -> Result<ModelFiles> {
    if (path == nullptr)
      return fail(Code::BadArgument, "vl2_model_load: path is NULL, wanted a folder or a GGUF file");
    return ModelFiles::open(path);
  });
}

vl2_status vl2_model_load_descriptor(int descriptor, const char* name, const vl2_load_options* options, vl2_model** model) {
  return load_model("vl2_model_load_descriptor", options, model, [&] {
    return ModelFiles::open(descriptor, name != nullptr ? name : "descriptor " + std::to_string(descriptor));
  });
}

void vl2_model_free(vl2_model* model) {
  delete model;
}

const char* vl2_model_last_error(const vl2_model* model) {
  if (model == nullptr)
    return "";
  try {
    thread_local std::string message;
    message = model->state->error.get();
    return message.c_str();
  } catch (...) {
    return "";
  }
}

vl2_status vl2_model_get_info(const vl2_model* model, vl2_model_info* info) {
  return with_model(model, "vl2_model_get_info", [&](const ModelState& state) -> Outcome {
    vl2_model_info value{};
    value.vocabulary = state.config.language.vocab_size;
    value.max_context_tokens = state.config.language.max_position_embeddings;
    value.context_tokens = value.max_context_tokens;
    value.end_token = state.control.eos;
    value.image_token = state.control.image;
    value.has_eyes = state.config.has_vision;
    value.has_weights = state.engine != nullptr;
    value.load_ms = state.load_ms;
    value.path = state.path.c_str();
    value.device_name = value.device_driver = value.device_uuid = value.notice = "";
    if (const Engine* engine = state.engine.get()) {
      const DeviceCaps& caps = engine->device().caps();
      value.context_tokens = engine->context();
      value.weight_bytes = engine->weights().device_bytes;
      value.session_bytes = engine->plan().cache_bytes();
      value.device_name = caps.name.c_str();
      value.device_driver = state.device_driver.c_str();
      value.device_uuid = caps.uuid.c_str();
      value.device_tier = engine->device().tier();
      value.notice = state.notice.c_str();
      value.host_weight_bytes = engine->weights().host_bytes;
      value.expert_slots = engine->expert_slots();
      value.experts = state.config.language.n_routed_experts;
      const StepScheduler::Counts counts = state.steps->counts();
      value.decode_steps = counts.steps;
      value.decode_sessions = counts.sessions;
      value.file_weight_bytes = engine->weights().file_bytes;
    }
    return fill_struct(info, kFirstModelInfo, "vl2_model_info", value);
  });
}

vl2_status vl2_model_get_picture_cache(const vl2_model* model, vl2_picture_cache* cache) {
  return with_model(model, "vl2_model_get_picture_cache", [&](const ModelState& state) -> Outcome {
    vl2_picture_cache value{};
    if (state.engine != nullptr) {
      const PictureCacheCounts counts = state.engine->picture_cache().counts();
      value.pictures = counts.pictures;
      value.bytes = counts.bytes;
      value.limit_bytes = counts.limit_bytes;
      value.hits = counts.hits;
      value.misses = counts.misses;
      value.evictions = counts.evictions;
      value.beginnings = counts.beginnings;
      value.beginning_hits = counts.beginning_hits;
    }
    return fill_struct(cache, sizeof(vl2_picture_cache), "vl2_picture_cache", value);
  });
}

vl2_status vl2_model_check(vl2_model* model, uint32_t timeout_ms) {
  return with_model(model, "vl2_model_check", [&](ModelState& state) -> Outcome {
    if (state.engine == nullptr)
      return refuse(VL2_ERROR_STATE, "vl2_model_check: the model was loaded without weights and has no device");
    if (!state.turn.try_lock_for(std::chrono::milliseconds(timeout_ms)))
      return {VL2_BUSY, ""};
    const std::unique_lock turn(state.turn, std::adopt_lock);
    return ask_device(state.engine->device());
  });
}

vl2_status vl2_plan_load(const char* path, const vl2_load_options* given, vl2_plan* plan) {
  return guarded([&]() -> Outcome {
    if (path == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_plan_load: path is NULL, wanted a folder or a GGUF file");
    if (Outcome outcome = check_struct(plan, kFirstPlan, "vl2_plan"); outcome.status != VL2_OK)
      return outcome;
    vl2_plan value{};
    vl2_load_options options{};
    if (Outcome outcome = read_load_options(given, options); outcome.status != VL2_OK)
      return outcome;
    VL2_ASSIGN(const ModelFiles files, ModelFiles::open(path));
    VL2_ASSIGN(const Config config, files.config());
    VL2_TRY(check_eyes(files, config, options.flags));
    VL2_ASSIGN(const EngineOptions engine, engine_options(options));
    std::string device_name;
    VL2_ASSIGN(const MemoryPlan memory, Engine::plan_load(files, engine, device_name));
    value.context_tokens = memory.context;
    value.weight_bytes = memory.weight_bytes();
    value.cache_bytes = memory.cache_bytes();
    value.working_bytes = memory.needed_bytes() - memory.weight_bytes() - memory.cache_bytes();
    value.needed_bytes = memory.needed_bytes();
    value.available_bytes = memory.available_bytes;
    value.fits = memory.fits();
    value.has_eyes = config.has_vision;
    value.host_weight_bytes = memory.host_bytes;
    value.expert_slots = memory.expert_slots;
    value.picture_cache_bytes = memory.picture_cache_bytes;
    value.file_weight_bytes = memory.file_bytes;
    std::snprintf(value.device_name, sizeof(value.device_name), "%s", device_name.c_str());
    return fill_struct(plan, kFirstPlan, "vl2_plan", value);
  });
}

// ---- Tokens ------------------------------------------------------------------------------------------------------------------

vl2_status vl2_model_tokenize(const vl2_model* model, const char* text, size_t text_bytes, uint32_t flags, uint32_t* ids,
                              size_t capacity, size_t* count) {
  return with_model(model, "vl2_model_tokenize", [&](const ModelState& state) -> Outcome {
    std::string_view words;
    if (Outcome outcome = read_text(text, text_bytes, "vl2_model_tokenize", words); outcome.status != VL2_OK)
      return outcome;
    if (Outcome outcome = check_token_flags("vl2_model_tokenize", flags); outcome.status != VL2_OK)
      return outcome;
    if (count == nullptr || (ids == nullptr && capacity != 0))
      return refuse(VL2_ERROR_ARGUMENT, "vl2_model_tokenize: ", count == nullptr ? "count" : "ids", " is NULL");
    VL2_ASSIGN(
        const std::vector<TokenId> found,
        state.tokenizer->encode(words, (flags & VL2_TOKENS_CONTROL) != 0 ? ControlTokens::Recognise : ControlTokens::Ignore));
    *count = found.size();
    if (capacity != 0 && found.size() > capacity)
      return refuse(VL2_ERROR_BUFFER_TOO_SMALL, "vl2_model_tokenize: got room for ", capacity, " ids, wanted ", found.size());
    if (capacity != 0)
      std::copy(found.begin(), found.end(), ids);
    return {};
  });
}

vl2_status vl2_model_detokenize(const vl2_model* model, const uint32_t* ids, size_t count, uint32_t flags, char* text,
                                size_t capacity, size_t* text_bytes) {
  return with_model(model, "vl2_model_detokenize", [&](const ModelState& state) -> Outcome {
    if (Outcome outcome = check_token_flags("vl2_model_detokenize", flags); outcome.status != VL2_OK)
      return outcome;
    if (text_bytes == nullptr || (ids == nullptr && count != 0) || (text == nullptr && capacity != 0))
      return refuse(VL2_ERROR_ARGUMENT, "vl2_model_detokenize: ",
                    text_bytes == nullptr          ? "text_bytes"
                    : ids == nullptr && count != 0 ? "ids"
                                                   : "text",
                    " is NULL");
    const std::string words = state.tokenizer->decode(count == 0 ? std::span<const TokenId>() : std::span(ids, count),
                                                      (flags & VL2_TOKENS_CONTROL) != 0);
    *text_bytes = words.size();
    if (capacity != 0 && words.size() > capacity)
      return refuse(VL2_ERROR_BUFFER_TOO_SMALL, "vl2_model_detokenize: got room for ", capacity, " bytes, wanted ", words.size());
    if (capacity != 0)
      std::memcpy(text, words.c_str(), std::min(words.size() + 1, capacity));
    return {};
  });
}

const char* vl2_model_token_bytes(const vl2_model* model, uint32_t id, size_t* byte_count) {
  if (byte_count != nullptr)
    *byte_count = 0;
  if (model == nullptr)
    return nullptr;
  const std::string_view bytes = model->state->tokenizer->token_bytes(id);
  if (bytes.empty())
    return nullptr;
  if (byte_count != nullptr)
    *byte_count = bytes.size();
  return bytes.data();
}

vl2_status vl2_model_count_prompt(const vl2_model* model, const char* text, size_t text_bytes, const uint32_t* picture_tokens,
                                  uint32_t picture_count, uint32_t* tokens) {
  return with_model(model, "vl2_model_count_prompt", [&](const ModelState& state) -> Outcome {
    if (text == nullptr || tokens == nullptr || (picture_tokens == nullptr && picture_count > 0))
      return refuse(VL2_ERROR_ARGUMENT, "vl2_model_count_prompt: text, tokens or picture_tokens is NULL");
    std::string_view words;
    if (Outcome outcome = read_text(text, text_bytes, "vl2_model_count_prompt", words); outcome.status != VL2_OK)
      return outcome;
    const Turn turn{Role::User, std::string(words), std::vector<uint32_t>(picture_tokens, picture_tokens + picture_count)};
    VL2_ASSIGN(const Prompt prompt, build_prompt(*state.tokenizer, state.control, std::span(&turn, 1), {}));
    *tokens = static_cast<uint32_t>(prompt.ids.size());
    return {};
  });
}

// ---- Pictures ----------------------------------------------------------------------------------------------------------------

vl2_status vl2_model_plan_picture(const vl2_model* model, uint32_t width, uint32_t height, uint32_t pictures,
                                  vl2_picture_plan* plan) {
  return with_model(model, "vl2_model_plan_picture", [&](const ModelState& state) -> Outcome {
    if (pictures == 0)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_model_plan_picture: got 0 pictures, wanted at least this one");
    TileGrid grid;
    if (Outcome outcome = check_picture(state, width, height, pictures, grid); outcome.status != VL2_OK)
      return outcome;
    const uint32_t side = state.config.vision.image_size;
    vl2_picture_plan value{};
    value.tiles_wide = grid.width;
    value.tiles_high = grid.height;
    value.canvas_width = side * grid.width;
    value.canvas_height = side * grid.height;
    VL2_ASSIGN(const FitRect fit, pad_fit(width, height, value.canvas_width, value.canvas_height));
    value.resized_width = fit.width;
    value.resized_height = fit.height;
    value.tokens = static_cast<uint32_t>(image_token_count(grid, state.config.tokens_per_side()));
    return fill_struct(plan, sizeof(vl2_picture_plan), "vl2_picture_plan", value);
  });
}

vl2_status vl2_model_find_small_text(const vl2_model* model, const uint8_t* rgb, uint32_t width, uint32_t height,
                                     uint32_t pictures, vl2_small_text* text) {
  static_assert(kLeastTextPixels == VL2_LEAST_TEXT_PIXELS);
  vl2_picture_plan plan{};
  plan.struct_size = sizeof(plan);
  if (const vl2_status status = vl2_model_plan_picture(model, width, height, pictures, &plan); status != VL2_OK)
    return status;
  return with_model(model, "vl2_model_find_small_text", [&](const ModelState&) -> Outcome {
    if (rgb == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_model_find_small_text: rgb is NULL, wanted height * width * 3 bytes");
    if (Outcome outcome = check_struct(text, sizeof(vl2_small_text), "vl2_small_text"); outcome.status != VL2_OK)
      return outcome;
    const TextSize found = find_text_lost_by_resize(rgb, width, height, plan.resized_width);
    vl2_small_text value{};
    value.letters = found.letters;
    value.size = found.size;
    value.resized_size = found.size * static_cast<float>(plan.resized_width) / static_cast<float>(width);
    return fill_struct(text, sizeof(vl2_small_text), "vl2_small_text", value);
  });
}
