// Attention: of pictures, of prompts, and of one token over a cache.
#include <algorithm>
#include <cmath>

#include "app/selftest/checks.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/decode_attention.h"
#include "runtime/ops/mla_attention.h"
#include "runtime/ops/rope.h"

namespace vl2 {

namespace {

// Seen: in f32 2.5e-6, in f16 2.3e-3, of root mean squares of results. Planted fault: the newest key left out, 0.13 at the least.
constexpr double kAttentionLimit = 1e-2;

using Key = std::function<double(size_t key, size_t element)>;

// softmax(q keys^T scale) values over the first `count` keys, of one query and head.
std::vector<double> attended(const std::vector<double>& q, size_t count, double scale, const Key& key, size_t value_width,
                             const Key& value) {
  std::vector<double> scores(count), y(value_width);
  for (size_t s = 0; s < count; ++s) {
    for (size_t i = 0; i < q.size(); ++i)
      scores[s] += q[i] * key(s, i);
    scores[s] *= scale;
  }
  const double most = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores)
    sum += score = std::exp(score - most);
  for (size_t i = 0; i < value_width; ++i)
    for (size_t s = 0; s < count; ++s)
      y[i] += scores[s] / sum * value(s, i);
  return y;
}

std::vector<double> part(const std::vector<float>& values, size_t first, size_t count) {
  const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

void append(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

Result<CheckedNumbers> whole_heads(TestBed& bed, uint32_t tokens, uint32_t width, bool causal) {
  constexpr uint32_t kHeads = 3;
  const DType act = bed.device.act();
  const uint32_t stride = kHeads * width;
  const size_t count = size_t{tokens} * stride;
  const std::vector<float> q = some_numbers(count, 2, 21), k = some_numbers(count, 2, 22), v = some_numbers(count, 1, 23);
  VL2_ASSIGN(const TensorView q_view, bed.numbers(act, {1, tokens, kHeads, width}, q));
  VL2_ASSIGN(const TensorView k_view, bed.numbers(act, {1, tokens, kHeads, width}, k));
  VL2_ASSIGN(const TensorView v_view, bed.numbers(act, {1, tokens, kHeads, width}, v));
  VL2_ASSIGN(const TensorView y, bed.result(act, {1, tokens, kHeads, width}));
  const float scale = 1 / std::sqrt(static_cast<float>(width));
  VL2_TRY(attention(bed.rec, q_view, k_view, v_view, y, {.scale = scale, .causal = causal}));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t t = 0; t < tokens; ++t)
    for (size_t h = 0; h < kHeads; ++h) {
      const size_t at = h * width;
      append(numbers.wanted, attended(
                                 part(q, t * stride + at, width), causal ? t + 1 : tokens, static_cast<double>(scale),
                                 [&](size_t s, size_t i) { return static_cast<double>(k[s * stride + at + i]); }, width,
                                 [&](size_t s, size_t i) { return static_cast<double>(v[s * stride + at + i]); }));
    }
  return numbers;
}

struct Latents {
  static constexpr uint32_t kHeads = 4, kNope = 64, kRope = 32, kValue = 64, kLatent = 128, kWidth = kLatent + kRope,
                            kCapacity = 96;
};

Result<CheckedNumbers> mla_prefill(TestBed& bed, uint32_t tokens) {
  using L = Latents;
  constexpr size_t kQ = L::kNope + L::kRope, kKv = L::kNope + L::kValue;
  const DType act = bed.device.act();
  const std::vector<float> q = some_numbers(tokens * L::kHeads * kQ, 2, 24), kv = some_numbers(tokens * L::kHeads * kKv, 1, 25),
                           turned = some_numbers(size_t{tokens} * L::kRope, 2, 26);
  VL2_ASSIGN(const TensorView q_view, bed.numbers(act, {tokens, L::kHeads, kQ}, q));
  VL2_ASSIGN(const TensorView kv_view, bed.numbers(act, {tokens, L::kHeads, kKv}, kv));
  VL2_ASSIGN(const TensorView turned_view, bed.numbers(act, {tokens, L::kRope}, turned));
  VL2_ASSIGN(const TensorView y, bed.result(act, {tokens, L::kHeads, L::kValue}));
  const float scale = 1 / std::sqrt(static_cast<float>(kQ));
  VL2_TRY(mla_attention(bed.rec, q_view, kv_view, turned_view, y, {.scale = scale}));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t t = 0; t < tokens; ++t)
    for (size_t h = 0; h < L::kHeads; ++h) {
      const auto row = [&](size_t s, size_t i) { return static_cast<double>(kv[(s * L::kHeads + h) * kKv + i]); };
      append(numbers.wanted, attended(
                                 part(q, (t * L::kHeads + h) * kQ, kQ), t + 1, static_cast<double>(scale),
                                 [&](size_t s, size_t i) {
                                   return i < L::kNope ? row(s, i) : static_cast<double>(turned[s * L::kRope + i - L::kNope]);
                                 },
                                 L::kValue, [&](size_t s, size_t i) { return row(s, L::kNope + i); }));
    }
  return numbers;
}

// As the decode plan has it: on a CPU driver one group of lanes.
DecodeTuning tuning_of(const Device& device) {
  return {.groups = device.quirks().barriers_are_slow ? 1u : 0u};
}

Result<TensorView> zeros(TestBed& bed, uint32_t count) {
  return bed.words({count}, std::vector<uint32_t>(count, 0));
}

// Of the token at `position`, by the decode plan's kernels: on matrix units where the plan takes them.
Result<CheckedNumbers> mla_decode(TestBed& bed, uint32_t position) {
  using L = Latents;
  Device& device = bed.device;
  const DType act = device.act();
  const auto matrix = act == DType::F16 ? decode_matrix_shape(device.caps(), device.quirks(), device.tier(), L::kCapacity,
                                                              L::kWidth, L::kHeads, L::kLatent)
                                        : std::nullopt;
  const DecodeAttentionShape shape = decode_attention_shape(device.caps(), L::kCapacity, L::kWidth, L::kHeads, L::kHeads,
                                                            L::kLatent, L::kValue, tuning_of(device));
  const uint32_t splits = matrix ? matrix->splits : shape.splits,
                 rows = matrix ? matrix->head_tiles(L::kHeads) * matrix->shape.m : L::kHeads;
  const std::vector<float> q = some_numbers(size_t{rows} * L::kWidth, 2, 27),
                           cache = some_numbers(size_t{L::kCapacity} * L::kWidth, 1, 28);
  std::vector<float> kv_b = some_numbers(size_t{L::kHeads} * (L::kNope + L::kValue) * L::kLatent, 0.2f, 29);
  VL2_ASSIGN(const TensorView q_view, bed.numbers(matrix ? DType::F16 : DType::F32, {rows, L::kWidth}, q));
  VL2_ASSIGN(const TensorView cache_view, bed.numbers(act, {L::kCapacity, L::kWidth}, cache));
  VL2_ASSIGN(const TensorView kv_b_view, bed.weight(DType::F16, {L::kHeads * (L::kNope + L::kValue), L::kLatent}, kv_b));
  VL2_ASSIGN(const TensorView state, bed.words({decode_state_words()}, std::vector<uint32_t>{position, 0}));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {L::kHeads, L::kValue}));
  DecodeAttentionScratch scratch;
  VL2_ASSIGN(scratch.parts, bed.result(matrix ? DType::F16 : DType::F32, {L::kHeads, splits, L::kLatent}));
  VL2_ASSIGN(scratch.limits, bed.result(DType::F32, {L::kHeads, splits, 2}));
  VL2_ASSIGN(scratch.counter, zeros(bed, L::kHeads));
  const float scale = 1 / std::sqrt(static_cast<float>(L::kNope + L::kRope));
  if (matrix)
    VL2_TRY(decode_mla_matrix(bed.rec, q_view, cache_view, kv_b_view, state, scratch, y, scale, *matrix));
  else
    VL2_TRY(decode_mla_attention(bed.rec, q_view, cache_view, kv_b_view, state, scratch, y, scale, shape));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t h = 0; h < L::kHeads; ++h) {
    const auto row = [&](size_t s, size_t i) { return static_cast<double>(cache[s * L::kWidth + i]); };
    const std::vector<double> latent =
        attended(part(q, h * L::kWidth, L::kWidth), position + 1, static_cast<double>(scale), row, L::kLatent, row);
    for (size_t v = 0; v < L::kValue; ++v) {
      double sum = 0;
      for (size_t i = 0; i < L::kLatent; ++i)
        sum += latent[i] * static_cast<double>(kv_b[((h + 1) * (L::kNope + L::kValue) - L::kValue + v) * L::kLatent + i]);
      numbers.wanted.push_back(sum);
    }
  }
  return numbers;
}

// x with the pairs (i, i + width / 2) turned by the angles of a position.
std::vector<double> turned(const std::vector<double>& x, size_t position, double theta) {
  std::vector<double> y(x.size());
  const size_t half = x.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) * std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
    y[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
    y[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return y;
}

Result<CheckedNumbers> mha_decode(TestBed& bed, uint32_t position) {
  constexpr uint32_t kHeads = 3, kWidth = 64, kCapacity = 96, kAll = kHeads * kWidth;
  constexpr double kTheta = 10000;
  Device& device = bed.device;
  const DType act = device.act();
  const DecodeAttentionShape shape =
      decode_attention_shape(device.caps(), kCapacity, kWidth, kHeads, 1, kWidth, 0, tuning_of(device));
  const std::vector<float> qkv = some_numbers(3 * kAll, 2, 30), keys = some_numbers(size_t{kCapacity} * kAll, 2, 31),
                           values = some_numbers(size_t{kCapacity} * kAll, 1, 32), table = rope_table(kCapacity, kWidth, kTheta);
  VL2_ASSIGN(const TensorView qkv_view, bed.numbers(DType::F32, {3, kHeads, kWidth}, qkv));
  VL2_ASSIGN(const TensorView keys_view, bed.numbers(act, {kCapacity, kAll}, keys));
  VL2_ASSIGN(const TensorView values_view, bed.numbers(act, {kCapacity, kAll}, values));
  VL2_ASSIGN(const TensorView table_view, bed.numbers(DType::F32, {kCapacity, kWidth / 2, 2}, table));
  VL2_ASSIGN(const TensorView state, bed.words({decode_state_words()}, std::vector<uint32_t>{position, 0}));
  VL2_ASSIGN(const TensorView y, bed.result(DType::F32, {kHeads, kWidth}));
  DecodeAttentionScratch scratch;
  VL2_ASSIGN(scratch.parts, bed.result(DType::F32, {kHeads, shape.splits, kWidth}));
  VL2_ASSIGN(scratch.limits, bed.result(DType::F32, {kHeads, shape.splits, 2}));
  VL2_ASSIGN(scratch.counter, zeros(bed, kHeads));
  const float scale = 1 / std::sqrt(static_cast<float>(kWidth));
  VL2_TRY(decode_mha_attention(bed.rec, qkv_view, keys_view, values_view, table_view, state, scratch, y, scale, shape));
  CheckedNumbers numbers;
  VL2_ASSIGN(numbers.got, bed.read(y));
  for (size_t h = 0; h < kHeads; ++h) {
    const std::vector<double> q = turned(part(qkv, h * kWidth, kWidth), position, kTheta),
                              newest = turned(part(qkv, kAll + h * kWidth, kWidth), position, kTheta);
    append(
        numbers.wanted,
        attended(
            q, position + 1, static_cast<double>(scale),
            [&](size_t s, size_t i) { return s == position ? newest[i] : static_cast<double>(keys[s * kAll + h * kWidth + i]); },
            kWidth,
            [&](size_t s, size_t i) {
              return static_cast<double>(s == position ? qkv[2 * kAll + h * kWidth + i] : values[s * kAll + h * kWidth + i]);
            }));
  }
  return numbers;
}

}  // namespace

void add_attention_checks(const Device& device, std::vector<Check>& checks) {
  const std::string type = std::string(", ") + dtype_name(device.act());
  const auto add = [&](const std::string& name, std::function<Result<CheckedNumbers>(TestBed&)> run) {
    checks.push_back({name + type, kAttentionLimit, std::move(run)});
  };
  add("attention of a picture, 50 patches, heads of 72", [](TestBed& bed) { return whole_heads(bed, 50, 72, false); });
  add("attention of a prompt, 40 tokens, heads of 64", [](TestBed& bed) { return whole_heads(bed, 40, 64, true); });
  add("mla_attention of a prompt, 40 tokens", [](TestBed& bed) { return mla_prefill(bed, 40); });
  for (const uint32_t position : {0u, 77u}) {
    const std::string where = " of token " + std::to_string(position);
    add("decode_mla_attention" + where, [=](TestBed& bed) { return mla_decode(bed, position); });
    add("decode_mha_attention" + where, [=](TestBed& bed) { return mha_decode(bed, position); });
  }
}

}  // namespace vl2
