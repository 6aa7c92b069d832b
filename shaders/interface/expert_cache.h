// What expert_cache_update.comp, expert_cache_copy.comp and expert_cache.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_CACHE_H
#define VL2_INTERFACE_EXPERT_CACHE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_CACHE_THREADS = 128u;  // of the update; the copy has EXPERT_CACHE_COPY_THREADS
VL2_CONST uint EXPERT_CACHE_COPY_THREADS = 256u;
VL2_CONST uint EXPERT_CACHE_MAX_EXPERTS = 256u;
VL2_CONST uint EXPERT_CACHE_MAX_TOP_K = 16u;
VL2_CONST uint EXPERT_CACHE_NO_EXPERT = 0xffffffffu;  // in loads[]: there is nothing to load

// The state of a layer's cache, u32, all 0 when it is empty: a head; of every expert its slot + 1, or 0; of every slot its expert + 1, or 0; of every
// slot the clock of the last token that used it, or 0.
VL2_CONST uint EXPERT_CACHE_CLOCK = 0u;   // tokens so far
VL2_CONST uint EXPERT_CACHE_HITS = 1u;    // choices found in a slot
VL2_CONST uint EXPERT_CACHE_MISSES = 2u;  // choices that were not
VL2_CONST uint EXPERT_CACHE_HEAD = 4u;    // where the experts' slots begin

VL2_CONST uint EXPERT_CACHE_UPDATE_IDS = 0u, EXPERT_CACHE_UPDATE_STATE = 1u, EXPERT_CACHE_UPDATE_SLOTS = 2u,
               EXPERT_CACHE_UPDATE_LOADS = 3u;  // bindings

struct ExpertCacheUpdateParams {
  uint expert_count;
  uint slot_count;
  uint top_k;
  uint tokens;
};

VL2_CONST uint EXPERT_CACHE_COPY_CODES = 0u, EXPERT_CACHE_COPY_SCALES = 1u, EXPERT_CACHE_COPY_SLOT_CODES = 2u,
               EXPERT_CACHE_COPY_SLOT_SCALES = 3u, EXPERT_CACHE_COPY_TO_CODES = 4u, EXPERT_CACHE_COPY_TO_SCALES = 5u,
               EXPERT_CACHE_COPY_LIST = 6u, EXPERT_CACHE_COPY_PLACES = 7u;  // bindings

struct ExpertCacheCopyParams {
  uint code_quads;    // 16 bytes each, of one expert
  uint scale_words;   // of one expert; 0 of a plain format
  uint first_expert;  // where the bound part of the source (and of what is gathered) begins
  uint end_expert;    // one past it
  uint first_slot;    // the same of the slots
  uint end_slot;
  uint list_offset;  // elements from the start of the binding
};

VL2_SHARED_END
#endif
