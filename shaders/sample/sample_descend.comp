// One step of the search for the limit of top_k and of top_p: the key of the last ids that stay.
//
// In the order of likelihood (keys descending, equal keys by id ascending) either filter keeps a beginning: as many ids as top_k says, or
// as few as hold the share top_p of the mass. Both are found in the same way, a digit of the key at a time, from the top: sample_histogram
// adds up the ids and masses by their next digit, among the ids that share the digits found so far, and this pass sees in which bin the
// wanted amount is reached.
//
// Shapes    scratch: see the interface
// Work      one workgroup, an invocation a bin; a pass of its own, since on software drivers a sum over a workgroup is dear
// Numbers   integers
// Needs     subgroup arithmetic, any subgroup size
// Source    a radix selection
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/sample.h"
#include "common/ordered_key.glsl"

layout(local_size_x = SAMPLE_THREADS) in;
layout(push_constant) uniform Push { SampleParams p; };
layout(binding = SAMPLE_SCRATCH) buffer Scratch { uint scratch[]; };
#include "sample/mass.glsl"

struct Selection {
  uint key;     // digits found so far, zeros below
  uvec2 rest;   // ids (top_k) or mass (top_p) wanted among those of the last bin found
  uvec2 above;  // mass of the ids in higher bins
};

shared uvec4 found_bin;  // digit, then the tally of the bins above it

Selection load_selection() {
  return Selection(scratch[SAMPLE_STATE], uvec2(scratch[SAMPLE_STATE + 1u], scratch[SAMPLE_STATE + 2u]),
                   uvec2(scratch[SAMPLE_STATE + 3u], scratch[SAMPLE_STATE + 4u]));
}

void store_selection(Selection selection) {
  scratch[SAMPLE_STATE] = selection.key;
  scratch[SAMPLE_STATE + 1u] = selection.rest.x;
  scratch[SAMPLE_STATE + 2u] = selection.rest.y;
  scratch[SAMPLE_STATE + 3u] = selection.above.x;
  scratch[SAMPLE_STATE + 4u] = selection.above.y;
}

void store_limit(uint key, uint ids) {
  scratch[SAMPLE_LIMIT] = key;
  scratch[SAMPLE_LIMIT + 1u] = ids;
}

/// The bins of a histogram, highest first: that of this invocation.
uvec3 bin_of_invocation(uint histogram) {
  const uint at = SAMPLE_HISTOGRAM + histogram * SAMPLE_HISTOGRAM_WORDS + (SAMPLE_BINS - 1u - gl_LocalInvocationIndex);
  return uvec3(scratch[at], scratch[at + SAMPLE_BINS], scratch[at + 2u * SAMPLE_BINS]);
}

/// The mass that top_p wants of `total`: at least one unit, so that at least one id stays.
uvec2 wanted_mass(uvec2 total) {
  const uvec2 wanted = wide_scale_up(total, p.top_p_scaled);
  return wanted == uvec2(0u) ? uvec2(1u, 0u) : wanted;
}

/// The selection with one digit more, from the histogram of its ids by that digit.
/// top_p of everything starts with nothing wanted (rest 0) and learns here what everything is.
Selection descend(Selection selection, uint histogram, uint level, bool by_mass) {
  const uvec3 tally = bin_of_invocation(histogram);
  uvec3 total;
  const uvec3 before = workgroup_exclusive_scan(tally, total);
  const uvec3 through = tally_add(before, tally);
  if (selection.rest == uvec2(0u))
    selection.rest = wanted_mass(total.yz);
  const uvec2 amount_before = by_mass ? before.yz : uvec2(before.x, 0u);
  const uvec2 amount_through = by_mass ? through.yz : uvec2(through.x, 0u);
  if (gl_LocalInvocationIndex == 0u)
    found_bin = uvec4(0u);  // where no bin reaches the amount: all logits are NaN
  barrier();
  if (wide_less(amount_before, selection.rest) && !wide_less(amount_through, selection.rest))
    found_bin = uvec4(SAMPLE_BINS - 1u - gl_LocalInvocationIndex, before);
  barrier();
  selection.key |= found_bin.x << (SAMPLE_DIGIT_BITS * (SAMPLE_LEVELS - 1u - level));
  selection.rest = wide_subtract(selection.rest, by_mass ? found_bin.zw : uvec2(found_bin.y, 0u));
  selection.above = wide_add(selection.above, found_bin.zw);
  return selection;
}

/// The smallest number of ids of mass `each` (not 0) whose masses reach `wanted`.
uint ids_for_mass(uvec2 wanted, uvec2 each) {
  uint fewer = 0u;  // the largest number that does not reach it
  [[dont_unroll]] for (int bit = 27; bit >= 0; --bit)
    if (wide_less(wide_times(each, fewer | (1u << bit)), wanted))
      fewer |= 1u << bit;
  return fewer + 1u;
}

void main() {
  const uint best = best_key();
  // With the last digit of top_k, top_p takes its first step too: its first histogram is that of top_k.
  const bool last_of_top_k = p.pass == SAMPLE_LEVELS - 1u;
  const bool first_of_top_p = p.pass == 0u && p.top_k == 0u;
  Selection selection = Selection(0u, uvec2(p.top_k, 0u), uvec2(0u));
  if (p.pass != 0u)
    selection = load_selection();

  // One call in a loop, not two calls: software drivers take long to compile each copy of the sum over the workgroup.
  const uint steps = last_of_top_k && p.use_top_p != 0u ? 2u : 1u;
  [[dont_unroll]] for (uint i = 0u; i < steps; ++i) {
    if (i == 1u)
      selection = Selection(0u, wanted_mass(wide_add(selection.above, wide_times(mass_of(selection.key, best), selection.rest.x))), uvec2(0u));
    const uint histogram = i == 1u ? 0u : p.pass;
    const uint level = histogram < SAMPLE_LEVELS ? histogram : histogram - SAMPLE_LEVELS + 1u;
    selection = descend(selection, histogram, level, first_of_top_p || i == 1u || p.pass >= SAMPLE_LEVELS);
  }

  if (gl_LocalInvocationIndex == 0u) {
    store_selection(selection);
    if (p.pass == SAMPLE_HISTOGRAMS - 1u)
      store_limit(selection.key, ids_for_mass(selection.rest, mass_of(selection.key, best)));
    else if (last_of_top_k && p.use_top_p == 0u)
      store_limit(selection.key, selection.rest.x);
  }
}
