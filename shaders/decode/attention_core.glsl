// Attention of one token over the cache, split over workgroups: the heart of decode_mla_attention.comp and decode_mha_attention.comp.
//
// A workgroup takes HEADS heads that share their keys, and every SPLITS-th tile of the cache. In it, GROUPS groups of LANES invocations go through
// KEYS keys of a tile each: an invocation owns the same chunks of 8 elements of every row, so a row is loaded once, with all of a tile in flight,
// and serves every head for scores and values alike. The partial dot products are transposed through shared memory, which costs less than
// shuffles do for this many, and lets no subgroup size in. A group keeps the running maximum and sum of its own keys; groups are merged at the
// end, then splits, by the workgroup that arrives last. All merging is in a fixed order.
//
// The includer declares its buffers, `coherent` vec4 part_quads[] and float limits[] (maximum and sum of each head and split) among them, and
// defines the functions declared below.
#ifndef VL2_ATTENTION_CORE_GLSL
#define VL2_ATTENTION_CORE_GLSL
#extension GL_EXT_control_flow_attributes : require
#include "decode/act_chunk.glsl"
#include "decode/arrival.glsl"

layout(local_size_x_id = 0) in;  // GROUPS * LANES
layout(constant_id = 1) const uint LANES = 36u;
layout(constant_id = 2) const uint GROUPS = 4u;
layout(constant_id = 3) const uint HEADS = 1u;
layout(constant_id = 4) const uint KEYS = 4u;
layout(constant_id = 5) const uint LANE_CHUNKS = 2u;  // of a row, an invocation's
layout(constant_id = 6) const uint KEY_CHUNKS = 72u;
layout(constant_id = 7) const uint VALUE_CHUNKS = 64u;
layout(constant_id = 8) const uint SPLITS = 16u;
layout(constant_id = 9) const uint PARTS = 1u;  // shared floats: GROUPS * KEYS * HEADS * (LANES + 1), or more for the includer

const uint PAIRS = KEYS * HEADS, THREADS = GROUPS * LANES;
const float LOWEST = -1.0e30;

shared float parts[PARTS];
shared float scores[GROUPS * PAIRS];
shared float group_limits[GROUPS * HEADS * 2u];        // maximum and sum of each group and head
shared float split_factors[HEADS * SPLITS];
shared vec4 attended[HEADS * VALUE_CHUNKS * 2u];       // at the end the result: values of each head

void load_query8(uint h, uint chunk, out vec4 low, out vec4 high);  // of head h of this workgroup
ActChunk load_key(uint h, uint s, uint chunk);                      // h: 0, keys are shared
ActChunk load_value(uint h, uint s, uint chunk, ActChunk key);       // key: what load_key gave for s and chunk

// The groups' results in `attended`, not yet divided by their sums, which come with their maxima from group_limits.
float merged_maximum(uint h) {
  float maximum = group_limits[h * 2u];
  for (uint g = 1u; g < GROUPS; ++g)
    maximum = max(maximum, group_limits[(g * HEADS + h) * 2u]);
  return maximum;
}
float merged_sum(uint h, float maximum) {
  float sum = 0.0;
  for (uint g = 0u; g < GROUPS; ++g)
    sum += group_limits[(g * HEADS + h) * 2u + 1u] * exp(group_limits[(g * HEADS + h) * 2u] - maximum);
  return sum;
}

void attend_split(uint split, uint visible) {
  const uint thread = gl_LocalInvocationIndex, lane = thread % LANES, group = thread / LANES;
  vec4 query[HEADS * LANE_CHUNKS * 2u], values[HEADS * LANE_CHUNKS * 2u];
  float maximum[HEADS], sum[HEADS];
  [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
    maximum[h] = LOWEST;
    sum[h] = 0.0;
    [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
      const uint at = (h * LANE_CHUNKS + i) * 2u, chunk = lane + i * LANES;
      query[at] = query[at + 1u] = values[at] = values[at + 1u] = vec4(0.0);
      if (chunk < KEY_CHUNKS)
        load_query8(h, chunk, query[at], query[at + 1u]);
    }
  }

  const uint tile_keys = GROUPS * KEYS, tiles = (visible + tile_keys - 1u) / tile_keys;
  for (uint tile = split; tile < tiles; tile += SPLITS) {
    const uint first = tile * tile_keys + group * KEYS;
    ActChunk keys[KEYS * LANE_CHUNKS], rows[KEYS * LANE_CHUNKS];
    [[unroll]] for (uint b = 0u; b < KEYS; ++b)
      [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {  // beyond the last: the last again, thrown away below
        const uint s = min(first + b, visible - 1u);
        keys[b * LANE_CHUNKS + i] = load_key(0u, s, min(lane + i * LANES, KEY_CHUNKS - 1u));
        rows[b * LANE_CHUNKS + i] = load_value(0u, s, min(lane + i * LANES, VALUE_CHUNKS - 1u), keys[b * LANE_CHUNKS + i]);
      }
    [[unroll]] for (uint b = 0u; b < KEYS; ++b)
      [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
        float part = 0.0;
        [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
          vec4 low, high;
          unpack_acts(keys[b * LANE_CHUNKS + i], low, high);
          const uint at = (h * LANE_CHUNKS + i) * 2u;
          part += dot(low, query[at]) + dot(high, query[at + 1u]);
        }
        parts[(group * PAIRS + b * HEADS + h) * (LANES + 1u) + lane] = part;
      }
    barrier();
    for (uint pair = lane; pair < PAIRS; pair += LANES) {
      float score = 0.0;
      for (uint i = 0u; i < LANES; ++i)
        score += parts[(group * PAIRS + pair) * (LANES + 1u) + i];
      scores[group * PAIRS + pair] = first + pair / HEADS < visible ? score * p.scale : LOWEST;
    }
    barrier();
    [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
      float new_maximum = maximum[h];
      [[unroll]] for (uint b = 0u; b < KEYS; ++b)
        new_maximum = max(new_maximum, scores[group * PAIRS + b * HEADS + h]);
      const float shrink = exp(maximum[h] - new_maximum);
      maximum[h] = new_maximum;
      sum[h] *= shrink;
      [[unroll]] for (uint i = 0u; i < LANE_CHUNKS * 2u; ++i)
        values[h * LANE_CHUNKS * 2u + i] *= shrink;
    }
    [[unroll]] for (uint b = 0u; b < KEYS; ++b) {
      float weight[HEADS];
      [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
        weight[h] = first + b < visible ? exp(scores[group * PAIRS + b * HEADS + h] - maximum[h]) : 0.0;
        sum[h] += weight[h];
      }
      [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
        vec4 low, high;
        unpack_acts(rows[b * LANE_CHUNKS + i], low, high);
        [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
          const uint at = (h * LANE_CHUNKS + i) * 2u;
          values[at] += weight[h] * low;
          values[at + 1u] += weight[h] * high;
        }
      }
    }
  }

  if (lane == 0u)
    [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
      group_limits[(group * HEADS + h) * 2u] = maximum[h];
      group_limits[(group * HEADS + h) * 2u + 1u] = sum[h];
    }
  barrier();
  for (uint g = 0u; g < GROUPS; ++g) {
    if (group == g)
      [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
        const float factor = exp(maximum[h] - merged_maximum(h));
        [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
          const uint chunk = lane + i * LANES, at = (h * LANE_CHUNKS + i) * 2u;
          if (chunk < VALUE_CHUNKS) {
            const uint to = (h * VALUE_CHUNKS + chunk) * 2u;
            attended[to] = (g == 0u ? vec4(0.0) : attended[to]) + factor * values[at];
            attended[to + 1u] = (g == 0u ? vec4(0.0) : attended[to + 1u]) + factor * values[at + 1u];
          }
        }
      }
    barrier();
  }
}

/// Puts the result of this workgroup's heads, from first_head on, into `attended`: true in all invocations of the workgroup that has it.
/// arrival: the counter of these heads. All call it, in workgroups of 0 .. SPLITS - 1.
bool attend(uint split, uint first_head, uint head_count, uint arrival, uint visible) {
  const uint thread = gl_LocalInvocationIndex;
  const uint tiles = (visible + GROUPS * KEYS - 1u) / (GROUPS * KEYS), active_splits = min(tiles, SPLITS);
  if (split >= active_splits)
    return false;
  attend_split(split, visible);
  const uint head_quads = VALUE_CHUNKS * 2u;
  if (active_splits == 1u) {  // nobody to wait for
    for (uint i = thread; i < HEADS * head_quads; i += THREADS) {
      const uint h = i / head_quads;
      attended[i] /= merged_sum(h, merged_maximum(h));
    }
    barrier();
    return true;
  }
  for (uint i = thread; i < HEADS * head_quads; i += THREADS) {
    const uint h = i / head_quads;
    if (h < head_count)
      part_quads[((first_head + h) * SPLITS + split) * head_quads + i % head_quads] = attended[i];
  }
  for (uint h = thread; h < head_count; h += THREADS) {
    const float maximum = merged_maximum(h);
    limits[((first_head + h) * SPLITS + split) * 2u] = maximum;
    limits[((first_head + h) * SPLITS + split) * 2u + 1u] = merged_sum(h, maximum);
  }
  memoryBarrierBuffer();
  if (!last_to_arrive(arrival, active_splits))
    return false;

  for (uint h = thread; h < head_count; h += THREADS) {
    const uint at = (first_head + h) * SPLITS;
    float maximum = LOWEST, sum = 0.0;
    for (uint j = 0u; j < active_splits; ++j)
      maximum = max(maximum, limits[(at + j) * 2u]);
    for (uint j = 0u; j < active_splits; ++j)
      sum += limits[(at + j) * 2u + 1u] * exp(limits[(at + j) * 2u] - maximum);
    for (uint j = 0u; j < active_splits; ++j)
      split_factors[h * SPLITS + j] = exp(limits[(at + j) * 2u] - maximum) / sum;
  }
  barrier();
  for (uint i = thread; i < head_count * head_quads; i += THREADS) {
    const uint h = i / head_quads;
    vec4 value = vec4(0.0);
    for (uint j = 0u; j < active_splits; ++j)
      value += split_factors[h * SPLITS + j] * part_quads[((first_head + h) * SPLITS + j) * head_quads + i % head_quads];
    attended[i] = value;
  }
  barrier();
  return true;
}

#endif
