#include "runtime/ops/expert_cache.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/weight_format.h"
#include "shaders/interface/expert_cache.h"

namespace vl2 {

namespace {

static_assert(kExpertCacheMaxExperts == EXPERT_CACHE_MAX_EXPERTS && kExpertCacheMaxTopK == EXPERT_CACHE_MAX_TOP_K);

// Workgroups that share an expert: some megabytes in flight for all of a token's, as much as a bus of 64 GB/s with 2 us of latency
// holds ten times over; and no more than there is work for.
constexpr uint32_t kMaxGroups = 32, kQuadsPerGroup = 4 * EXPERT_CACHE_COPY_THREADS;

bool is_u32(const TensorView& view, uint64_t count) {
  return view.dtype == DType::U32 && view.contiguous() && view.element_count() == count;
}

Status check_like(const char* op, const TensorView& host, const TensorView& other, uint32_t entries) {
  VL2_TRY(check_weight(op, host, 3, Blocks::Yes));
  VL2_TRY(check_weight(op, other, 3, Blocks::Yes));
  if (other.dtype != host.dtype || other.dim(0) != entries || other.dim(1) != host.dim(1) || other.dim(2) != host.dim(2) ||
      other.stride(0) != host.stride(0) || other.stride(1) != host.stride(1))
    return fail(Code::BadShape, op, ": ", other, " must be [", entries, ", ...] of the experts ", host);
  if (device_code_bytes(host.dtype, host.stride(0)) % 16 != 0 || device_scale_bytes(host.dtype, host.stride(0)) % 4 != 0)
    return fail(Code::BadShape, op, ": an expert of ", host, " must have codes of a multiple of 16 bytes, scales of 4");
  return {};
}

struct CopyLists {
  TensorView list, places;
};

// cache: from where, gathering; else to where.
Status record_copies(Recorder& rec, const char* op, const TensorView& host, const TensorView& cache, const TensorView& gathered,
                     const CopyLists& lists) {
  const bool gather = !gathered.empty();
  const uint32_t experts = host.dim(0), slots = cache.dim(0);
  const uint32_t expert_step = weight_piece_entries(rec, host, experts), slot_step = weight_piece_entries(rec, cache, slots);
  if (expert_step == 0 || slot_step == 0)
    return fail(Code::BadShape, op, ": ", host, ": one binding takes ", rec.max_binding_bytes(),
                " bytes, too few for its experts");
  const AlignedView list = rec.aligned(lists.list);
  ExpertCacheCopyParams params{.code_quads = static_cast<uint32_t>(device_code_bytes(host.dtype, host.stride(0)) / 16),
                               .scale_words = static_cast<uint32_t>(device_scale_bytes(host.dtype, host.stride(0)) / 4),
                               .first_expert = 0,
                               .end_expert = 0,
                               .first_slot = 0,
                               .end_slot = 0,
                               .list_offset = list.remainder};
  const uint32_t groups = std::clamp(params.code_quads / kQuadsPerGroup, 1u, kMaxGroups);
  for (uint32_t first = 0; first < experts; first += expert_step) {
    const uint32_t count = std::min(expert_step, experts - first);
    const WeightPiece source = weight_piece(host, first, count);
    for (uint32_t first_slot = 0; first_slot < slots; first_slot += slot_step) {
      const uint32_t slot_count = std::min(slot_step, slots - first_slot);
      const WeightPiece slot_piece = weight_piece(cache, first_slot, slot_count);
      const WeightPiece from = gather ? slot_piece : WeightPiece{};
      const WeightPiece to = gather ? weight_piece(gathered, first, count) : slot_piece;
      params.first_expert = first;
      params.end_expert = first + count;
      params.first_slot = first_slot;
      params.end_slot = first_slot + slot_count;
      const uint32_t rows = gather ? count : static_cast<uint32_t>(lists.list.element_count());
      // As if half were copied, read and written: of a prompt's experts those without a slot come from the host.
      const uint64_t moved = weight_cost_bytes(host, host.stride(0)) * rows / 2;
      const Cost cost{.bytes = 2 * moved, .flops = 0, .host_bytes = gather ? moved * (experts - slots) / experts : moved};
      VL2_TRY(rec.dispatch(ShaderId::expert_cache_copy,
                           {source.codes, source.scales, from.codes, from.scales, to.codes, to.scales, list.view, lists.places},
                           params, Groups{.x = groups, .y = rows}, cost, {gather}));
    }
  }
  return {};
}

}  // namespace

uint32_t expert_cache_words(uint32_t experts, uint32_t slots) {
  return EXPERT_CACHE_HEAD + experts + 2 * slots;
}

ExpertCacheState expert_cache_state(std::span<const uint32_t> words, uint32_t experts, uint32_t slots) {
  assert(words.size() == expert_cache_words(experts, slots));
  ExpertCacheState state{.clock = words[EXPERT_CACHE_CLOCK],
                         .hits = words[EXPERT_CACHE_HITS],
                         .misses = words[EXPERT_CACHE_MISSES],
                         .slot_of = {},
                         .expert_of = {},
                         .last_used = {}};
  const auto rest = words.subspan(EXPERT_CACHE_HEAD);
  for (const uint32_t word : rest.first(experts))
    state.slot_of.push_back(static_cast<int>(word) - 1);
  for (const uint32_t word : rest.subspan(experts, slots))
    state.expert_of.push_back(static_cast<int>(word) - 1);
  state.last_used.assign(rest.begin() + experts + slots, rest.end());
  return state;
}

Status expert_cache_update(Recorder& rec, const TensorView& ids, uint32_t experts, uint32_t slot_count, const TensorView& state,
                           const TensorView& slots, const TensorView& loads) {
  if (ids.rank() != 1 && ids.rank() != 2)
    return fail(Code::BadShape, "expert_cache_update: ids ", ids, " must be [top_k] or [tokens, top_k] u32");
  const uint32_t tokens = ids.rank() == 2 ? ids.dim(0) : 1, top_k = ids.dim(ids.rank() - 1);
  const uint64_t choices = uint64_t{tokens} * top_k;
  if (experts > EXPERT_CACHE_MAX_EXPERTS || slot_count > experts || choices == 0 || top_k > EXPERT_CACHE_MAX_TOP_K ||
      slot_count < choices)
    return fail(Code::BadShape, "expert_cache_update: ", slot_count, " slots for ", choices, " choices of ", experts,
                " experts, wanted as many slots as choices at least, at most ", EXPERT_CACHE_MAX_TOP_K, " choices a token and ",
                EXPERT_CACHE_MAX_EXPERTS, " experts");
  if (!is_u32(ids, choices) || !is_u32(slots, choices) || !is_u32(loads, choices))
    return fail(Code::BadShape, "expert_cache_update: ids ", ids, ", slots ", slots, " and loads ", loads,
                " must be [top_k] or [tokens, top_k] u32");
  if (!is_u32(state, expert_cache_words(experts, slot_count)))
    return fail(Code::BadShape, "expert_cache_update: state ", state, " must be [", expert_cache_words(experts, slot_count),
                "] u32");
  const ExpertCacheUpdateParams params{.expert_count = experts, .slot_count = slot_count, .top_k = top_k, .tokens = tokens};
  return rec.dispatch(ShaderId::expert_cache_update, {ids, state, slots, loads}, params, Groups{},
                      {.bytes = 8 * uint64_t{slot_count} * tokens, .flops = uint64_t{slot_count} * slot_count * tokens});
}

Status expert_cache_load(Recorder& rec, const TensorView& host, const TensorView& cache, const TensorView& slots,
                         const TensorView& loads) {
  VL2_TRY(check_like("expert_cache_load", host, cache, cache.dim(0)));
  if (!is_u32(slots, slots.element_count()) || !is_u32(loads, slots.element_count()))
    return fail(Code::BadShape, "expert_cache_load: slots ", slots, " and loads ", loads, " must be u32 and as many");
  return record_copies(rec, "expert_cache_load", host, cache, {}, {loads, slots});
}

Status expert_cache_gather(Recorder& rec, const TensorView& host, const TensorView& cache, const TensorView& state,
                           const TensorView& offsets, const TensorView& gathered) {
  VL2_TRY(check_like("expert_cache_gather", host, cache, cache.dim(0)));
  VL2_TRY(check_like("expert_cache_gather", host, gathered, host.dim(0)));
  if (!is_u32(offsets, uint64_t{host.dim(0)} + 1) || !is_u32(state, expert_cache_words(host.dim(0), cache.dim(0))))
    return fail(Code::BadShape, "expert_cache_gather: offsets ", offsets, " must be [", host.dim(0) + 1, "] u32, and state ",
                state, " [", expert_cache_words(host.dim(0), cache.dim(0)), "]");
  return record_copies(rec, "expert_cache_gather", host, cache, gathered, {offsets, state});
}

}  // namespace vl2
