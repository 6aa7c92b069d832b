#include "runtime/ops/sample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "shaders/interface/sample.h"

namespace vl2 {

namespace {

Status check_options(const SampleOptions& options) {
  if (!std::isfinite(options.temperature) || options.temperature < 0)
    return fail(Code::BadArgument, "sample: temperature ", options.temperature, " must be 0 or more and finite");
  if (!(options.top_p >= 0 && options.top_p <= 1))
    return fail(Code::BadArgument, "sample: top_p ", options.top_p, " must be 0 .. 1");
  if (!(options.min_p >= 0 && options.min_p <= 1))
    return fail(Code::BadArgument, "sample: min_p ", options.min_p, " must be 0 .. 1");
  if (!options.position.empty() && (options.position.dtype != DType::U32 || options.position.element_count() == 0))
    return fail(Code::BadArgument, "sample: position ", options.position, " must be u32 and not empty");
  if (!std::isfinite(options.repetition_penalty) || options.repetition_penalty <= 0)
    return fail(Code::BadArgument, "sample: repetition_penalty ", options.repetition_penalty, " must be above 0 and finite");
  return {};
}

Status check_views(const TensorView& logits, const TensorView& seen, bool needs_seen, const TensorView& mask,
                   const SampleScratch& scratch, const TensorView& token) {
  if (logits.rank() != 1 || !logits.contiguous() || logits.dim(0) == 0 || logits.dim(0) >= 1u << 28)
    return fail(Code::BadShape, "sample: logits ", logits, " must be [vocab_size], adjacent, 1 .. 2^28 - 1");
  if (needs_seen && seen.empty())
    return fail(Code::BadShape, "sample: repetition_penalty and update_seen need a view of seen");
  if (!seen.empty() && (seen.rank() != 1 || seen.dim(0) != seen_words(logits.dim(0)) || !seen.contiguous()))
    return fail(Code::BadShape, "sample: seen ", seen, " must be [", seen_words(logits.dim(0)), "], a bit for each of logits ",
                logits);
  if (!mask.empty() && (mask.rank() != 1 || mask.dim(0) != seen_words(logits.dim(0)) || !mask.contiguous()))
    return fail(Code::BadShape, "sample: mask ", mask, " must be [", seen_words(logits.dim(0)), "], a bit for each of logits ",
                logits);
  if (scratch.words.rank() != 1 || scratch.words.dim(0) < SAMPLE_SCRATCH_WORDS || !scratch.words.contiguous())
    return fail(Code::BadShape, "sample: scratch ", scratch.words, " must be [", SAMPLE_SCRATCH_WORDS, "]");
  if (token.rank() != 1 || token.dim(0) != 1)
    return fail(Code::BadShape, "sample: token ", token, " must be [1]");
  if (logits.dtype != DType::F32 || scratch.words.dtype != DType::U32 || token.dtype != DType::U32 ||
      (!seen.empty() && seen.dtype != DType::U32) || (!mask.empty() && mask.dtype != DType::U32))
    return fail(Code::BadDType, "sample: logits must be f32, seen, mask, scratch and token u32, got ", logits, ", ", seen, ", ",
                mask, ", ", scratch.words, ", ", token);
  return {};
}

/// top_p below 1 in units of 2^-32, rounded up: exact from 2^-8 on, since a float has 24 bits.
uint32_t scale_top_p(float top_p) {
  return static_cast<uint32_t>(std::ceil(std::ldexp(static_cast<double>(top_p), 32)));
}

SampleParams params_of(const SampleOptions& options, uint32_t vocab_size) {
  const uint32_t wanted_blocks = std::min((vocab_size - 1) / SAMPLE_BLOCK_IDS + 1, SAMPLE_MAX_BLOCKS);
  const uint32_t block_ids = (vocab_size - 1) / wanted_blocks + 1;
  const bool use_top_p = options.top_p < 1;
  return {.vocab_size = vocab_size,
          .blocks = (vocab_size - 1) / block_ids + 1,
          .block_ids = block_ids,
          .logits_offset = 0,
          .seen_offset = 0,
          .token_offset = 0,
          .use_penalty = options.repetition_penalty != 1 ? 1u : 0u,
          .update_seen = options.update_seen ? 1u : 0u,
          .penalty = options.repetition_penalty,
          .temperature = options.temperature,
          .min_p = options.min_p,
          .top_k = options.top_k < vocab_size ? options.top_k : 0,
          .use_top_p = use_top_p ? 1u : 0u,
          .top_p_scaled = use_top_p ? scale_top_p(options.top_p) : 0,
          .pass = 0,
          .seed_low = static_cast<uint32_t>(options.seed),
          .seed_high = static_cast<uint32_t>(options.seed >> 32),
          .step = options.step,
          .use_position = !options.position.empty(),
          .use_mask = !options.mask.empty(),
          .mask_offset = 0};
}

}  // namespace

uint32_t sample_scratch_words() {
  return SAMPLE_SCRATCH_WORDS;
}

namespace {

// One dispatch of a row's.
struct Pass {
  ShaderId shader;
  uint32_t histogram = 0;
};

std::vector<Pass> passes_of(const SampleOptions& options, const SampleParams& params) {
  if (options.temperature == 0)
    return {{ShaderId::sample_max}, {ShaderId::sample_argmax}};
  std::vector<Pass> passes = {{ShaderId::sample_max}};
  for (uint32_t i = 0; i < SAMPLE_HISTOGRAMS; ++i) {
    const bool wanted_by_top_k = i < SAMPLE_LEVELS && params.top_k != 0;
    const bool wanted_by_top_p = (i == 0 || i >= SAMPLE_LEVELS) && params.use_top_p != 0;
    if (!wanted_by_top_k && !wanted_by_top_p)
      continue;
    passes.push_back({ShaderId::sample_histogram, i});
    passes.push_back({ShaderId::sample_descend, i});
  }
  passes.push_back({ShaderId::sample_sums});
  passes.push_back({ShaderId::sample_draw});
  return passes;
}

Status record_pass(Recorder& rec, const SampleRow& row, SampleParams params, const Pass& pass) {
  const AlignedView logits = rec.aligned(row.logits), seen = rec.aligned(row.seen), token = rec.aligned(row.token),
                    mask = rec.aligned(row.options.mask);
  params.logits_offset = logits.remainder;
  params.seen_offset = seen.remainder;
  params.token_offset = token.remainder;
  params.mask_offset = mask.remainder;
  params.pass = pass.histogram;
  const TensorView& words = row.scratch.words;
  const Cost all_logits{.bytes = 4 * row.logits.element_count(), .flops = 4 * row.logits.element_count()};
  const Cost one_block{.bytes = 4 * uint64_t{params.block_ids}, .flops = 4 * uint64_t{params.block_ids}};
  switch (pass.shader) {
    case ShaderId::sample_argmax:
      return rec.dispatch(pass.shader, {words, seen.view, TensorView{}, token.view}, params, Groups{}, Cost{});
    case ShaderId::sample_descend: return rec.dispatch(pass.shader, {words}, params, Groups{}, Cost{});
    case ShaderId::sample_draw:
      return rec.dispatch(pass.shader, {words, seen.view, logits.view, token.view, row.options.position, mask.view}, params,
                          Groups{}, one_block);
    default:
      return rec.dispatch(pass.shader, {words, seen.view, logits.view, {}, {}, mask.view}, params, Groups{.x = params.blocks},
                          all_logits);
  }
}

}  // namespace

Status sample_rows(Recorder& rec, std::span<const SampleRow> rows) {
  std::vector<SampleParams> params;
  std::vector<std::vector<Pass>> passes;
  size_t most = 0;
  for (const SampleRow& row : rows) {
    VL2_TRY(check_options(row.options));
    const bool needs_seen = row.options.update_seen || row.options.repetition_penalty != 1;
    VL2_TRY(check_views(row.logits, row.seen, needs_seen, row.options.mask, row.scratch, row.token));
    params.push_back(params_of(row.options, row.logits.dim(0)));
    passes.push_back(passes_of(row.options, params.back()));
    most = std::max(most, passes.back().size());
  }
  for (size_t pass = 0; pass < most; ++pass)
    for (size_t i = 0; i < rows.size(); ++i)
      if (pass < passes[i].size())
        VL2_TRY(record_pass(rec, rows[i], params[i], passes[i][pass]));
  return {};
}

Status sample(Recorder& rec, const TensorView& logits, const TensorView& seen, const SampleOptions& options,
              const SampleScratch& scratch, const TensorView& token) {
  const SampleRow row{logits, seen, options, scratch, token};
  return sample_rows(rec, std::span(&row, 1));
}

}  // namespace vl2
