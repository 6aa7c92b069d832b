// Experts' weights in host memory, some of them in slots of device memory: which ones is decided and kept on the device.
//
// Design: a token's missing experts are copied into the slots that were not used for longest, and its products read slots alone,
// which are a weight [slots, N, K] like any other: no kernel knows of the cache, and what a miss costs crosses the bus once.
// Thought of instead: products that read a missing expert from host memory while it is copied. That needs both sources in every
// kernel and reads every miss twice; the bus is what a miss costs (an expert of Small in Q4_0, 4.9 MB: 90 us at 55 GB/s).
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

inline constexpr uint32_t kExpertCacheMaxExperts = 256, kExpertCacheMaxTopK = 16;

/// What a layer's cache has done and holds; expert_cache_state() reads it.
struct ExpertCacheState {
  uint32_t clock = 0;               ///< tokens
  uint32_t hits = 0;                ///< choices whose expert was in a slot
  uint32_t misses = 0;              ///< choices whose expert was not
  std::vector<int> slot_of;         ///< [experts], -1: in none
  std::vector<int> expert_of;       ///< [slots], -1: empty
  std::vector<uint32_t> last_used;  ///< [slots]: the clock then; 0: never
};

/// Elements of a layer's state: u32, all zero at first.
uint32_t expert_cache_words(uint32_t experts, uint32_t slots);

/// Makes sense of the words of a state.
ExpertCacheState expert_cache_state(std::span<const uint32_t> words, uint32_t experts, uint32_t slots);

/// Records one token's turn: its experts get slots, those that miss get the slots that were not used for longest. Or the turns of
/// several tokens, one after the other, none of which takes the slot of another's expert: there are slots for the choices of all.
///
/// ids    u32 [top_k] or [tokens, top_k], a token's are distinct
/// state  u32 [expert_cache_words()], in place
/// slots  like ids: the slot of each choice
/// loads  like ids: the expert to load into it, for expert_cache_load()
/// Errors BadShape: also fewer slots than choices of all tokens, more than 256 experts or 16 choices of a token
Status expert_cache_update(Recorder& rec, const TensorView& ids, uint32_t experts, uint32_t slot_count, const TensorView& state,
                           const TensorView& slots, const TensorView& loads);

/// Records the copies of what expert_cache_update() asked for.
///
/// slots, loads  as that made them
/// host   [experts, N, K] of any weight format
/// cache  [slots, N, K], else like host
/// Errors BadShape
/// Cost   reads the missing experts once
Status expert_cache_load(Recorder& rec, const TensorView& host, const TensorView& cache, const TensorView& slots,
                         const TensorView& loads);

/// Records the copies of all experts that a schedule has slots of, from the cache or from host memory.
///
/// offsets  u32 [experts + 1]: ExpertSchedule::offsets
/// gathered like host
/// Errors   BadShape
Status expert_cache_gather(Recorder& rec, const TensorView& host, const TensorView& cache, const TensorView& state,
                           const TensorView& offsets, const TensorView& gathered);

}  // namespace vl2
