// Draws a token: the first id at which the sum of masses over ids ascending passes a random point. Last pass of sample.
//
// Shapes    logits [vocab] f32    seen, mask [vocab / 32] u32    scratch: see the interface    token [1] u32    position [1] u32
// Work      one workgroup: finds the block, then the run of neighbours in it (one an invocation), then walks that run
// Numbers   the point is 64 random bits * total mass / 2^64, so every id has its share to within 2^-28 of the likeliest's
// Needs     subgroup arithmetic, any subgroup size
#version 460
#extension GL_GOOGLE_include_directive : require
#define SAMPLE_SEEN_WRITABLE
#include "sample/logit_keys.glsl"
#include "common/philox.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(binding = SAMPLE_SCRATCH) readonly buffer Scratch { uint scratch[]; };
layout(binding = SAMPLE_TOKEN) writeonly buffer Token { uint token[]; };
layout(binding = SAMPLE_POSITION) readonly buffer Position { uint position[]; };
#include "sample/mass.glsl"

shared uvec4 found;  // index of the block or run, ids at the limit that may still stay from its start on, point from its start on

/// Finds among 256 neighbours, each with `tally` (ids at the limit, mass above it), the one that holds `point`; `room` ids at the limit may stay.
/// Gives the total mass of all in `total`.
void share_out(uvec3 tally, uint room, uvec2 limit_mass, out uvec2 before, out uvec2 mass, out uint room_here, out uvec2 total) {
  uvec3 sum;
  const uint ties_before = workgroup_exclusive_scan(tally, sum).x;
  room_here = room - min(room, ties_before);
  mass = wide_add(tally.yz, wide_times(limit_mass, min(room_here, tally.x)));
  before = workgroup_exclusive_scan(uvec3(0u, mass), sum).yz;
  total = sum.yz;
}

/// Leaves in `found` who holds the point.
void find_holder(uvec2 before, uvec2 mass, uint room_here, uvec2 point) {
  barrier();  // the last one found may still be read
  if (!wide_less(point, before) && wide_less(point, wide_add(before, mass)))
    found = uvec4(gl_LocalInvocationIndex, room_here, wide_subtract(point, before));
  barrier();
}

/// The id of the run that holds the point.
uint walk(uvec2 run, uint best, uint limit_key, uint room, uvec2 point) {
  uint drawn = run.x;
  uvec2 sum = uvec2(0u);
  for (uint id = run.x; id < run.y; ++id) {
    const uint key = key_of(id);
    if (key < limit_key || (key == limit_key && room == 0u))
      continue;
    if (key == limit_key)
      --room;
    const uvec2 mass = mass_after_min_p(key, best);
    if (mass == uvec2(0u))
      continue;
    drawn = id;
    sum = wide_add(sum, mass);
    if (wide_less(point, sum))
      break;
  }
  return drawn;
}

void write_token(uint id) {
  token[p.token_offset] = id;
  if (p.update_seen != 0u)
    seen[p.seen_offset + id / 32u] |= 1u << (id % 32u);
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint best = best_key();
  const bool limited = p.top_k != 0u || p.use_top_p != 0u;
  const uint limit_key = limited ? scratch[SAMPLE_LIMIT] : KEY_OF_NAN;
  const uint limit_ids = limited ? scratch[SAMPLE_LIMIT + 1u] : 0u;
  const uvec2 limit_mass = mass_after_min_p(limit_key, best);
  uvec2 before, mass, total;
  uint room_here;

  const uvec3 block_tally =
      lane < p.blocks ? uvec3(scratch[SAMPLE_TIES + lane], scratch[SAMPLE_MASS_LOW + lane], scratch[SAMPLE_MASS_HIGH + lane]) : uvec3(0u);
  share_out(block_tally, limit_ids, limit_mass, before, mass, room_here, total);
  if (total == uvec2(0u)) {  // all logits are NaN
    if (lane == 0u)
      write_token(0u);
    return;
  }
  const uint step = p.step + (p.use_position != 0u ? position[0] : 0u);
  const uvec2 random = philox4x32(uvec4(step, 0u, 0u, 0u), uvec2(p.seed_low, p.seed_high)).xy;
  find_holder(before, mass, room_here, wide_times_high(random, total));
  const uvec2 range = block_range(found.x);
  const uint room = found.y;
  const uvec2 point = found.zw;

  const uint run_ids = (range.y - range.x + SAMPLE_THREADS - 1u) / SAMPLE_THREADS;
  const uint first = min(range.x + lane * run_ids, range.y);
  const uvec2 run = uvec2(first, min(first + run_ids, range.y));
  uvec3 tally = uvec3(0u);
  for (uint id = run.x; id < run.y; ++id) {
    const uint key = key_of(id);
    if (key > limit_key)
      tally = tally_add(tally, uvec3(0u, mass_after_min_p(key, best)));
    else if (key == limit_key)
      ++tally.x;
  }
  share_out(tally, room, limit_mass, before, mass, room_here, total);
  // The total of the block is that of sample_sums, unless a compiler made another exp() of it: then the last id takes what is missing.
  find_holder(before, mass, room_here, wide_less(point, total) ? point : wide_subtract(total, uvec2(1u, 0u)));
  if (lane == found.x)
    write_token(min(walk(run, best, limit_key, found.y, found.zw), p.vocab_size - 1u));
}
