#include "app/bench/jobs.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "model/batch_decode.h"
#include "model/projector.h"
#include "model/tiling.h"
#include "model/vision_encoder.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/ops/matmul.h"

namespace vl2 {

namespace {

constexpr double kWarmUpSeconds = 0.5;  // fast cards idle at a fifth of their clock and take about this long to leave it
constexpr uint32_t kQuestionBefore = 4, kQuestionAfter = 29;  // tokens around the picture of the first-token row

std::vector<uint8_t> gradient_picture(uint32_t width, uint32_t height) {
  std::vector<uint8_t> rgb(size_t{width} * height * 3);
  for (size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<uint8_t>((i * 7 + i / (size_t{width} * 3) * 3) & 255);
  return rgb;
}

std::vector<uint32_t> scattered_ids(uint32_t count, uint32_t vocab_size) {
  std::vector<uint32_t> ids(count);
  for (uint32_t i = 0; i < count; ++i)
    ids[i] = (i * 2654435761u) % vocab_size;
  return ids;
}

uint64_t first_token_length(uint32_t side, const Config& config) {
  const auto grid = tile_grid(side, side, config.candidate_resolutions, config.vision.image_size, 1);
  const TileGrid tiles = grid.ok() ? *grid : TileGrid{};
  return image_token_count(tiles, config.tokens_per_side()) + kQuestionBefore + kQuestionAfter;
}

// Everything that jobs share. Each job's functions hold a pointer to it.
struct Workbench {
  Session& session;
  const Engine& engine;
  std::vector<uint32_t> ids;
  std::unique_ptr<Scratch> scratch;  // of encode_one_tile
  SampleOptions sampling;            // of decoded tokens

  // Leaves `depth` tokens in the cache.
  Status fill(uint32_t depth) {
    VL2_TRY(session.clear());
    return depth == 0 ? Status{} : session.prefill(std::span(ids).first(depth), {});
  }

  // The picture of one tile `views` times: a session would encode it once.
  Status encode_one_tile(const Picture& picture, uint32_t views) {
    Recorder& rec = session.recorder();
    const Config& config = engine.config();
    VL2_ASSIGN(const PictureCanvases canvases, make_canvases(rec, config, picture, 1));
    VL2_ASSIGN(const TensorView features,
               scratch->get("vision features", rec.device().act(), {views, config.vision.tokens(), config.vision.width}));
    VL2_ASSIGN(const TensorView tokens,
               scratch->get("vision tokens", DType::F32, {views, config.tokens_per_view(), config.language.hidden_size}));
    VL2_TRY(vision_encoder(rec, *scratch, config.vision, engine.weights().vision, std::vector<Canvas>(views, canvases.global),
                           features));
    VL2_TRY(projector(rec, *scratch, config, engine.weights().projector, features, tokens));
    return rec.finish();
  }
};

BenchJob prefill_job(const std::shared_ptr<Workbench>& bench, uint32_t count, uint32_t depth) {
  const std::string at = depth == 0 ? "" : " @ d" + std::to_string(depth);
  return {.name = "pp" + std::to_string(count) + at,
          .unit = "tok/s",
          .units = static_cast<double>(count),
          .phase = "prefill",
          .set_up = [=] { return bench->fill(depth); },
          .prepare = [=]() -> Status {
            bench->session.rewind(depth);
            return {};
          },
          .run = [=] { return bench->session.prefill(std::span(bench->ids).first(count), {}); }};
}

BenchJob decode_job(const std::shared_ptr<Workbench>& bench, uint32_t count, uint32_t depth) {
  const std::string at = depth == 0 ? "" : " @ d" + std::to_string(depth);
  return {.name = "tg" + std::to_string(count) + at,
          .unit = "tok/s",
          .units = static_cast<double>(count),
          .phase = "decode",
          .set_up = [=] { return bench->fill(depth); },
          .prepare = [=]() -> Status {
            bench->session.rewind(depth);
            return bench->session.prefill(std::span(bench->ids).first(1), {});
          },
          .run = [=] { return bench->session.decode(count, bench->sampling).status(); }};
}

// Conversations decoded together, each from a token of its own on.
struct BatchBench {
  std::vector<std::unique_ptr<Session>> sessions;
  std::unique_ptr<BatchDecode> batch;

  std::vector<BatchRow> rows(uint32_t count, const SampleOptions& sampling) const {
    std::vector<BatchRow> rows;
    for (uint32_t i = 0; i < count; ++i)
      rows.push_back({sessions[i].get(), sampling});
    return rows;
  }
};

Result<std::shared_ptr<BatchBench>> make_batch_bench(Engine& engine, uint32_t most) {
  auto bench = std::make_shared<BatchBench>();
  VL2_ASSIGN(bench->batch, BatchDecode::create(engine, most));
  for (uint32_t i = 0; i < most; ++i) {
    VL2_ASSIGN(auto session, Session::create(engine, PlanChoice::Fused));
    bench->sessions.push_back(std::move(session));
  }
  return bench;
}

BenchJob batch_job(const std::shared_ptr<Workbench>& bench, const std::shared_ptr<BatchBench>& batch, uint32_t together,
                   uint32_t count, uint32_t depth) {
  const std::string at = depth == 0 ? "" : " @ d" + std::to_string(depth);
  const auto fill = [=](uint32_t i, uint32_t first, uint32_t tokens) {
    std::vector<uint32_t> ids;
    for (uint32_t k = 0; k < tokens; ++k)
      ids.push_back((bench->ids[(first + k) % bench->ids.size()] + 7919 * i) % bench->engine.config().language.vocab_size);
    return batch->sessions[i]->prefill(ids, {});
  };
  return {.name = "tg" + std::to_string(count) + " x " + std::to_string(together) + at,
          .unit = "tok/s",
          .units = static_cast<double>(count) * together,
          .phase = "decode x " + std::to_string(together),
          .recorder = &batch->batch->recorder(),
          .set_up = [=]() -> Status {
            for (uint32_t i = 0; i < together; ++i) {
              VL2_TRY(batch->sessions[i]->clear());
              if (depth > 0)
                VL2_TRY(fill(i, 0, depth));
            }
            return {};
          },
          .prepare = [=]() -> Status {
            for (uint32_t i = 0; i < together; ++i) {
              batch->sessions[i]->rewind(depth);
              VL2_TRY(fill(i, depth, 1));
            }
            return {};
          },
          .run = [=]() -> Status {
            std::vector<uint32_t> ids;
            return batch->batch->decode(batch->rows(together, bench->sampling), count, ids);
          }};
}

BenchJob vision_job(const std::shared_ptr<Workbench>& bench, uint32_t views) {
  const uint32_t side = bench->engine.config().vision.image_size, tiles = std::max(views, 2u) - 1;
  const auto rgb = std::make_shared<std::vector<uint8_t>>(gradient_picture(side * tiles, side));
  const auto nothing = []() -> Status { return {}; };
  const auto run = [=]() -> Status {
    const Picture picture{side * tiles, side, *rgb};
    return tiles == 1 ? bench->encode_one_tile(picture, views) : bench->session.encode(picture, 1).status();
  };
  return {.name = "vision " + std::to_string(views) + (views == 1 ? " view" : " views"),
          .unit = "views/s",
          .units = static_cast<double>(views),
          .phase = "vision",
          .set_up = nothing,
          .prepare = nothing,
          .run = run};
}

// From pixels to the first id on the host: resize, encoder, prefill, sampling. decode(1) also runs that id through the model, so
// the row is longer than the truth by one token.
BenchJob first_token_job(const std::shared_ptr<Workbench>& bench, uint32_t side) {
  const auto rgb = std::make_shared<std::vector<uint8_t>>(gradient_picture(side, side));
  const std::string name = std::to_string(side) + "x" + std::to_string(side);
  return {.name = "first token " + name,
          .unit = "",
          .units = 1,
          .phase = "",
          .set_up = []() -> Status { return {}; },
          .prepare = [=] { return bench->session.clear(); },
          .run = [=]() -> Status {
            VL2_ASSIGN(const EncodedPicture picture, bench->session.encode({side, side, *rgb}, 1));
            const uint32_t count = picture.sequence.dim(0) + kQuestionBefore + kQuestionAfter;
            const PictureRun run{kQuestionBefore, &picture};
            VL2_TRY(bench->session.prefill(std::span(bench->ids).first(count), {&run, 1}));
            return bench->session.decode(1, {}).status();
          }};
}

}  // namespace

uint64_t bench_context(const BenchOptions& options, const Config& config) {
  uint64_t longest = 1;
  for (const uint32_t depth : options.depths) {
    for (const uint32_t count : options.prompts)
      longest = std::max(longest, uint64_t{depth} + count);
    for (const uint32_t count : options.generates)
      longest = std::max(longest, count == 0 ? 0 : uint64_t{depth} + 1 + count);
  }
  for (const uint32_t side : options.first_token)
    longest = std::max(longest, side == 0 ? 0 : first_token_length(side, config) + 1);
  return longest;
}

std::vector<PictureSize> bench_pictures(const BenchOptions& options, const Config& config) {
  const uint32_t side = config.vision.image_size;
  std::vector<PictureSize> sizes;
  for (const uint32_t views : options.views)
    if (views > 0)
      sizes.push_back({side * (std::max(views, 2u) - 1), side});
  for (const uint32_t square : options.first_token)
    if (square > 0)
      sizes.push_back({square, square});
  const auto weight = [&](const PictureSize& size) {
    const auto grid = tile_grid(size.width, size.height, config.candidate_resolutions, side, 1);
    return std::pair(grid.ok() ? grid->width * grid->height : 0, uint64_t{size.width} * size.height);
  };
  const auto most =
      std::max_element(sizes.begin(), sizes.end(), [&](const auto& a, const auto& b) { return weight(a) < weight(b); });
  return most == sizes.end() ? sizes : std::vector{*most};
}

Result<std::vector<BenchJob>> bench_jobs(Session& session, Engine& engine, const BenchOptions& options) {
  const auto ids =
      scattered_ids(static_cast<uint32_t>(bench_context(options, engine.config())), engine.config().language.vocab_size);
  const auto bench = std::make_shared<Workbench>(Workbench{session,
                                                           engine,
                                                           ids,
                                                           std::make_unique<Scratch>(engine.device().memory()),
                                                           {.temperature = options.temperature, .seed = 1}});
  std::vector<BenchJob> jobs;
  std::shared_ptr<BatchBench> batch;
  if (const auto most = std::max_element(options.batches.begin(), options.batches.end());
      most != options.batches.end() && *most > 0) {
    VL2_ASSIGN(batch, make_batch_bench(engine, *most));
  }
  for (const uint32_t depth : options.depths) {
    for (const uint32_t count : options.prompts)
      if (count > 0)
        jobs.push_back(prefill_job(bench, count, depth));
    for (const uint32_t count : options.generates)
      if (count > 0)
        jobs.push_back(decode_job(bench, count, depth));
    for (const uint32_t together : options.batches)
      for (const uint32_t count : options.generates)
        if (together > 0 && count > 0)
          jobs.push_back(batch_job(bench, batch, together, count, depth));
  }
  for (const uint32_t views : options.views)
    if (views > 0)
      jobs.push_back(vision_job(bench, views));
  for (const uint32_t side : options.first_token)
    if (side > 0)
      jobs.push_back(first_token_job(bench, side));
  return jobs;
}

Result<std::vector<BenchRow>> measure_jobs(std::vector<BenchJob>& jobs, uint32_t repeats, bool clocks_vary) {
  std::vector<BenchRow> rows;
  for (const BenchJob& job : jobs)
    rows.push_back({job.name, job.unit, job.units, {}});
  for (uint32_t pass = 0; pass < 2; ++pass) {
    const uint32_t runs = pass == 0 ? repeats - repeats / 2 : repeats / 2;
    for (size_t turn = 0; turn < jobs.size() && runs > 0; ++turn) {
      const size_t index = pass == 0 ? turn : jobs.size() - 1 - turn;
      BenchJob& job = jobs[index];
      VL2_TRY(job.set_up());
      // The first run also makes pipelines and buffers, in which time the clocks fall: it warms nothing. A CPU's need no second
      // warm-up.
      double warm = 0;
      for (uint32_t i = 0; warm < kWarmUpSeconds && (i == 0 || clocks_vary) && (pass == 0 || clocks_vary); ++i) {
        VL2_TRY(job.prepare());
        const auto begin = Clock::now();
        VL2_TRY(job.run());
        warm += i == 0 ? 0 : seconds_since(begin);
      }
      for (uint32_t i = 0; i < runs; ++i) {
        VL2_TRY(job.prepare());
        const auto begin = Clock::now();
        VL2_TRY(job.run());
        rows[index].seconds.push_back(seconds_since(begin));
      }
    }
  }
  return rows;
}

Result<std::vector<OpRow>> measure_ops(std::vector<BenchJob>& jobs, Recorder& session_recorder, bool by_shape) {
  std::vector<OpRow> rows;
  std::vector<std::string> phases = {"prefill", "decode", "vision"};
  for (const BenchJob& job : jobs)
    if (job.recorder != nullptr && std::find(phases.begin(), phases.end(), job.phase) == phases.end())
      phases.push_back(job.phase);
  for (const std::string& phase : phases) {
    BenchJob* chosen = nullptr;
    for (BenchJob& job : jobs)
      if (job.phase == phase && (chosen == nullptr || job.phase == "vision"))
        chosen = &job;
    if (chosen == nullptr)
      continue;
    VL2_TRY(chosen->set_up());
    VL2_TRY(chosen->prepare());
    VL2_TRY(chosen->run());  // the clocks are up again, and nothing is new to the device
    VL2_TRY(chosen->prepare());
    Recorder& recorder = chosen->recorder != nullptr ? *chosen->recorder : session_recorder;
    recorder.enable_timing(true);
    const Status status = chosen->run();
    recorder.enable_timing(false);
    const std::vector<DispatchTime> times = recorder.take_times();
    VL2_TRY(status);
    std::map<std::string, OpRow> totals;
    for (const DispatchTime& time : times) {
      std::string name = shader_code(time.shader).name;
      if (by_shape) {
        char cost[64];
        std::snprintf(cost, sizeof(cost), " %.3gMB %.3gMF", 1e-6 * static_cast<double>(time.cost.bytes),
                      1e-6 * static_cast<double>(time.cost.flops));
        name += cost;
      }
      OpRow& row = totals.try_emplace(name, OpRow{phase, name}).first->second;
      ++row.count;
      row.ns += time.ns;
      row.bytes += static_cast<double>(time.cost.bytes);
      row.flops += static_cast<double>(time.cost.flops);
    }
    std::vector<OpRow> sorted;
    for (auto& [name, row] : totals)
      if (row.ns > 0)
        sorted.push_back(std::move(row));
    std::sort(sorted.begin(), sorted.end(), [](const OpRow& a, const OpRow& b) { return a.ns > b.ns; });
    rows.insert(rows.end(), sorted.begin(), sorted.end());
  }
  return rows;
}

Result<BenchFloor> measure_floor(Device& device) {
  const bool cpu = device.caps().type == DeviceType::Cpu;
  const uint32_t side = cpu ? 512 : 4096;
  const uint64_t most = std::min(uint64_t{1} << (cpu ? 27 : 30), device.memory().available_bytes() / 4);
  const auto rows = std::max(static_cast<uint32_t>(most / 2 / side), side);
  VL2_ASSIGN(const auto pool, device.memory().allocate(uint64_t{rows} * side * 2, MemoryKind::Device, "weights of the floor"));
  VL2_ASSIGN(const auto in, device.memory().allocate(uint64_t{side} * side * 4, MemoryKind::Device, "input of the floor"));
  VL2_ASSIGN(const auto out,
             device.memory().allocate(uint64_t{std::max(rows, side * side)} * 4, MemoryKind::Device, "output of the floor"));
  const TensorView weight = make_view(*pool, DType::F16, {rows, side});
  Recorder rec(device);
  VL2_TRY(rec.fill(make_view(*pool, DType::U32, {rows * (side / 2)}), 0x1c001c00u));
  VL2_TRY(rec.fill(make_view(*in, DType::U32, {side * side}), 0));  // easy on the power: a few percent more than numbers give
  // Seconds of `passes` products of `count` rows of x with the first `columns` rows of the weight.
  const auto time = [&](uint32_t count, uint32_t columns, uint32_t passes) -> Result<double> {
    const TensorView x = make_view(*in, device.act(), {count, side}), y = make_view(*out, DType::F32, {count, columns});
    const TensorView w = weight.rows(0, columns);
    std::vector<double> seconds;
    double warm = 0;
    while (warm < kWarmUpSeconds || seconds.size() < 6) {
      const auto begin = Clock::now();
      for (uint32_t i = 0; i < passes; ++i)
        VL2_TRY(matmul(rec, x, w, y));
      VL2_TRY(rec.finish());
      seconds.push_back(seconds_since(begin));
      warm += seconds.size() == 1 ? 0 : seconds.back();
    }
    return median({seconds.end() - 5, seconds.end()}) / passes;
  };
  VL2_ASSIGN(const double read_seconds, time(1, rows, 8));
  VL2_ASSIGN(const double multiply_seconds, time(side, side, cpu ? 1 : 16));
  return BenchFloor{.read_gb_s = 2e-9 * rows * side / read_seconds, .gflop_s = 2e-9 * side * side * side / multiply_seconds};
}

}  // namespace vl2
