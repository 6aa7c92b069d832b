#include "runtime/decode_tuning.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <numeric>
#include <string>

#include "runtime/tuning.h"
#include "runtime/weight_format.h"
#include "shaders/interface/decode_state.h"

namespace vl2 {

namespace {

constexpr uint32_t kBytesInFlight = 128;    // an invocation's: beyond it registers leave too few invocations a core
constexpr uint32_t kAttentionGroups = 256;  // workgroups: what fills a card of 132 cores twice
constexpr uint32_t kCores = 132;            // of the largest card measured; a smaller one has more waves with any choice
constexpr uint32_t kCoreGroups = 32, kCoreThreads = 1536, kCoreRegisters = 65536;
// Of decode_gemv_dot. H200, driver 580.159, 2026-11-23, shapes of Small and Tiny in Q8_0, Q4_0 and Q4_K: a row (or a pair) a subgroup and
// 8 subgroups a workgroup are fastest or within 8 % of it, with two chunks in flight where workgroups are few (q in Q4_K 5.2 us, with
// one 5.7) and one where they are many (experts gate_up 11.6, with two 13.1); 2048 x 8448 takes 9.9 us, with 8 chunks 17.2. Where there
// are very many, each makes the bytes of x for up to four sets a subgroup (lm_head 48 us, with one set 56).
constexpr uint32_t kDotThreads = 256, kDotGroups = 528, kManyDotGroups = 8 * kDotGroups;
constexpr uint32_t kSplitKeys = 64;  // before another workgroup is worth merging its result
constexpr uint32_t kAttentionThreads = 256;
constexpr uint32_t kAttentionSharedBytes = 31 * 1024;
constexpr uint32_t kOtherBuffers =
    8;  // of the attention kernels at most, but for caches: seven, and the counter of saturated stores
constexpr uint32_t kQueryTokens = 8;               // sums of 8 elements each in registers
constexpr uint32_t kWeightLanes = 8;               // DECODE_ATTENTION_WEIGHT_LANES
constexpr uint32_t kSharedRowBytes = 3 * 512 * 4;  // of decode_mha_attention: the token's query, key and value

constexpr uint32_t kMatrixSubgroups = 8;  // of a workgroup that has a core of 48 KiB for itself
constexpr uint32_t kMatrixKeys = 32;      // 576 wide: 37 KiB
constexpr uint32_t kMatrixSplits = 128;   // one block of 32 keys each for 4096; 64 splits of one or two blocks cost 0.3 us more
constexpr uint32_t kValueRows = 16;       // 8 workgroups a head of 128

uint32_t ceil_div(uint32_t a, uint32_t b) {
  return (a + b - 1) / b;
}

// What a product takes beyond the launch and one latency, which all groups have. The terms and what they were fitted to (H200, 13
// shapes of Small and Tiny with up to 29 groups each, dependent dispatches; a chain of reads that add up nothing takes 0 to 2 us
// less each):
//   - bytes at the rate that the bytes in flight give at 1 us of latency
//   - a turn of the loop after the first waits again: 3072 x 2048 with 64 threads, 2 rows takes 8.6 us, with 128 8.1
//   - rows add up one after the other: with 256 threads, 4 rows 8.5
//   - x and its norm come from L1 once for all rows of a workgroup
//   - a workgroup takes 0.1 to 0.2 ns to start, and those that do not fit on the cores at once leave a tail: 16896 x 2048 with
//     128 threads, 4 rows takes 22.9 us, with 32 21.5
//   - loads past the end of K take their places for nothing
//   - a workgroup holds its place until its last invocation is done, the longer the more it has: 102400 x 2048 with 256 threads,
//     4 rows takes 117 us, with 64 104
//   - cores with few invocations start and finish slowly: 2048 x 8448 with 96 threads takes 13.6 us, with 192 12.9
double gemv_estimate_us(const DecodeGemvGroup& group, uint32_t rows, uint32_t chunks, uint32_t chunk_bytes) {
  const uint32_t turns = ceil_div(chunks, group.threads * group.unroll), groups = ceil_div(rows, group.rows);
  const double waste = static_cast<double>(turns * group.threads * group.unroll) / chunks - 1;
  const uint32_t registers = 24 + group.rows * group.unroll * chunk_bytes / 4;  // an invocation's, about
  const uint32_t resident = std::clamp(std::min(kCoreThreads, kCoreRegisters / registers) / group.threads, 1u, kCoreGroups);
  const uint32_t at_once = std::min(groups, kCores * resident), waves = ceil_div(groups, kCores * resident);
  const double megabytes = 1e-6 * rows * chunks * chunk_bytes;
  const double in_flight = 1e-6 * at_once * group.threads * group.rows * group.unroll * chunk_bytes / (1 + waste);
  const double invocations = static_cast<double>(groups) * group.threads / (kCores * kCoreThreads);
  const double transfer = megabytes / std::min(4.2, in_flight) + 0.13 * megabytes * waste + 0.012 * megabytes / group.rows;
  const double serial = 0.15 * std::min(turns - 1, 4u) + 0.03 * turns * group.unroll + 0.175 * group.rows;
  const double start = 1.2e-4 * std::min(groups, 9000u) + 0.8 * std::min(waves - 1, 2u) + 0.5 * (1 - std::min(1.0, invocations));
  const double width = group.threads / 256.0;
  return transfer + serial + start + 0.05 * width + 0.25 * (waves - 1) * width * width;
}

}  // namespace

Result<DecodeTuning> parse_decode_tuning(std::string_view text) {
  DecodeTuning tuning;
  const std::pair<std::string_view, uint32_t*> fields[] = {
      {"threads", &tuning.threads},     {"rows", &tuning.rows},
      {"unroll", &tuning.unroll},       {"heads", &tuning.heads},
      {"keys", &tuning.keys},           {"splits", &tuning.splits},
      {"groups", &tuning.groups},       {"tiles", &tuning.tiles},
      {"sets", &tuning.sets},           {"dot", &tuning.dot},
      {"apart", &tuning.apart},         {"matrix", &tuning.matrix},
      {"bytes", &tuning.bytes},         {"values", &tuning.values},
      {"subgroups", &tuning.subgroups}, {"conversations", &tuning.conversations},
      {"tokens", &tuning.tokens}};
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

std::vector<DecodeGemvGroup> decode_gemv_candidates(const DeviceCaps& caps, uint32_t rows, uint32_t k, DType weight, bool pairs) {
  const uint32_t chunk = weight_chunk(weight), chunks = k / chunk, subgroup = std::max(caps.subgroup_size, 4u);
  const uint32_t chunk_bytes = weight == DType::F32 ? 32 : 16;  // and the scales, which neighbours share
  const uint32_t most = std::max(subgroup, std::min(256u, caps.max_workgroup_invocations));
  const bool few_rows = !pairs && rows / 2 < 3 * kCores;
  std::vector<std::pair<double, DecodeGemvGroup>> all;
  for (const uint32_t group_rows : {1u, 2u, 4u, 8u})
    for (uint32_t unroll = 1; unroll <= 4; ++unroll)
      for (uint32_t threads = subgroup; threads <= most; threads += subgroup) {
        if ((group_rows == 1 && !few_rows) || group_rows > threads || group_rows * unroll * chunk_bytes > kBytesInFlight ||
            (unroll > 1 && (unroll - 1) * threads >= chunks))
          continue;
        const DecodeGemvGroup group{.threads = threads, .rows = group_rows, .unroll = unroll, .one_subgroup = false};
        all.emplace_back(gemv_estimate_us(group, rows, chunks, chunk_bytes), group);
      }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<DecodeGemvGroup> groups;
  for (const auto& [us, group] : all)
    groups.push_back(group);
  return groups;
}

uint32_t decode_dot_shared_bytes(uint32_t k) {
  return 2 * (k / 32 + 1) * 16 + k / 32 * 8 + 64 * 4;
}

std::optional<DecodeGemvGroup> decode_dot_group(const DeviceCaps& caps, uint32_t tier, uint32_t rows, uint32_t k, DType weight,
                                                bool pairs, const DecodeTuning& tuning) {
  if (tier < 2 || !caps.integer_dot || dtype_block(weight) == 1 || k % 32 != 0 || tuning.dot == 2 ||
      decode_dot_shared_bytes(k) > caps.max_shared_bytes)
    return {};
  const uint32_t subgroup = std::max(caps.subgroup_size, 4u), chunks = k / weight_chunk(weight);
  const uint32_t threads = std::min(tuning.threads != 0 ? tuning.threads : kDotThreads, caps.max_workgroup_invocations);
  DecodeGemvGroup group{
      .threads = std::max(threads / subgroup, 1u) * subgroup, .rows = pairs ? 2u : 1u, .unroll = 1, .one_subgroup = false};
  if (tuning.rows != 0)
    group.rows = std::clamp(std::bit_floor(tuning.rows), group.rows, 4u);
  const uint32_t subgroups = group.threads / subgroup, groups = ceil_div(rows, group.rows * subgroups);
  if (groups < kDotGroups)
    group.unroll = std::min(ceil_div(chunks, subgroup), 2u);
  if (tuning.unroll != 0)
    group.unroll = tuning.unroll;
  group.sets = tuning.sets != 0 ? tuning.sets : subgroups * std::clamp(groups / (4 * kDotGroups), 1u, 4u);
  return group;
}

namespace {

// Workgroups of the bytes of x that are given: small ones, since nothing is made or kept for all of one, and one chunk in flight,
// since several tokens fill the card. H200, 580.159, 8 conversations of Small in Q4_0; in brackets as it was with 256 threads and,
// but for experts, eight tokens a load:
//   - experts have more rows a load of x, while there are subgroups enough: gate_up 33.2 us (38.9, two rows), down 19.0 (26.8, one);
//     of four conversations 14.8 (two rows 16.5)
//   - else up to four tokens share a load of the weight, while there are subgroups enough, as each token's sums take their time: o
//     7.0 us (9.1), q 8.0 (9.3), shared down 8.4 (15.3), kv_a in Q8_0 5.9 (9.9); of pairs eight, as x serves two rows: shared
//     gate_up 11.0 (11.6; of four 11.7)
//   - where subgroups are very many, eight tokens, and two rows a load of x
DecodeGemvGroup with_given_bytes(const DeviceCaps& caps, const DecodeGemvGroup& group, uint32_t rows, bool pairs,
                                 const GemvTokens& tokens) {
  constexpr uint32_t kThreads = 128, kFewestSubgroups = 2500, kFewestOfExperts = 2048, kMostRows = 4;
  const uint32_t subgroup = std::max(caps.subgroup_size, 4u), many = kManyDotGroups * std::max(group.threads / subgroup, 1u);
  DecodeGemvGroup result = group;
  result.unroll = 1;
  if (tokens.experts) {
    while (result.rows < kMostRows && ceil_div(rows, 2 * result.rows) * tokens.count >= kFewestOfExperts)
      result.rows *= 2;
  } else if (ceil_div(rows, group.rows) >= many) {
    result.rows = std::max(group.rows, 2u);
  } else {
    result.tokens = std::min(result.tokens, pairs ? 8u : 4u);
    while (result.tokens > 1 && ceil_div(rows, group.rows) * ceil_div(tokens.count, result.tokens) < kFewestSubgroups)
      result.tokens /= 2;
  }
  result.threads = std::min(group.threads, ceil_div(kThreads, subgroup) * subgroup);
  result.sets = result.threads / subgroup;
  return result;
}

}  // namespace

DecodeGemvGroup with_tokens(const DeviceCaps& caps, const DecodeGemvGroup& group, uint32_t rows, uint32_t k, bool pairs,
                            const GemvTokens& tokens) {
  constexpr uint32_t kMostTokens = 8, kMostSums = 32, kMaxSubgroups = 64;  // gemv_core.glsl's room a sum
  constexpr uint32_t kMostRows = 8;  // 16 of Q6_K spill on AMD's GCN (RADV, Mesa 25.0.7), 8 fit in 256 registers
  DecodeGemvGroup result = group;
  if (!tokens.experts)
    result.tokens = std::min(std::bit_ceil(std::max(tokens.count, 1u)), kMostTokens);
  if (group.sets > 0 && tokens.given)
    return with_given_bytes(caps, result, rows, pairs, tokens);
  if (tokens.experts) {
    // More workgroups, of which each makes the bytes of its x for more of the weight (H200, driver 580.159, 8 conversations of Small in
    // Q4_0: 1 288 tok/s, with four times the sets 1 378).
    result.sets *= std::min(tokens.count, 4u);
    return result;
  }
  if (group.sets > 0) {
    while (result.tokens > 1 && result.tokens * decode_dot_shared_bytes(k) > caps.max_shared_bytes)
      result.tokens /= 2;
    // A workgroup makes the bytes of all its tokens first: where there would be more of them than cores take at once, each takes
    // more of the weight.
    const uint32_t subgroup = std::max(caps.subgroup_size, 4u), subgroups = std::max(group.threads / subgroup, 1u);
    const uint32_t groups = ceil_div(rows, group.rows * subgroups);
    if (result.tokens > 1)
      result.sets = std::max(group.sets, subgroups * std::clamp(groups / kCores, 1u, 16u));
    return result;
  }
  const uint32_t fewest = pairs ? 2 : 1;
  while (result.rows / 2 >= fewest && result.rows % 2 == 0 && result.rows * result.tokens > kMostSums)
    result.rows /= 2;
  // Every row of x comes through the L1 cache again for each `rows` rows of the weight: more of them while the card stays full.
  while (!group.one_subgroup && 2 * result.rows <= kMostRows && 2 * result.rows * result.tokens <= kMostSums &&
         ceil_div(rows, 2 * result.rows) >= kCores)
    result.rows *= 2;
  result.unroll = std::clamp(kBytesInFlight / (16 * result.rows), 1u, group.unroll);
  while (result.tokens > 1 && !group.one_subgroup &&
         4 * result.tokens * (result.rows + 1) * kMaxSubgroups > caps.max_shared_bytes)
    result.tokens /= 2;
  return result;
}

DecodeGemvGroup decode_gemv_group(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows, uint32_t k, DType weight,
                                  bool pairs, const DecodeTuning& tuning) {
  const uint32_t chunks = k / weight_chunk(weight), subgroup = std::max(caps.subgroup_size, 4u);
  if (quirks.barriers_are_slow)
    return {.threads = subgroup, .rows = 4, .unroll = 1, .one_subgroup = true};
  DecodeGemvGroup group = decode_gemv_candidates(caps, rows, k, weight, pairs).front();
  if (tuning.threads != 0) {
    group.threads = std::min(ceil_div(tuning.threads, subgroup) * subgroup, std::min(256u, caps.max_workgroup_invocations));
    group.unroll = std::min(ceil_div(chunks, group.threads), 2u);
  }
  if (tuning.unroll != 0)
    group.unroll = tuning.unroll;
  if (tuning.rows != 0)
    group.rows = std::max(tuning.rows / 2 * 2, 2u);
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
           8 * shape.groups * shape.heads + 20 * threads + 4 * shape.heads * latent + (shared_heads == 1 ? kSharedRowBytes : 0);
  };
  const uint32_t room = std::min(kAttentionSharedBytes, caps.max_shared_bytes - 1024);
  while (finish() > room && shape.groups > fewest)
    --shape.groups;
  while (finish() > room && shape.heads > 1)
    --shape.heads;
  return shape;
}

uint32_t decode_conversations(const DeviceCaps& caps, uint32_t cache_bindings, const DecodeTuning& tuning) {
  constexpr uint32_t kMost = DECODE_CONVERSATIONS;
  if (!caps.storage_buffer_arrays || caps.max_storage_buffers < kMost * cache_bindings + kOtherBuffers)
    return 1;
  return tuning.conversations != 0 ? std::min(tuning.conversations, kMost) : kMost;
}

uint32_t decode_query_tokens(const DeviceCaps& caps, uint32_t conversations, uint32_t workgroups, const DecodeTuning& tuning) {
  const uint32_t wanted = 2 * (caps.cores != 0 ? caps.cores : kCores), most = std::min(conversations, kQueryTokens);
  if (tuning.tokens != 0)
    return std::bit_floor(std::min(tuning.tokens, most));
  uint32_t tokens = 1;
  while (tokens * 2 <= most && ceil_div(conversations, tokens * 2) * workgroups >= wanted)
    tokens *= 2;
  return tokens;
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

uint32_t DecodeMatrixShape::shared_bytes(uint32_t depth, uint32_t heads) const {
  const uint32_t rows = head_tiles(heads) * shape.m;
  const uint32_t tiles = std::max(keys, rows) * (depth / 8 | 1);
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
    return choice.threads() <= caps.max_workgroup_invocations && choice.shared_bytes(depth, heads) <= caps.max_shared_bytes;
  };
  while (!fits() && choice.keys > step)
    choice.keys -= step;
  while (!fits() && choice.subgroups > 1)
    choice.subgroups /= 2;
  if (!fits())
    return {};
  choice.splits = std::clamp(tuning.splits != 0 ? tuning.splits : kMatrixSplits, 1u, ceil_div(capacity, choice.keys));
  choice.split_tiles = tuning.tiles != 0 ? tuning.tiles : 1;  // two: 1 to 2 us a layer more from 512 keys on
  return choice;
}

}  // namespace vl2
