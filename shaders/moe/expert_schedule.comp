// The pairs (token, choice) sorted by expert, stable: slot -> pair, pair -> slot, and where each expert's slots begin.
//
// Shapes    ids, slot_pair, pair_slot [pairs] u32    offsets [experts + 1] u32    commands [2, 3] u32
// Work      one workgroup an expert. It reads all ids twice: once to count those of lower experts (the expert's offset) and its own, a run
//           of neighbours an invocation; then, knowing how many of its own come before the run, to place them. Reading ids for every
//           expert costs experts * pairs words from the cache; in return there is one dispatch and no scratch.
//           One more workgroup counts the experts' pairs in shared memory, and from them the tiles that two indirect dispatches are made of.
// Numbers   integers; atomic additions in shared memory, whose order does not matter to them
// Needs     nothing
// Source    a counting sort
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/expert_schedule.h"
#define SCAN_TYPE uvec2
#define SCAN_ZERO uvec2(0u)
#define SCAN_ADD(a, b) ((a) + (b))
#include "common/scan.glsl"

layout(local_size_x = EXPERT_SCHEDULE_THREADS) in;
layout(push_constant) uniform Push { ExpertScheduleParams p; };
layout(binding = EXPERT_SCHEDULE_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = EXPERT_SCHEDULE_SLOT_PAIR) writeonly buffer SlotPair { uint slot_pair[]; };
layout(binding = EXPERT_SCHEDULE_PAIR_SLOT) writeonly buffer PairSlot { uint pair_slot[]; };
layout(binding = EXPERT_SCHEDULE_OFFSETS) writeonly buffer Offsets { uint offsets[]; };

layout(binding = EXPERT_SCHEDULE_COMMANDS) writeonly buffer Commands { uint commands[]; };

shared uint pair_counts[EXPERT_SCHEDULE_COUNTED];  // by expert

/// An id out of range would leave slots unwritten, which later dispatches read as indices; it goes to the last expert instead.
uint expert_of(uint pair) { return min(ids[p.ids_offset + pair], p.expert_count - 1u); }

// {groups_x, tiles of all experts, 1} for each kind of tile: the number of workgroups of an indirect dispatch.
void count_tiles() {
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += EXPERT_SCHEDULE_THREADS)
    pair_counts[e] = 0u;
  barrier();
  for (uint pair = gl_LocalInvocationIndex; pair < p.pair_count; pair += EXPERT_SCHEDULE_THREADS)
    atomicAdd(pair_counts[expert_of(pair)], 1u);
  barrier();
  const uvec2 tile_rows = max(uvec2(p.tile_rows_0, p.tile_rows_1), 1u);
  uvec2 tiles = uvec2(0u);
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += EXPERT_SCHEDULE_THREADS)
    tiles += (uvec2(pair_counts[e]) + tile_rows - 1u) / tile_rows;
  uvec2 total;
  workgroup_exclusive_scan(tiles, total);
  if (gl_LocalInvocationIndex < 2u) {
    const uint which = gl_LocalInvocationIndex, at = p.commands_offset + 3u * which;
    commands[at] = which == 0u ? p.groups_x_0 : p.groups_x_1;
    commands[at + 1u] = total[which];
    commands[at + 2u] = 1u;
  }
}

void main() {
  if (gl_WorkGroupID.x == p.expert_count) {
    count_tiles();
    return;
  }
  const uint expert = gl_WorkGroupID.x;
  const uint run = (p.pair_count + EXPERT_SCHEDULE_THREADS - 1u) / EXPERT_SCHEDULE_THREADS;
  const uint first = min(gl_LocalInvocationIndex * run, p.pair_count), last = min(first + run, p.pair_count);

  uvec2 counts = uvec2(0u);  // pairs of lower experts; pairs of this one
  for (uint pair = first; pair < last; ++pair) {
    const uint id = expert_of(pair);
    counts += uvec2(uint(id < expert), uint(id == expert));
  }
  uvec2 total;
  const uint earlier = workgroup_exclusive_scan(counts, total).y;

  uint slot = total.x + earlier;
  for (uint pair = first; pair < last; ++pair)
    if (expert_of(pair) == expert) {
      slot_pair[p.slot_pair_offset + slot] = pair;
      pair_slot[p.pair_slot_offset + pair] = slot;
      ++slot;
    }
  if (gl_LocalInvocationIndex == 0u) {
    offsets[p.offsets_offset + expert] = total.x;
    if (expert == p.expert_count - 1u)
      offsets[p.offsets_offset + p.expert_count] = p.pair_count;
  }
}
