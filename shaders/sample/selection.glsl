// The search for the limit of top_k and of top_p: the key of the last ids that stay.
//
// In the order of likelihood (keys descending, equal keys by id ascending) either filter keeps a beginning: as many ids as top_k says, or
// as few as hold the share top_p of the mass. Both are found in the same way, a digit of the key a pass, from the top: each pass adds up the
// ids and masses by their next digit, among the ids that share the digits found so far; the next pass sees in which bin the wanted amount is
// reached. Every workgroup repeats that step for itself, since a dispatch less is worth more than 256 additions.
#ifndef VL2_SELECTION_GLSL
#define VL2_SELECTION_GLSL

struct Selection {
  uint key;     // digits found so far, zeros below
  uvec2 rest;   // ids or mass wanted among those of the last bin found
  uvec2 above;  // mass of the ids in higher bins
};

shared uvec4 found_bin;  // digit, then the tally of the bins above it

Selection load_selection(uint pass) {
  const uint at = SAMPLE_STATE + pass * SAMPLE_STATE_WORDS;
  return Selection(scratch[at], uvec2(scratch[at + 1u], scratch[at + 2u]), uvec2(scratch[at + 3u], scratch[at + 4u]));
}

void store_selection(uint pass, Selection selection) {
  const uint at = SAMPLE_STATE + pass * SAMPLE_STATE_WORDS;
  scratch[at] = selection.key;
  scratch[at + 1u] = selection.rest.x;
  scratch[at + 2u] = selection.rest.y;
  scratch[at + 3u] = selection.above.x;
  scratch[at + 4u] = selection.above.y;
}

/// The bins of a histogram, highest first: that of this invocation.
uvec3 bin_of_invocation(uint histogram) {
  const uint at = SAMPLE_HISTOGRAM + histogram * SAMPLE_HISTOGRAM_WORDS + (SAMPLE_BINS - 1u - gl_LocalInvocationIndex);
  return uvec3(scratch[at], scratch[at + SAMPLE_BINS], scratch[at + 2u * SAMPLE_BINS]);
}

uvec2 total_mass(uint histogram) {
  uvec3 total;
  workgroup_exclusive_scan(bin_of_invocation(histogram), total);
  return total.yz;
}

/// The selection with one digit more, from the histogram of its ids by that digit.
Selection descend(Selection selection, uint histogram, uint level, bool by_mass) {
  const uvec3 tally = bin_of_invocation(histogram);
  uvec3 total;
  const uvec3 before = workgroup_exclusive_scan(tally, total);
  const uvec3 through = tally_add(before, tally);
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

Selection begin_top_k() { return Selection(0u, uvec2(p.top_k, 0u), uvec2(0u)); }

/// The whole key for top_k, after its last histogram.
Selection finish_top_k() {
  return descend(load_selection(SAMPLE_LEVELS - 1u), SAMPLE_LEVELS - 1u, SAMPLE_LEVELS - 1u, false);
}

/// top_p of the mass that top_k left.
Selection begin_top_p(uint best) {
  uvec2 total;
  if (p.top_k != 0u) {
    const Selection kept = finish_top_k();
    total = wide_add(kept.above, wide_times(mass_of(kept.key, best), kept.rest.x));
  } else {
    total = total_mass(0u);
  }
  const uvec2 wanted = wide_scale_up(total, p.top_p_scaled);
  return Selection(0u, wanted == uvec2(0u) ? uvec2(1u, 0u) : wanted, uvec2(0u));
}

/// The selection that pass `pass` of sample_select begins with, 1 .. SAMPLE_HISTOGRAMS - 1; all invocations take part.
Selection selection_before(uint pass, uint best) {
  if (pass == 1u)
    return descend(begin_top_k(), 0u, 0u, false);
  if (pass < SAMPLE_LEVELS)
    return descend(load_selection(pass - 1u), pass - 1u, pass - 1u, false);
  if (pass == SAMPLE_LEVELS)
    return descend(begin_top_p(best), 0u, 0u, true);
  return descend(load_selection(pass - 1u), pass - 1u, pass - SAMPLE_LEVELS, true);
}

/// The smallest number of ids of mass `each` (not 0) whose masses reach `wanted`.
uint ids_for_mass(uvec2 wanted, uvec2 each) {
  uint fewer = 0u;  // the largest number that does not reach it
  for (int bit = 27; bit >= 0; --bit)
    if (wide_less(wide_times(each, fewer | (1u << bit)), wanted))
      fewer |= 1u << bit;
  return fewer + 1u;
}

/// The last key that stays, and how many of the ids that have it do; all invocations take part.
uvec2 find_limit(uint best) {
  if (p.use_top_p != 0u) {
    const uint last = SAMPLE_HISTOGRAMS - 1u;
    const Selection selection = descend(load_selection(last), last, SAMPLE_LEVELS - 1u, true);
    return uvec2(selection.key, ids_for_mass(selection.rest, mass_of(selection.key, best)));
  }
  if (p.top_k != 0u) {
    const Selection selection = finish_top_k();
    return uvec2(selection.key, selection.rest.x);
  }
  return uvec2(0u, 0xffffffffu);
}

#endif
