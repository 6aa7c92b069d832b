#include "runtime/decode_tuning.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <numeric>
#include <string>

#include "runtime/tuning.h"

namespace vl2 {

namespace {

constexpr uint32_t kBytesInFlight = 128;      // an invocation's: with 500 invocations a core 64 KiB, twice what latency asks for
constexpr double kDeviceBytesInFlight = 6e6;  // what 4.5 TB/s at a microsecond of latency takes, and more than smaller cards need
constexpr uint32_t kAttentionGroups = 256;    // workgroups: what fills a card of 132 cores twice
constexpr uint32_t kSplitKeys = 64;           // before another workgroup is worth merging its result
constexpr uint32_t kGemvGroups = 264;         // two for each of 132 cores
constexpr uint32_t kAttentionThreads = 256;
constexpr uint32_t kAttentionSharedBytes = 31 * 1024;
constexpr uint32_t kWeightLanes = 8;               // DECODE_ATTENTION_WEIGHT_LANES
constexpr uint32_t kSharedRowBytes = 3 * 512 * 4;  // of decode_mha_attention: the token's query, key and value

constexpr uint32_t kMatrixSubgroups = 8;      // of a workgroup that has a core of 48 KiB for itself
constexpr uint32_t kMatrixKeys = 32;          // 576 wide: 37 KiB
constexpr uint32_t kMatrixSplits = 64;        // at 64 keys each one for 4096
constexpr uint32_t kValueRows = 16;           // 8 workgroups a head of 128

uint32_t ceil_div(uint32_t a, uint32_t b) {
  return (a + b - 1) / b;
}

}  // namespace

Result<DecodeTuning> parse_decode_tuning(std::string_view text) {
  DecodeTuning tuning;
  const std::pair<std::string_view, uint32_t*> fields[] = {
      {"threads", &tuning.threads}, {"rows", &tuning.rows},     {"unroll", &tuning.unroll}, {"heads", &tuning.heads},
      {"keys", &tuning.keys},       {"splits", &tuning.splits}, {"groups", &tuning.groups}, {"tiles", &tuning.tiles},
      {"apart", &tuning.apart},     {"matrix", &tuning.matrix}, {"subgroups", &tuning.subgroups},
      {"values", &tuning.values}};
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = std::min(word.find('='), word.size());
    uint32_t value = 0;
    const std::string_view digits = word.substr(std::min(equals + 1, word.size()));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const auto* field =
        std::find_if(std::begin(fields), std::end(fields), [&](const auto& f) { return f.first == word.substr(0, equals); });
    if (field == std::end(fields) || error != std::errc{} || end != digits.data() + digits.size())
      return fail(Code::BadArgument, "VL2_DECODE_TUNING: got \"", std::string(word), "\", wanted name=number of a known name");
    *field->second = value;
  }
  return tuning;
}

DecodeGemvGroup decode_gemv_group(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows, uint32_t k, uint32_t chunk_bytes,
                                  const DecodeTuning& tuning) {
  const uint32_t chunks = k / 8, subgroup = std::max(caps.subgroup_size, 4u);
  if (quirks.barriers_are_slow)
    return {.threads = subgroup, .rows = 4, .unroll = 1, .one_subgroup = true};
  // The number of invocations whose turns fit K best, of those that leave each two chunks and put enough bytes in flight.
  const uint32_t most = std::min(256u, caps.max_workgroup_invocations);
  DecodeGemvGroup group{.threads = subgroup, .rows = 4, .unroll = 1, .one_subgroup = false};
  double best = -1;
  for (uint32_t threads = subgroup; threads <= most; threads += subgroup) {
    const uint32_t turns = ceil_div(chunks, threads), unroll = std::min(turns, 2u);
    double score = static_cast<double>(chunks) / (turns * threads);
    score -= threads < std::min(64u, most) || turns < 2 ? 0.05 : 0;
    score -= threads > 128 ? 0.03 : 0;
    const double in_flight = static_cast<double>(rows) * threads * unroll * chunk_bytes;
    score -= 0.2 * std::max(0.0, 1 - in_flight / kDeviceBytesInFlight);
    if (score > best) {
      best = score;
      group.threads = threads;
      group.unroll = unroll;
    }
  }
  if (tuning.threads != 0)
    group.threads = std::min(ceil_div(tuning.threads, subgroup) * subgroup, most);
  if (tuning.threads != 0)
    group.unroll = std::min(ceil_div(chunks, group.threads), 2u);
  if (tuning.unroll != 0)
    group.unroll = tuning.unroll;
  group.rows = std::clamp(kBytesInFlight / chunk_bytes / group.unroll, 2u, 8u) / 2 * 2;
  if (tuning.rows != 0)
    group.rows = std::max(tuning.rows / 2 * 2, 2u);
  while (group.rows > 2 && rows / group.rows < kGemvGroups)  // a matrix of few rows: rather more workgroups
    group.rows -= 2;
  return group;
}

uint32_t decode_attention_parts(const DecodeAttentionShape& shape, uint32_t latent, uint32_t value_width) {
  return std::max({shape.groups * shape.keys * shape.heads * (shape.lanes + 1), shape.groups > 1 ? shape.groups * latent : 0,
                   shape.heads * value_width * kWeightLanes});
}

DecodeAttentionShape decode_attention_shape(const DeviceCaps& caps, uint32_t capacity, uint32_t depth, uint32_t heads,
                                            uint32_t shared_heads, uint32_t latent, uint32_t value_width,
                                            const DecodeTuning& tuning) {
  const uint32_t chunks = depth / 8, most = std::min(kAttentionThreads, caps.max_workgroup_invocations);
  DecodeAttentionShape shape{};
  shape.lane_chunks = ceil_div(chunks, 36);
  shape.lanes = ceil_div(chunks, shape.lane_chunks);
  shape.keys = tuning.keys != 0 ? tuning.keys : 4;
  shape.heads = std::min(shared_heads, tuning.heads != 0 ? tuning.heads : 2u);
  shape.groups = std::max(1u, most / shape.lanes);
  if (tuning.groups != 0)
    shape.groups = std::min(shape.groups, tuning.groups);
  const uint32_t fewest = ceil_div(kWeightLanes, shape.lanes);  // that many invocations share a row of W_UV
  shape.groups = std::max(shape.groups, fewest);
  const uint32_t head_groups = ceil_div(heads, shape.heads);
  const auto finish = [&] {
    const uint32_t tiles = ceil_div(capacity, shape.groups * shape.keys);
    shape.splits = std::clamp(tuning.splits != 0 ? tuning.splits : kAttentionGroups / head_groups, 1u, std::min(tiles, 64u));
    shape.split_tiles = tuning.tiles != 0 ? tuning.tiles : ceil_div(kSplitKeys, shape.groups * shape.keys);
    const uint32_t threads = shape.groups * shape.lanes;  // whose slices of a merge have 20 bytes each
    return 4 * decode_attention_parts(shape, latent, value_width) + 4 * shape.groups * shape.keys * shape.heads +
           8 * shape.groups * shape.heads + 20 * threads + 4 * shape.heads * latent +
           (shared_heads == 1 ? kSharedRowBytes : 0);
  };
  const uint32_t room = std::min(kAttentionSharedBytes, caps.max_shared_bytes - 1024);
  while (finish() > room && shape.groups > fewest)
    --shape.groups;
  while (finish() > room && shape.heads > 1)
    --shape.heads;
  return shape;
}

uint32_t DecodeMatrixShape::depth_parts() const {
  const uint32_t key_tiles = keys / shape.n;
  return subgroups / std::min(subgroups, key_tiles & (~key_tiles + 1));  // the largest power of 2 that divides both
}

uint32_t DecodeMatrixShape::row_lanes(uint32_t heads) const {
  const uint32_t room = std::max(1u, threads() / (head_tiles(heads) * shape.m));
  uint32_t lanes = std::bit_floor(std::min(room, keys / 8));
  while (keys / 8 % lanes != 0)
    lanes /= 2;
  return lanes;
}

uint32_t DecodeMatrixShape::shared_bytes(uint32_t depth, uint32_t heads, uint32_t latent) const {
  const uint32_t rows = head_tiles(heads) * shape.m;
  const uint32_t tiles = std::max(keys * (depth / 8 | 1), rows * (latent / 8 | 1));
  return 16 * (tiles + depth_parts() * rows * (keys / 4 + 2) + rows * (keys / 8 | 1) + rows * shape.n / 4) +
         4 * rows * row_lanes(heads);
}

std::optional<DecodeMatrixShape> decode_matrix_shape(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier,
                                                     uint32_t capacity, uint32_t depth, uint32_t heads, uint32_t latent,
                                                     const DecodeTuning& tuning) {
  // A CPU driver gains nothing by products of tiles, and compiles each of them to hundreds of instructions.
  if (tier < 3 || tuning.matrix == 2 || (tuning.matrix == 0 && quirks.barriers_are_slow))
    return {};
  const MatrixShape* shape = nullptr;  // the narrowest, as for attention_tile(): tuning.cpp has the figures
  for (const MatrixShape& s : caps.matrix_shapes)
    if (attention_shape_fits(caps, s) && depth % s.k == 0 && latent % s.n == 0 && (shape == nullptr || s.n < shape->n))
      shape = &s;
  if (shape == nullptr || depth % 8 != 0 || latent % 8 != 0)
    return {};
  const uint32_t step = std::lcm(shape->n, shape->k);
  DecodeMatrixShape choice{.shape = *shape,
                           .subgroup_size = matrix_subgroup_size(caps),
                           .subgroups = std::bit_floor(tuning.subgroups != 0 ? tuning.subgroups : kMatrixSubgroups),
                           .keys = ceil_div(tuning.keys != 0 ? tuning.keys : kMatrixKeys, step) * step,
                           .splits = 1,
                           .split_tiles = 1,
                           .value_rows = tuning.values != 0 ? tuning.values : kValueRows};
  const auto fits = [&] {
    return choice.threads() <= caps.max_workgroup_invocations &&
           choice.shared_bytes(depth, heads, latent) <= caps.max_shared_bytes;
  };
  while (!fits() && choice.keys > step)
    choice.keys -= step;
  while (!fits() && choice.subgroups > 1)
    choice.subgroups /= 2;
  if (!fits())
    return {};
  choice.splits = std::clamp(tuning.splits != 0 ? tuning.splits : kMatrixSplits, 1u, ceil_div(capacity, choice.keys));
  choice.split_tiles = tuning.tiles != 0 ? tuning.tiles : ceil_div(kSplitKeys, choice.keys);
  return choice;
}

}  // namespace vl2
