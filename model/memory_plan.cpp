#include "model/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "model/engine.h"
#include "model/session.h"
#include "model/tiling.h"
#include "runtime/host_memory.h"
#include "runtime/ops/expert_cache.h"

namespace vl2 {

namespace {

constexpr double kPhotoPixels = 12e6;

// A compiled kernel on the device. RADV 25.0 for a Navi 31 says that the code of Small's 52 has 3.7 KB in the mean and 12 KB at
// most ("Code size", `vl2 bench --pipelines`); drivers round up, and keep more about each than its code.
constexpr uint64_t kPipelineBytes = uint64_t{32} << 10;

MemoryGroup& operator++(MemoryGroup& group) {
  return group = static_cast<MemoryGroup>(static_cast<int>(group) + 1);
}

// How far a rehearsal had come when events().size() was `end`.
struct Phase {
  MemoryGroup group;  // of what is allocated in it and is neither weight nor cache
  size_t end;
};

MemoryGroup group_of(const std::string& name, MemoryGroup phase) {
  if (phase == MemoryGroup::Loading && name != "random values")
    return weight_group(name);
  return name == "kv cache" ? MemoryGroup::Cache : phase;
}

// Follows the events, and keeps what was there when it was most.
void add_up(std::span<const MemoryEvent> events, std::span<const Phase> phases, MemoryPlan& plan) {
  std::array<uint64_t, kMemoryGroups> now{};
  uint64_t sum = 0, most = 0, staged = 0, on_host = 0;
  std::map<std::pair<std::string, uint64_t>, std::vector<MemoryGroup>> live;  // by name and bytes
  auto phase = phases.begin();
  for (size_t i = 0; i < events.size(); ++i) {
    while (phase + 1 != phases.end() && i >= phase->end)
      ++phase;
    const MemoryEvent& event = events[i];
    const bool taken = event.bytes > 0;
    const auto bytes = static_cast<uint64_t>(taken ? event.bytes : -event.bytes);
    if (event.kind == MemoryKind::Host) {
      on_host = taken ? on_host + bytes : on_host - bytes;
      plan.host_bytes = std::max(plan.host_bytes, on_host);
      continue;
    }
    if (event.kind != MemoryKind::Device) {
      staged = taken ? staged + bytes : staged - bytes;
      plan.staging_bytes = std::max(plan.staging_bytes, staged);
      continue;
    }
    auto& groups = live[{event.name, bytes}];
    if (taken) {
      groups.push_back(group_of(event.name, phase->group));
      now[static_cast<size_t>(groups.back())] += bytes;
      sum += bytes;
    } else {
      now[static_cast<size_t>(groups.back())] -= bytes;
      groups.pop_back();
      sum -= bytes;
    }
    if (sum > most) {
      most = sum;
      plan.bytes = now;
    }
  }
}

// A picture in the shape of each canvas, as a photo and as large as the canvas: of those that leave room for a question the one
// with most tiles, then with most pixels.
std::vector<PictureSize> default_pictures(const Config& config, uint32_t context) {
  PictureSize best;
  uint64_t best_tiles = 0, best_pixels = 0;
  for (const auto& [canvas_width, canvas_height] : config.candidate_resolutions)
    for (const bool photo : {true, false}) {
      const double scale = photo ? std::max(1.0, std::sqrt(kPhotoPixels / (double{1} * canvas_width * canvas_height))) : 1.0;
      const PictureSize size{static_cast<uint32_t>(canvas_width * scale), static_cast<uint32_t>(canvas_height * scale)};
      const auto grid = tile_grid(size.width, size.height, config.candidate_resolutions, config.vision.image_size, 1);
      if (!grid.ok() || image_token_count(*grid, config.tokens_per_side()) + 1 >= context)
        continue;
      const uint64_t tiles = uint64_t{grid->width} * grid->height, pixels = uint64_t{size.width} * size.height;
      if (tiles > best_tiles || (tiles == best_tiles && pixels > best_pixels)) {
        best = size;
        best_tiles = tiles;
        best_pixels = pixels;
      }
    }
  return best_tiles == 0 ? std::vector<PictureSize>{} : std::vector<PictureSize>{best};
}

// A session on a rehearsing engine: every picture, a prompt that fills the context but for one token, and that token.
Status rehearse(Engine& engine, MemoryPlan& plan, std::vector<Phase>& phases) {
  const auto end_phase = [&](MemoryGroup group) { phases.push_back({group, engine.device().memory().events().size()}); };
  end_phase(MemoryGroup::Loading);
  VL2_ASSIGN(const auto session, Session::create(engine));
  end_phase(MemoryGroup::Session);

  std::vector<EncodedPicture> encoded;
  std::vector<PictureRun> runs;
  const uint32_t prompt = std::max(engine.context(), 2u) - 1;
  uint32_t used = 0;
  for (const PictureSize& size : plan.pictures) {
    VL2_TRY(check_picture_size(size.width, size.height));
    const uint64_t bytes = uint64_t{size.width} * size.height * 3;
    const auto pixels = std::make_unique_for_overwrite<uint8_t[]>(bytes);  // nobody looks at them
    const Picture picture{size.width, size.height, {pixels.get(), bytes}};
    VL2_ASSIGN(EncodedPicture one, session->encode(picture, static_cast<uint32_t>(plan.pictures.size())));
    plan.views = std::max(plan.views, one.grid.width * one.grid.height == 1 ? 1 : 1 + one.grid.width * one.grid.height);
    encoded.push_back(std::move(one));
  }
  end_phase(MemoryGroup::Pictures);
  for (const EncodedPicture& picture : encoded)
    if (const uint32_t rows = picture.sequence.dim(0); rows <= prompt - used) {  // if not, the session will say so then
      runs.push_back({used, &picture});
      used += rows;
    }

  const std::vector<uint32_t> ids(std::min(prompt, engine.context()), 0);
  VL2_TRY(session->prefill(ids, runs));
  if (engine.context() > ids.size())
    VL2_TRY(session->decode(1, {}).status());
  end_phase(MemoryGroup::Prefill);
  return {};
}

}  // namespace

const char* memory_group_name(MemoryGroup group) {
  switch (group) {
    case MemoryGroup::Experts: return "weights: experts";
    case MemoryGroup::Language: return "weights: rest of the language model";
    case MemoryGroup::Vision: return "weights: vision";
    case MemoryGroup::Projector: return "weights: projector";
    case MemoryGroup::Loading: return "while loading";
    case MemoryGroup::Cache: return "cache";
    case MemoryGroup::Session: return "decode";
    case MemoryGroup::Pictures: return "pictures";
    case MemoryGroup::Prefill: return "prefill";
    case MemoryGroup::Kept: return "pictures kept";
    case MemoryGroup::Pipelines: return "pipelines (estimate)";
  }
  return "";
}

MemoryGroup weight_group(const std::string& name) {
  if (name.starts_with("vision."))
    return MemoryGroup::Vision;
  if (!name.starts_with("language."))
    return MemoryGroup::Projector;
  return name.find(".mlp.experts.") != std::string::npos ? MemoryGroup::Experts : MemoryGroup::Language;
}

uint64_t MemoryPlan::weight_bytes() const {
  uint64_t sum = 0;
  for (MemoryGroup group = MemoryGroup::Experts; group <= MemoryGroup::Projector; ++group)
    sum += (*this)[group];
  return sum;
}

uint64_t MemoryPlan::buffer_bytes() const {
  return needed_bytes() - (*this)[MemoryGroup::Pipelines] - (*this)[MemoryGroup::Kept];
}

uint64_t MemoryPlan::needed_bytes() const {
  uint64_t sum = 0;
  for (const uint64_t count : bytes)
    sum += count;
  return sum;
}

Result<MemoryPlan> plan_memory(const Device& device, const PlannedModel& model, const MemoryUse& use) {
  VL2_ASSIGN(const auto engine, Engine::rehearsal(device, model, use));
  MemoryPlan plan;
  plan.context = engine->context();
  plan.chunk = engine->chunk();
  plan.expert_slots = model.expert_slots;
  plan.expert_window = model.expert_window;
  plan.file_bytes = engine->weights().file_bytes;
  plan.cache_type = use.cache_type;
  if (model.config.has_vision)
    plan.pictures = use.pictures ? *use.pictures : default_pictures(model.config, plan.context);
  std::vector<Phase> phases;
  VL2_TRY(rehearse(*engine, plan, phases));
  const std::vector<MemoryEvent>& events = engine->device().memory().events();
  add_up(std::span(events).first(phases.back().end), phases, plan);
  plan.pipelines = engine->device().pipelines().count();
  plan.bytes[static_cast<size_t>(MemoryGroup::Pipelines)] = plan.pipelines * kPipelineBytes;
  if (use.picture_cache != kSparePictureCache && !plan.pictures.empty())
    plan.bytes[static_cast<size_t>(MemoryGroup::Kept)] = plan.picture_cache_bytes = use.picture_cache;
  return plan;
}

uint64_t spare_picture_cache(const MemoryPlan& plan) {
  constexpr uint64_t kMost = uint64_t{256} << 20;
  if (plan.pictures.empty() || !plan.fits())
    return 0;
  return std::min(kMost, (plan.available_bytes - plan.needed_bytes()) / 4);
}

namespace {

// Host memory that experts may take beside what `plan` takes of the device's, which is the same memory on some devices.
uint64_t host_memory_for_experts(const Device& device, const MemoryPlan& plan, uint64_t limit) {
  const Memory& memory = device.memory();
  if (limit != 0)
    return std::min(memory.available_host_bytes(), limit);
  const uint64_t spare = spare_host_bytes(), beside = memory.has_host_heap() ? 0 : plan.needed_bytes();
  return std::min(memory.available_host_bytes(), spare > beside ? spare - beside : 0);
}

}  // namespace

Result<MemoryPlan> plan_with_cached_experts(const Device& device, const PlannedModel& model, const MemoryUse& use,
                                            uint64_t available_bytes, uint64_t host_limit) {
  const LanguageConfig& language = model.config.language;
  const uint32_t least = language.num_experts_per_tok, experts = language.n_routed_experts;
  if (experts <= least || experts > kExpertCacheMaxExperts || least > kExpertCacheMaxTopK)
    return fail(Code::NotFound, "no experts to cache");
  uint64_t host_bytes = 0;
  PlannedModel changed = model;
  const auto plan_of = [&](uint32_t slots) -> Result<MemoryPlan> {
    changed.expert_slots = slots;
    VL2_ASSIGN(MemoryPlan plan, plan_memory(device, changed, use));
    plan.available_bytes = available_bytes;
    plan.available_host_bytes = host_bytes;
    return plan;
  };
  const uint64_t usable = available_bytes - available_bytes / 50;
  VL2_ASSIGN(MemoryPlan best, plan_of(least));
  if (best.needed_bytes() > usable)
    return fail(Code::NotFound, "no room for ", least, " cached experts a layer");
  best.available_host_bytes = host_bytes = host_memory_for_experts(device, best, host_limit);
  if (best.host_bytes > host_bytes) {
    changed.expert_window = std::max<uint64_t>(host_bytes, 1);
    VL2_ASSIGN(best, plan_of(least));
  }
  uint32_t low = least, high = experts - 1;
  while (low < high) {
    const uint32_t middle = low + (high - low + 1) / 2;
    VL2_ASSIGN(MemoryPlan plan, plan_of(middle));
    if (plan.needed_bytes() <= usable) {
      low = middle;
      best = std::move(plan);
    } else {
      high = middle - 1;
    }
  }
  return best;
}

std::string cached_experts_text(const MemoryPlan& plan, const Config& config) {
  const bool in_file = plan.file_bytes > 0;
  return "experts are cached in " + std::to_string(plan.expert_slots) + " slots a layer, of " +
         std::to_string(config.language.n_routed_experts) + " that are in " + (in_file ? "the file (" : "host memory (") +
         memory_size_text(in_file ? plan.file_bytes : plan.host_bytes) + ")" +
         (in_file ? ", behind a window of " + memory_size_text(plan.host_bytes) + " of host memory" : "");
}

Status limit_tiles(Config& config, uint32_t tiles) {
  if (tiles == 0)
    return {};
  const uint64_t view = uint64_t{config.vision.image_size} * config.vision.image_size;
  auto& canvases = config.candidate_resolutions;
  std::vector<std::array<uint32_t, 2>> kept;
  for (const auto& canvas : canvases)
    if (uint64_t{canvas[0]} * canvas[1] <= tiles * view)
      kept.push_back(canvas);
  if (kept.empty())
    return fail(Code::BadArgument, "tiles: got ", tiles, ", this model has no canvas of so few");
  canvases = std::move(kept);
  return {};
}

std::string memory_size_text(uint64_t bytes) {
  const bool small = bytes < 999'950'000;
  const uint64_t unit = small ? 1'000'000 : 1'000'000'000, tenths = (bytes + unit / 20) / (unit / 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + (small ? " MB" : " GB");
}

}  // namespace vl2
