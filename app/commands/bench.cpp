// Rows like llama-bench's (pp, tg, at a depth), pictures, first token, load and start; each row the median of some runs with warm
// clocks, and on demand every dispatch with what it moves and computes.
#include <algorithm>
#include <cstdio>

#include "app/bench/jobs.h"
#include "app/bench/pipelines.h"
#include "app/bench/report.h"
#include "app/bench/start.h"
#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "model/batch_decode.h"
#include "model/expert_cache.h"
#include "model/expert_file.h"
#include "model/synthetic_weights.h"

namespace vl2 {

namespace {

Result<ReportForm> report_form(const std::string& name) {
  if (name == "md")
    return ReportForm::Markdown;
  if (name == "json")
    return ReportForm::Json;
  if (name == "csv")
    return ReportForm::Csv;
  return fail(Code::BadArgument, "bench: -o ", name, ": wanted md, json or csv");
}

Result<Config> shapes_to_bench(const BenchOptions& options) {
  VL2_ASSIGN(const Config config, synthetic_config(options.synthetic, options.layers, options.model.context));
  return synthetic_config(options.synthetic, options.layers,
                          std::max<uint64_t>(bench_context(options, config), options.model.context));
}

Status check_options(const BenchOptions& options) {
  if (options.model.model.empty() == options.synthetic.empty())
    return fail(Code::BadArgument, "bench: wanted either a model folder (-m) or --synthetic tiny, small or base");
  if (options.router_skew != 0 && options.synthetic.empty())
    return fail(Code::BadArgument, "bench: --router-skew is for the routers of --synthetic only");
  if (options.layers > 0 && options.synthetic.empty())
    return fail(Code::BadArgument, "bench: --layers cuts the models of --synthetic only");
  for (const uint32_t sessions : options.batches)
    if (sessions > BatchDecode::kMaxRows)
      return fail(Code::BadArgument, "bench: --batch ", sessions, ": wanted at most ", BatchDecode::kMaxRows, " conversations");
  for (const uint32_t views : options.views)
    if (views > 10)
      return fail(Code::BadArgument, "bench: --views ", views, ": a picture has at most 10");
  for (const uint32_t side : options.first_token)
    if (side > 8192)
      return fail(Code::BadArgument, "bench: --first-token ", side, ": wanted at most 8192 pixels a side");
  for (const auto* list : {&options.prompts, &options.generates, &options.depths})
    for (const uint32_t count : *list)
      if (count > (1u << 20))
        return fail(Code::BadArgument, "bench: ", count, " tokens: wanted at most ", 1u << 20);
  return {};
}

Result<std::unique_ptr<Engine>> make_engine(const BenchOptions& options) {
  VL2_ASSIGN(EngineOptions load_options, engine_options(options.model));
  load_options.expert_slots = options.expert_slots;
  if (options.synthetic.empty()) {
    VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.model.model));
    VL2_ASSIGN(const Config config, files.config());
    load_options.pictures = bench_pictures(options, config);
    load_options.device.pipeline_statistics = options.pipelines;
    return load_engine(options.model, files, std::move(load_options));
  }
  load_options.device.pipeline_statistics = options.pipelines;
  VL2_ASSIGN(const Config config, shapes_to_bench(options));
  load_options.pictures = bench_pictures(options, config);
  load_options.router_skew = options.router_skew;
  return Engine::synthetic("synthetic " + options.synthetic, config, load_options);
}

BenchReport describe(const BenchOptions& options, const Engine& engine) {
  const DeviceCaps& caps = engine.device().caps();
  BenchReport report;
  report.model =
      (options.synthetic.empty() ? options.model.model : "synthetic " + options.synthetic) +
      (options.model.type.empty() ? "" : " " + options.model.type) +
      (engine.cache_type() == CacheType::F16 ? std::string() : std::string(" cache ") + cache_type_name(engine.cache_type()));
  report.device = caps.name;
  report.driver = caps.driver_name + " " + caps.driver_info;
  report.tier = engine.device().tier();
  report.context = engine.context();
  report.weight_gb = 1e-9 * static_cast<double>(engine.weights().device_bytes);
  report.cache_gb = 1e-9 * static_cast<double>(engine.plan().cache_bytes());
  report.plan_gb = 1e-9 * static_cast<double>(engine.plan().buffer_bytes());
  const LoadTimes& load = engine.load_times();
  report.breakdown = {{"load.checkpoint", load.checkpoint_ms},
                      {"load.device", load.device_ms},
                      {"load.plan", load.plan_ms},
                      {"load.match", load.match_ms},
                      {"load.allocate", load.allocate_ms},
                      {"load.upload", load.upload_ms},
                      {"load.total", load.total_ms}};
  if (options.synthetic.empty()) {
    report.load_seconds = 1e-3 * load.total_ms;
    report.rows.push_back({"load", "GB/s", report.weight_gb, {report.load_seconds}});
  }
  return report;
}

Status describe_expert_cache(const Engine& engine, Recorder& rec, BenchReport& report) {
  if (engine.expert_slots() == 0)
    return {};
  VL2_ASSIGN(const ExpertCacheCounts counts, count_expert_cache(rec, engine.weights().language));
  report.expert_slots = engine.expert_slots();
  report.experts = engine.config().language.n_routed_experts;
  report.host_gb = 1e-9 * static_cast<double>(engine.weights().host_bytes);
  report.expert_hits = counts.hits;
  report.expert_misses = counts.misses;
  if (const ExpertFile* file = engine.weights().language.file.get()) {
    report.file_gb = 1e-9 * static_cast<double>(engine.weights().file_bytes);
    report.expert_reads = file->counts().reads;
    report.window_hits = file->counts().window_hits;
    report.read_gb = 1e-9 * static_cast<double>(file->counts().read_bytes);
  }
  return {};
}

Status add_start_row(const BenchOptions& options, Engine& engine, BenchReport& report) {
  if (!options.start)
    return {};
  engine.device().pipelines().save();
  std::vector<std::string> words = {"vl2", "bench", "--start-probe"};
  if (options.synthetic.empty())
    words.insert(words.end(), {"-m", options.model.model});
  else
    words.insert(words.end(), {"--synthetic", options.synthetic, "--layers", std::to_string(options.layers)});
  if (!options.model.type.empty())
    words.insert(words.end(), {"--type", options.model.type});
  if (!options.model.device.empty())
    words.insert(words.end(), {"--device", options.model.device});
  if (!options.model.vram.empty())
    words.insert(words.end(), {"--vram", options.model.vram});
  if (!options.model.ram.empty())
    words.insert(words.end(), {"--ram", options.model.ram});
  if (!options.model.cache_type.empty())
    words.insert(words.end(), {"--cache-type", options.model.cache_type});
  if (options.model.no_expert_cache)
    words.emplace_back("--no-expert-cache");
  VL2_ASSIGN(const StartTimes start, measure_start(words, options.repeats));
  report.rows.push_back({"start", "", 1, start.seconds});
  report.breakdown.insert(report.breakdown.end(), start.breakdown.begin(), start.breakdown.end());
  return {};
}

Status start_probe(const BenchOptions& options) {
  if (options.synthetic.empty()) {
    VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.model.model));
    VL2_ASSIGN(const Config config, files.config());
    return run_start_probe(options.model, config);
  }
  VL2_ASSIGN(const Config config, shapes_to_bench(options));
  return run_start_probe(options.model, config);
}

}  // namespace

Status bench_command(const BenchOptions& asked) {
  BenchOptions options = asked;
  VL2_TRY(check_options(options));
  VL2_ASSIGN(const ReportForm form, report_form(options.output));
  if (options.start_probe)
    return start_probe(options);
  VL2_ASSIGN(const auto engine, make_engine(options));
  if (!options.synthetic.empty())
    print_notices(*engine);            // load_engine() does else
  if (!engine->config().has_vision) {  // the defaults ask for pictures, which is nobody's mistake
    options.views.clear();
    options.first_token.clear();
    if (!options.model.quiet)
      std::fprintf(stderr, "vl2: note: %s is text-only: no rows with pictures\n", options.model.model.c_str());
  }
  const uint64_t needed = bench_context(options, engine->config());
  if (needed > engine->context())
    return fail(Code::ContextFull, "bench: the longest row takes ", needed,
                " tokens (-p, -n, -d, --first-token), the context holds ", engine->context());
  VL2_ASSIGN(const auto session, Session::create(*engine));
  VL2_ASSIGN(auto jobs, bench_jobs(*session, *engine, options));
  if (options.pipelines)
    return print_pipelines(jobs, *engine);

  BenchReport report = describe(options, *engine);
  const bool clocks_vary = engine->device().caps().type != DeviceType::Cpu;
  VL2_ASSIGN(const std::vector<BenchRow> rows, measure_jobs(jobs, options.repeats, clocks_vary));
  report.rows.insert(report.rows.end(), rows.begin(), rows.end());
  VL2_TRY(describe_expert_cache(*engine, session->recorder(), report));
  report.peak_gb = 1e-9 * static_cast<double>(engine->device().memory().device_bytes_peak());
  if (options.ops) {
    VL2_ASSIGN(report.floor, measure_floor(engine->device()));
    VL2_ASSIGN(report.ops, measure_ops(jobs, session->recorder(), options.shapes));
  }
  VL2_TRY(add_start_row(options, *engine, report));
  std::fputs(format_report(report, form).c_str(), stdout);
  return {};
}

}  // namespace vl2
