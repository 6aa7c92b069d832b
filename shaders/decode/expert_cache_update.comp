// Tokens' choices against a layer's cache of experts: which slots have them, and what must be loaded into which.
//
// Shapes    ids [tokens, top_k] u32    state: see interface/expert_cache.h    slots [tokens, top_k] u32: choice -> slot
//           loads [tokens, top_k] u32: choice -> the expert that its slot is to be loaded with, or NO_EXPERT where it is there already
// Work      one workgroup, token after token. The slots that a token does not use are ranked by (last use, number), each against all others:
//           there are no more than MAX_EXPERTS of them. The first go to the experts that are missing, in the order of the choices
// Numbers   integers. There are at least tokens * top_k slots, so every choice has one, and none that a token before it uses is among the top_k
//           least recently used that it does not use itself
// Needs     nothing
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/expert_cache.h"

layout(local_size_x = EXPERT_CACHE_THREADS) in;
layout(push_constant) uniform Push { ExpertCacheUpdateParams p; };
layout(binding = EXPERT_CACHE_UPDATE_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = EXPERT_CACHE_UPDATE_STATE) coherent buffer State { uint state[]; };  // what one token writes the next reads
layout(binding = EXPERT_CACHE_UPDATE_SLOTS) writeonly buffer Slots { uint slots[]; };
layout(binding = EXPERT_CACHE_UPDATE_LOADS) writeonly buffer Loads { uint loads[]; };

const uint IN_USE = 0xffffffffu;
shared uint last_uses[EXPERT_CACHE_MAX_EXPERTS];   // of slots; IN_USE: by this token
shared uint wanted[EXPERT_CACHE_MAX_TOP_K];        // experts
shared uint found[EXPERT_CACHE_MAX_TOP_K];         // slot + 1, or 0
shared uint oldest[EXPERT_CACHE_MAX_TOP_K];        // slots not in use, least recently used first

uint slot_of(uint expert) { return EXPERT_CACHE_HEAD + expert; }
uint expert_of(uint slot) { return EXPERT_CACHE_HEAD + p.expert_count + slot; }
uint last_use_of(uint slot) { return EXPERT_CACHE_HEAD + p.expert_count + p.slot_count + slot; }

void take_turn(uint token) {
  const uint j = gl_LocalInvocationIndex, first = token * p.top_k;
  for (uint slot = j; slot < p.slot_count; slot += EXPERT_CACHE_THREADS)
    last_uses[slot] = state[last_use_of(slot)];
  if (j < p.top_k) {
    wanted[j] = min(ids[first + j], p.expert_count - 1u);
    found[j] = state[slot_of(wanted[j])];
  }
  const uint clock = state[EXPERT_CACHE_CLOCK] + 1u;
  barrier();
  if (j < p.top_k && found[j] != 0u)
    last_uses[found[j] - 1u] = IN_USE;
  barrier();
  for (uint slot = j; slot < p.slot_count; slot += EXPERT_CACHE_THREADS) {
    const uint last = last_uses[slot];
    uint rank = 0u;
    for (uint other = 0u; other < p.slot_count; ++other)
      rank += uint(last_uses[other] < last || (last_uses[other] == last && other < slot));
    if (last != IN_USE && rank < p.top_k)
      oldest[rank] = slot;
  }
  barrier();
  if (j < p.top_k) {
    uint missed = 0u;  // choices before this one
    for (uint i = 0u; i < j; ++i)
      missed += uint(found[i] == 0u);
    const bool hit = found[j] != 0u;
    const uint slot = hit ? found[j] - 1u : oldest[missed];
    if (!hit) {
      const uint evicted = state[expert_of(slot)];
      if (evicted != 0u)
        state[slot_of(evicted - 1u)] = 0u;
      state[expert_of(slot)] = wanted[j] + 1u;
      state[slot_of(wanted[j])] = slot + 1u;
    }
    state[last_use_of(slot)] = clock;
    slots[first + j] = slot;
    loads[first + j] = hit ? EXPERT_CACHE_NO_EXPERT : wanted[j];
    if (j == p.top_k - 1u) {
      const uint misses = missed + uint(!hit);
      state[EXPERT_CACHE_CLOCK] = clock;
      state[EXPERT_CACHE_HITS] += p.top_k - misses;
      state[EXPERT_CACHE_MISSES] += misses;
    }
  }
}

void main() {
  for (uint token = 0u; token < p.tokens; ++token) {
    take_turn(token);
    memoryBarrierBuffer();
    barrier();
  }
}
