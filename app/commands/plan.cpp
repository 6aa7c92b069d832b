// `vl2 plan`: a line a group of buffers, their sum against the device's memory, and what would fit if that does not.
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/byte_size.h"
#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "model/memory_plan.h"
#include "runtime/device.h"

namespace vl2 {

namespace {

// A model to plan for, and what keeps it.
struct Subject {
  std::string name;
  Config config;
  std::unique_ptr<Checkpoint> checkpoint;
};

struct Answer {
  MemoryPlan plan;
  const Config& config;
  std::vector<WayOut> ways;  // when it does not fit
};

Result<Subject> find_subject(const PlanOptions& options) {
  if (options.model.model.empty() == options.synthetic.empty())
    return fail(Code::BadArgument, "plan: wanted either a model (-m) or --synthetic tiny, small or base");
  if (options.layers > 0 && options.synthetic.empty())
    return fail(Code::BadArgument, "plan: --layers cuts the models of --synthetic only");
  Subject subject;
  if (!options.synthetic.empty()) {
    subject.name = "synthetic " + options.synthetic;
    VL2_ASSIGN(subject.config, synthetic_config(options.synthetic, options.layers, options.model.context));
    subject.checkpoint = Checkpoint::imagined(subject.config);
  } else {
    subject.name = options.model.model;
    VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.model.model));
    VL2_ASSIGN(subject.config, files.config());
    VL2_ASSIGN(subject.checkpoint, files.checkpoint(subject.config));
  }
  VL2_TRY(limit_tiles(subject.config, options.model.tiles));
  return subject;
}

Result<PictureSize> parse_picture_size(const std::string& text) {
  PictureSize size;
  const char* const end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, size.width);
  if (width.ec == std::errc{} && width.ptr != end && *width.ptr == 'x') {
    const auto height = std::from_chars(width.ptr + 1, end, size.height);
    if (height.ec == std::errc{} && height.ptr == end)
      return size;
  }
  return fail(Code::BadArgument, "plan: --image-size ", text, ": wanted WIDTHxHEIGHT, 4000x3000 for example");
}

Result<std::optional<std::vector<PictureSize>>> planned_pictures(const PlanOptions& options, const Config& config) {
  std::optional<std::vector<PictureSize>> pictures;
  if (options.no_pictures && !options.sizes.empty())
    return fail(Code::BadArgument, "plan: --no-pictures and --image-size ", options.sizes.front(), ": wanted one of them");
  if (options.no_pictures)
    pictures.emplace();
  if (!options.sizes.empty()) {
    VL2_TRY(check_sees(config));
    pictures.emplace();
  }
  for (const std::string& text : options.sizes) {
    VL2_ASSIGN(const PictureSize size, parse_picture_size(text));
    pictures->push_back(size);
  }
  return pictures;
}

// A device with the whole of its memory: --vram only sets what the plan is held against.
Result<std::unique_ptr<Device>> open_device(const EngineOptions& wanted) {
  DeviceOptions options = wanted.device;
  options.heap_limit_bytes = 0;
  return Device::create(options);
}

void print_table(const Answer& answer, const std::string& name, const Device& device) {
  const MemoryPlan& plan = answer.plan;
  std::printf("%s on %s, tier %u, %u tokens of context, prefill by %u", name.c_str(), device.caps().name.c_str(), device.tier(),
              plan.context, plan.chunk);
  if (plan.cache_type != CacheType::F16)
    std::printf(", cache in %s", cache_type_name(plan.cache_type));
  for (const PictureSize& size : plan.pictures)
    std::printf(", a picture of %u x %u", size.width, size.height);
  if (plan.views > 0)
    std::printf(" (%u %s)", plan.views, plan.views == 1 ? "view" : "views");
  std::printf("\n\n");
  const auto print = [](const char* what, uint64_t bytes, const char* note) {
    std::printf("%-36s %16llu  %10s%s\n", what, static_cast<unsigned long long>(bytes), memory_size_text(bytes).c_str(), note);
  };
  for (size_t i = 0; i < kMemoryGroups; ++i)
    if (plan.bytes[i] > 0)
      print(memory_group_name(static_cast<MemoryGroup>(i)), plan.bytes[i], "");
  print("needed", plan.needed_bytes(), "");
  print("available", plan.available_bytes, plan.fits() ? "  fits" : "  does not fit");
  if (plan.host_bytes > 0) {
    if (plan.file_bytes > 0)
      print("experts in the file", plan.file_bytes, "");
    print(plan.file_bytes > 0 ? "window in host memory" : "experts in host memory", plan.host_bytes, "");
    print("host memory available", plan.available_host_bytes, "");
    std::printf("%s: slower than with all on the device; --no-expert-cache refuses\n",
                cached_experts_text(plan, answer.config).c_str());
  }
  if (plan.picture_cache_bytes > plan[MemoryGroup::Kept])
    print("of what is left, for pictures kept", plan.picture_cache_bytes, "");
  if (plan.staging_bytes > 0)
    print("host memory to copy through", plan.staging_bytes, "");
  for (const WayOut& way : answer.ways)
    std::printf("would fit: %s, %s\n", way.change.c_str(), memory_size_text(way.needed_bytes).c_str());
  if (!plan.fits() && answer.ways.empty())
    std::printf("would fit: neither a shorter context nor fewer bits nor a smaller model of the family\n");
}

void print_json(const Answer& answer, const std::string& name, const Device& device) {
  const MemoryPlan& plan = answer.plan;
  const auto group = [&](MemoryGroup of) { return plan[of]; };
  nlohmann::json pictures = nlohmann::json::array(), ways = nlohmann::json::array();
  for (const PictureSize& size : plan.pictures)
    pictures.push_back({{"width", size.width}, {"height", size.height}});
  for (const WayOut& way : answer.ways)
    ways.push_back({{"change", way.change}, {"needed_bytes", way.needed_bytes}});
  const nlohmann::json out = {{"model", name},
                              {"device", device.caps().name},
                              {"tier", device.tier()},
                              {"context", plan.context},
                              {"chunk", plan.chunk},
                              {"cache_type", cache_type_name(plan.cache_type)},
                              {"pictures", pictures},
                              {"views", plan.views},
                              {"pipelines", plan.pipelines},
                              {"bytes",
                               {{"experts", group(MemoryGroup::Experts)},
                                {"language", group(MemoryGroup::Language)},
                                {"vision", group(MemoryGroup::Vision)},
                                {"projector", group(MemoryGroup::Projector)},
                                {"loading", group(MemoryGroup::Loading)},
                                {"cache", group(MemoryGroup::Cache)},
                                {"decode", group(MemoryGroup::Session)},
                                {"pictures", group(MemoryGroup::Pictures)},
                                {"prefill", group(MemoryGroup::Prefill)},
                                {"kept_pictures", group(MemoryGroup::Kept)},
                                {"pipelines", group(MemoryGroup::Pipelines)}}},
                              {"buffer_bytes", plan.buffer_bytes()},
                              {"picture_cache_bytes", plan.picture_cache_bytes},
                              {"needed_bytes", plan.needed_bytes()},
                              {"available_bytes", plan.available_bytes},
                              {"host_staging_bytes", plan.staging_bytes},
                              {"host_weight_bytes", plan.host_bytes},
                              {"file_weight_bytes", plan.file_bytes},
                              {"expert_slots", plan.expert_slots},
                              {"experts", answer.config.language.n_routed_experts},
                              {"fits", plan.fits()},
                              {"ways_out", ways}};
  std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

Status plan_command(const PlanOptions& options) {
  VL2_ASSIGN(const EngineOptions wanted, engine_options(options.model));
  VL2_ASSIGN(const Subject subject, find_subject(options));
  VL2_ASSIGN(const auto pictures, planned_pictures(options, subject.config));
  VL2_ASSIGN(const auto device, open_device(wanted));
  const PlannedModel model{subject.config, subject.checkpoint.get(), wanted.mix};
  VL2_ASSIGN(const uint32_t context, context_of(model.config, wanted.context));
  const MemoryUse use{context, wanted.chunk != 0 ? wanted.chunk : chunk_of(device->caps(), subject.config.language), pictures,
                      wanted.cache_type, wanted.picture_cache};
  const uint64_t limit = wanted.device.heap_limit_bytes, available = limit != 0 ? limit : device->memory().available_bytes();
  auto plan = plan_memory(*device, model, use);
  if (plan.code() == Code::OutOfMemory || plan.code() == Code::BadShape)
    return fail(plan.code(), subject.name, ": ", plan.message(),
                ways_out_text(ways_to_fit(*device, model, use, available, wanted.host_limit_bytes, !wanted.expert_cache)));
  if (!plan.ok())
    return plan.status();
  Answer answer{plan.take(), subject.config, {}};
  answer.plan.available_bytes = available;
  if (!answer.plan.fits() && may_cache_experts(*device, wanted)) {
    auto cached = plan_with_cached_experts(*device, model, use, available, wanted.host_limit_bytes);
    if (says_why_uncached(cached.code()))
      return fail(cached.code(), subject.name, ": ", cached.message());
    if (cached.ok())
      answer.plan = cached.take();
  }
  if (wanted.picture_cache == kSparePictureCache)
    answer.plan.picture_cache_bytes = spare_picture_cache(answer.plan);
  if (!answer.plan.fits())
    answer.ways = ways_to_fit(*device, model, use, available, wanted.host_limit_bytes, !wanted.expert_cache);
  (options.json ? print_json : print_table)(answer, subject.name, *device);
  return {};
}

}  // namespace vl2
