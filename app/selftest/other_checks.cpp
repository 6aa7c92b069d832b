// What stands between products and attention: norms, the router, rotation, choice of a token, the resize of pictures.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/selftest/checks.h"
#include "model/tiling.h"
#include "runtime/ops/decode_router.h"
#include "runtime/ops/embed_tokens.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/pad_resize.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/router.h"
#include "runtime/ops/sample.h"
#include "runtime/ops/swiglu.h"

namespace vl2 {

namespace {

// Of results in f32: seen 5.5e-7. Planted fault: the last of 1160 numbers left out of a mean 1.9e-3, one of 64 experts left out of the
// sum 4.8e-4.
constexpr double kFloatLimit = 5e-5;
// Of results stored in f16, of which each is exact to 4.9e-4: seen 1.2e-3.
constexpr double kHalfLimit = 6e-3;

constexpr uint32_t kRows = 5, kWidth = 1160;

double limit_of(const Device& device) {
  return device.act() == DType::F16 ? kHalfLimit : kFloatLimit;
}

double square_mean(const float* x, size_t count, double mean) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i)
    sum += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  return sum / static_cast<double>(count);
}

Result<CheckedNumbers> check_norm(TestBed& bed, bool layer) {
  const std::vector<float> x = some_numbers(kRows * kWidth, 3, 41), weight = some_numbers(kWidth, 1, 42),
                           bias = some_numbers(kWidth, 1, 43);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(DType::F32, {kRows, kWidth}, x));
  VL2_ASSIGN(const TensorView weight_view, bed.numbers(DType::F32, {kWidth}, weight));
  VL2_ASSIGN(const TensorView bias_view, bed.numbers(DType::F32, {kWidth}, bias));
  VL2_ASSIGN(const TensorView y, bed.result(bed.device.act(), {kRows, kWidth}));
  if (layer)
    VL2_TRY(layer_norm(bed.rec, x_view, weight_view, bias_view, y, 1e-6f));
  else
    VL2_TRY(rms_norm(bed.rec, x_view, weight_view, y, 1e-6f));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t row = 0; row < kRows; ++row) {
    const float* const from = x.data() + row * kWidth;
    const double mean = layer ? std::accumulate(from, from + kWidth, 0.0) / kWidth : 0;
    const double factor = 1 / std::sqrt(square_mean(from, kWidth, mean) + 1e-6);
    for (size_t i = 0; i < kWidth; ++i)
      numbers.wanted.push_back((static_cast<double>(from[i]) - mean) * factor * static_cast<double>(weight[i]) +
                               (layer ? static_cast<double>(bias[i]) : 0));
  }
  return numbers;
}

Result<CheckedNumbers> check_swiglu(TestBed& bed) {
  const DType act = bed.device.act();
  const std::vector<float> x = some_numbers(kRows * kWidth, 4, 44);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(act, {kRows, kWidth}, x));
  VL2_ASSIGN(const TensorView y, bed.result(act, {kRows, kWidth / 2}));
  VL2_TRY(swiglu(bed.rec, x_view, y));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t row = 0; row < kRows; ++row)
    for (size_t i = 0; i < kWidth / 2; ++i) {
      const auto gate = static_cast<double>(x[row * kWidth + i]), up = static_cast<double>(x[row * kWidth + kWidth / 2 + i]);
      numbers.wanted.push_back(gate / (1 + std::exp(-gate)) * up);
    }
  return numbers;
}

Result<CheckedNumbers> check_rope(TestBed& bed) {
  constexpr uint32_t kTokens = 9, kHeads = 2, kDims = 64, kFirst = 1000;
  constexpr double kTheta = 10000;
  const std::vector<float> x = some_numbers(kTokens * kHeads * kDims, 2, 45), table = rope_table(kFirst + kTokens, kDims, kTheta);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(DType::F32, {kTokens, kHeads, kDims}, x));
  VL2_ASSIGN(const TensorView table_view, bed.numbers(DType::F32, {kFirst + kTokens, kDims / 2, 2}, table));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {kTokens, kHeads, kDims}));
  VL2_TRY(rope(bed.rec, x_view, table_view, y, {.first_position = kFirst, .layout = RopeLayout::Interleaved}));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t i = 0; i < x.size(); i += 2) {
    const double position = static_cast<double>(kFirst + i / (kHeads * kDims)), pair = static_cast<double>(i % kDims) / 2;
    const double angle = position * std::pow(kTheta, -2 * pair / kDims), a = static_cast<double>(x[i]),
                 b = static_cast<double>(x[i + 1]);
    numbers.wanted.push_back(a * std::cos(angle) - b * std::sin(angle));
    numbers.wanted.push_back(b * std::cos(angle) + a * std::sin(angle));
  }
  return numbers;
}

// ---- The router ------------------------------------------------------------------------------------------------------------------

constexpr uint32_t kExperts = 64;
constexpr double kWeightScale = 100;  // so that weights count beside ids

// What the router chose, as route() has it.
Result<std::vector<float>> chosen(TestBed& bed, const TensorView& ids, const TensorView& weights) {
  VL2_ASSIGN(std::vector<float> all, bed.read(ids));
  VL2_ASSIGN(const std::vector<float> shares, bed.read(weights));
  for (const float share : shares)
    all.push_back(static_cast<float>(kWeightScale) * share);
  return all;
}

// The ids and weights of one token: appended to `ids` and `weights`.
void route(const std::vector<double>& logits, const std::vector<float>& bias, const RouterOptions& options,
           std::vector<double>& ids, std::vector<double>& weights) {
  std::vector<double> scores(logits.size());
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits)
    sum += std::exp(logit - most);
  for (size_t e = 0; e < logits.size(); ++e)
    scores[e] = options.scoring == Scoring::Softmax ? std::exp(logits[e] - most) / sum : 1 / (1 + std::exp(-logits[e]));
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto choice = [&](size_t e) { return scores[e] + (bias.empty() ? 0 : static_cast<double>(bias[e])); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return choice(a) > choice(b); });
  double sum_chosen = 0;
  for (size_t i = 0; i < options.top_k; ++i)
    sum_chosen += scores[order[i]];
  for (size_t i = 0; i < options.top_k; ++i) {
    ids.push_back(static_cast<double>(order[i]));
    weights.push_back(kWeightScale * scores[order[i]] / (options.norm_topk_prob ? sum_chosen : 1) *
                      static_cast<double>(options.routed_scaling_factor));
  }
}

RouterOptions router_options(bool sigmoid) {
  return {.top_k = 6,
          .scoring = sigmoid ? Scoring::Sigmoid : Scoring::Softmax,
          .norm_topk_prob = sigmoid,
          .routed_scaling_factor = sigmoid ? 2.5f : 1};
}

Result<CheckedNumbers> check_router(TestBed& bed, bool sigmoid) {
  constexpr uint32_t kTokens = 20;
  const RouterOptions options = router_options(sigmoid);
  const std::vector<float> logits = some_numbers(kTokens * kExperts, 4, 46),
                           bias = sigmoid ? some_numbers(kExperts, 0.2f, 47) : std::vector<float>();
  VL2_ASSIGN(const TensorView logits_view, bed.numbers(DType::F32, {kTokens, kExperts}, logits));
  TensorView bias_view;
  if (sigmoid) {
    VL2_ASSIGN(bias_view, bed.numbers(DType::F32, {kExperts}, bias));
  }
  VL2_ASSIGN(const TensorView ids, bed.result(DType::U32, {kTokens, options.top_k}));
  VL2_ASSIGN(const TensorView weights, bed.result(DType::F32, {kTokens, options.top_k}));
  VL2_TRY(router(bed.rec, logits_view, bias_view, options, ids, weights));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, chosen(bed, ids, weights));
  std::vector<double> wanted_weights;
  for (size_t t = 0; t < kTokens; ++t) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(t * kExperts);
    route({row, row + kExperts}, bias, options, numbers.wanted, wanted_weights);
  }
  numbers.wanted.insert(numbers.wanted.end(), wanted_weights.begin(), wanted_weights.end());
  return numbers;
}

Result<CheckedNumbers> check_decode_router(TestBed& bed) {
  constexpr uint32_t kHidden = 512;
  const RouterOptions options = router_options(false);
  Device& device = bed.device;
  const std::vector<float> x = some_numbers(kHidden, 2, 48), norm = some_numbers(kHidden, 1, 49),
                           weight = some_numbers(kExperts * kHidden, 0.3f, 50);
  VL2_ASSIGN(const TensorView x_view, bed.numbers(DType::F32, {kHidden}, x));
  VL2_ASSIGN(const TensorView norm_view, bed.numbers(DType::F32, {kHidden}, norm));
  VL2_ASSIGN(const TensorView weight_view, bed.numbers(DType::F32, {kExperts, kHidden}, weight));
  VL2_ASSIGN(const TensorView logits, bed.result(DType::F32, {kExperts}));
  VL2_ASSIGN(const TensorView counter, bed.words({1}, std::vector<uint32_t>{0}));
  VL2_ASSIGN(const TensorView ids, bed.result(DType::U32, {options.top_k}));
  VL2_ASSIGN(const TensorView weights, bed.result(DType::F32, {options.top_k}));
  VL2_TRY(decode_router(bed.rec, x_view, norm_view, 1e-6f, weight_view, {}, options, logits, counter, ids, weights,
                        decode_gemv_group(device.caps(), device.quirks(), kExperts, kHidden, DType::F32, false)));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, chosen(bed, ids, weights));
  const double factor = 1 / std::sqrt(square_mean(x.data(), kHidden, 0) + 1e-6);
  std::vector<double> row(kExperts), wanted_weights;
  for (size_t e = 0; e < kExperts; ++e)
    for (size_t i = 0; i < kHidden; ++i)
      row[e] += static_cast<double>(weight[e * kHidden + i]) * static_cast<double>(x[i]) * factor * static_cast<double>(norm[i]);
  route(row, {}, options, numbers.wanted, wanted_weights);
  numbers.wanted.insert(numbers.wanted.end(), wanted_weights.begin(), wanted_weights.end());
  return numbers;
}

// ---- Tokens and pictures ----------------------------------------------------------------------------------------------------------

Result<CheckedNumbers> check_embedding(TestBed& bed) {
  constexpr uint32_t kTokens = 300, kHidden = 256;
  const std::vector<uint32_t> ids = {299, 0, 17, 17, 150};
  const auto count = static_cast<uint32_t>(ids.size());
  std::vector<float> table = some_numbers(kTokens * kHidden, 1, 51);
  VL2_ASSIGN(const TensorView table_view, bed.weight(DType::Q8_0, {kTokens, kHidden}, table));
  VL2_ASSIGN(const TensorView ids_view, bed.words({count}, ids));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {count, kHidden}));
  VL2_TRY(embed_tokens(bed.rec, table_view, ids_view, y));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (const size_t id : ids)
    for (size_t i = 0; i < kHidden; ++i)
      numbers.wanted.push_back(static_cast<double>(table[id * kHidden + i]));
  return numbers;
}

// The likeliest token, and the likeliest that a mask leaves.
Result<CheckedNumbers> check_sample(TestBed& bed) {
  constexpr uint32_t kTokens = 102400;
  const std::vector<float> logits = some_numbers(kTokens, 9, 52);
  std::vector<uint32_t> allowed(seen_words(kTokens));
  for (uint32_t id = 0; id < kTokens; id += 3)
    allowed[id / 32] |= 1u << id % 32;
  VL2_ASSIGN(const TensorView logits_view, bed.numbers(DType::F32, {kTokens}, logits));
  VL2_ASSIGN(const TensorView mask, bed.words({seen_words(kTokens)}, allowed));
  VL2_ASSIGN(const TensorView words, bed.result(DType::U32, {sample_scratch_words()}));
  VL2_ASSIGN(const TensorView tokens, bed.result(DType::U32, {2}));
  VL2_TRY(sample(bed.rec, logits_view, {}, {}, {words}, tokens.rows(0, 1)));
  VL2_TRY(sample(bed.rec, logits_view, {}, {.mask = mask}, {words}, tokens.rows(1, 1)));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(tokens));
  for (const size_t step : {1, 3}) {
    size_t best = 0;
    for (size_t id = 0; id < kTokens; id += step)
      if (logits[id] > logits[best])
        best = id;
    numbers.wanted.push_back(static_cast<double>(best));
  }
  return numbers;
}

// One pass of the resize along rows of `in` pixels that stand `stride` apart.
uint8_t resampled(const ResampleTable& table, size_t out, const uint8_t* row, size_t stride) {
  int64_t sum = 1 << 21;
  for (size_t i = 0; i < static_cast<size_t>(table.bounds[2 * out + 1]); ++i)
    sum += int64_t{table.weights[out * table.taps + i]} * row[(static_cast<size_t>(table.bounds[2 * out]) + i) * stride];
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> 22, 0, 255));
}

Result<ResampleAxis> axis_of(TestBed& bed, const ResampleTable& table, uint32_t out) {
  ResampleAxis axis;
  const std::vector<uint32_t> bounds(table.bounds.begin(), table.bounds.end()),
      weights(table.weights.begin(), table.weights.end());
  VL2_ASSIGN(axis.bounds, bed.words({out, 2}, bounds));
  VL2_ASSIGN(axis.weights, bed.words({out, table.taps}, weights));
  axis.weights.dtype = DType::I32;
  return axis;
}

Result<CheckedNumbers> check_resize(TestBed& bed) {
  constexpr uint32_t kWide = 150, kHigh = 90, kSide = 96, kFit = 58, kTop = 19;
  std::vector<uint8_t> picture(kWide * kHigh * 3);
  const std::vector<float> random = some_numbers(picture.size(), 1, 53);
  for (size_t i = 0; i < picture.size(); ++i)
    picture[i] = static_cast<uint8_t>(127.5f + 127.4f * random[i]);
  const ResampleTable across = precompute_bicubic(kWide, kSide), down = precompute_bicubic(kHigh, kFit);
  VL2_ASSIGN(const TensorView picture_view, bed.bytes({kHigh, kWide, 3}, picture));
  VL2_ASSIGN(const TensorView canvas, bed.result(DType::U8, {kSide, kSide, 3}));
  PadResize resize{.fit_width = kSide, .fit_height = kFit, .x = 0, .y = kTop};
  VL2_ASSIGN(resize.horizontal, axis_of(bed, across, kSide));
  VL2_ASSIGN(resize.vertical, axis_of(bed, down, kFit));
  VL2_ASSIGN(resize.scratch, bed.result(DType::U8, {kHigh, kSide, 3}));
  VL2_TRY(pad_resize(bed.rec, picture_view, resize, canvas));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(canvas));
  std::vector<uint8_t> narrow(kHigh * kSide * 3);
  for (size_t y = 0; y < kHigh; ++y)
    for (size_t i = 0; i < kSide * 3; ++i)
      narrow[y * kSide * 3 + i] = resampled(across, i / 3, &picture[y * kWide * 3 + i % 3], 3);
  for (size_t y = 0; y < kSide; ++y)
    for (size_t i = 0; i < kSide * 3; ++i)
      numbers.wanted.push_back(y >= kTop && y < kTop + kFit ? resampled(down, y - kTop, &narrow[i], kSide * 3) : 127);
  return numbers;
}

}  // namespace

void add_other_checks(const Device& device, std::vector<Check>& checks) {
  const std::string type = std::string(", ") + dtype_name(device.act());
  checks.push_back({"rms_norm 5 rows of 1160" + type, limit_of(device), [](TestBed& bed) { return check_norm(bed, false); }});
  checks.push_back({"layer_norm 5 rows of 1160" + type, limit_of(device), [](TestBed& bed) { return check_norm(bed, true); }});
  checks.push_back({"swiglu 5 rows of 1160" + type, limit_of(device), check_swiglu});
  checks.push_back({"rope from position 1000", kFloatLimit, check_rope});
  checks.push_back({"router softmax, 6 of 64 experts", kFloatLimit, [](TestBed& bed) { return check_router(bed, false); }});
  checks.push_back(
      {"router sigmoid with bias, 6 of 64 experts", kFloatLimit, [](TestBed& bed) { return check_router(bed, true); }});
  checks.push_back({"decode_router, 6 of 64 experts", kFloatLimit, check_decode_router});
  checks.push_back({"embed_tokens, weights q8_0", kFloatLimit, check_embedding});
  checks.push_back({"sample, the likeliest of 102400", 0, check_sample});
  checks.push_back({"pad_resize 150 x 90 onto 96 x 96", 0, check_resize});
}

}  // namespace vl2
