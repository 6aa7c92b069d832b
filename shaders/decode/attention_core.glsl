// Attention of one token over the cache, split over workgroups: the heart of decode_mla_attention.comp and decode_mha_attention.comp.
//
// A workgroup takes HEADS heads that share their keys, and every so manieth tile of the cache. In it, GROUPS groups of LANES invocations go
// through KEYS keys of a tile each: an invocation owns the same chunks of 8 elements of every row, so a row is loaded once, with all of a tile in
// flight, and serves every head for scores and values alike. The partial dot products are transposed through shared memory, which costs less than
// shuffles do for this many, and lets no subgroup size in. A group keeps the running maximum and sum of its own keys; groups are merged at the
// end, then splits, by the workgroup that arrives last. All merging is in a fixed order.
//
// The merge of splits is latency and nothing else: every invocation has BATCH partial results and their limits in flight at once, since a coherent
// load that waits for the one before costs half a microsecond. H200, one load after the other: 0.5 us a layer for every split.
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
layout(constant_id = 9) const uint PARTS = 1u;  // shared floats: decode_attention_parts()
layout(constant_id = 12) const uint SPLIT_TILES = 1u;  // that a split has before the next one is used

const uint PAIRS = KEYS * HEADS, THREADS = GROUPS * LANES;
const uint BATCH = 8u;
const uint HEAD_QUADS = VALUE_CHUNKS * 2u, QUADS = HEADS * HEAD_QUADS;
const uint SLICES = THREADS > QUADS ? THREADS / QUADS : 1u;  // of the splits, when they are merged
const float LOWEST = -1.0e30;

shared float parts[PARTS];
shared float scores[GROUPS * PAIRS];
shared float group_limits[GROUPS * HEADS * 2u];        // maximum and sum of each group and head
shared vec4 attended[QUADS];                           // at the end the result: values of each head
shared vec4 slice_values[SLICES > 1u ? SLICES * QUADS : 1u];
shared float slice_limits[SLICES > 1u ? SLICES * HEADS * 2u : 1u];

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

void attend_split(uint split, uint splits, uint visible) {
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
  for (uint tile = split; tile < tiles; tile += splits) {
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
  [[unroll]] for (uint h = 0u; h < HEADS; ++h) {
    const float factor = GROUPS == 1u ? 1.0 : exp(maximum[h] - merged_maximum(h));
    [[unroll]] for (uint i = 0u; i < LANE_CHUNKS; ++i) {
      const uint chunk = lane + i * LANES, at = (h * LANE_CHUNKS + i) * 2u;
      if (chunk < VALUE_CHUNKS) {
        if (GROUPS == 1u) {
          attended[h * HEAD_QUADS + chunk * 2u] = values[at];
          attended[h * HEAD_QUADS + chunk * 2u + 1u] = values[at + 1u];
        } else {  // element by element, so that neighbours write to different banks
          [[unroll]] for (uint e = 0u; e < 4u; ++e) {
            parts[(group * 8u + e) * VALUE_CHUNKS + chunk] = factor * values[at][e];
            parts[(group * 8u + 4u + e) * VALUE_CHUNKS + chunk] = factor * values[at + 1u][e];
          }
        }
      }
    }
    barrier();
    if (GROUPS > 1u) {
      for (uint i = thread; i < VALUE_CHUNKS * 8u; i += THREADS) {
        const uint e = i / VALUE_CHUNKS, chunk = i % VALUE_CHUNKS;
        float value = 0.0;
        for (uint g = 0u; g < GROUPS; ++g)
          value += parts[g * 8u * VALUE_CHUNKS + i];
        attended[h * HEAD_QUADS + chunk * 2u + e / 4u][e % 4u] = value;
      }
      barrier();
    }
  }
}

uint active_splits(uint visible) {
  const uint share = GROUPS * KEYS * SPLIT_TILES;
  return min((visible + share - 1u) / share, SPLITS);
}

// The splits' results in `attended`.
void merge_splits(uint first_row, uint head_count, uint splits) {
  const uint thread = gl_LocalInvocationIndex;
  for (uint item = thread; item < QUADS * SLICES; item += THREADS) {
    const uint quad = item % QUADS, slice = item / QUADS, h = quad / HEAD_QUADS;
    const uint at = (first_row + min(h, head_count - 1u)) * SPLITS;
    float maximum = LOWEST, sum = 0.0;
    vec4 value = vec4(0.0);
    for (uint first = slice; first < splits; first += SLICES * BATCH) {
      vec4 batch[BATCH];
      vec2 batch_limits[BATCH];
      [[unroll]] for (uint b = 0u; b < BATCH; ++b) {
        const uint j = min(first + b * SLICES, splits - 1u);
        batch_limits[b] = vec2(limits[(at + j) * 2u], limits[(at + j) * 2u + 1u]);
        batch[b] = part_quads[(at + j) * HEAD_QUADS + quad % HEAD_QUADS];
      }
      float new_maximum = maximum;
      [[unroll]] for (uint b = 0u; b < BATCH; ++b)
        new_maximum = max(new_maximum, batch_limits[b].x);  // the last again does no harm
      const float shrink = exp(maximum - new_maximum);
      maximum = new_maximum;
      sum *= shrink;
      value *= shrink;
      [[unroll]] for (uint b = 0u; b < BATCH; ++b) {
        const float factor = first + b * SLICES < splits ? exp(batch_limits[b].x - maximum) : 0.0;
        sum += factor * batch_limits[b].y;
        value += factor * batch[b];
      }
    }
    if (SLICES == 1u) {
      attended[quad] = value / sum;
    } else {
      slice_values[item] = value;
      if (quad % HEAD_QUADS == 0u) {
        slice_limits[(slice * HEADS + h) * 2u] = maximum;
        slice_limits[(slice * HEADS + h) * 2u + 1u] = sum;
      }
    }
  }
  barrier();
  if (SLICES > 1u) {
    for (uint quad = thread; quad < QUADS; quad += THREADS) {
      const uint h = quad / HEAD_QUADS;
      float maximum = LOWEST, sum = 0.0;
      vec4 value = vec4(0.0);
      [[unroll]] for (uint i = 0u; i < SLICES; ++i)
        maximum = max(maximum, slice_limits[(i * HEADS + h) * 2u]);
      [[unroll]] for (uint i = 0u; i < SLICES; ++i) {  // a slice without splits has the lowest maximum, and a sum of 0
        const float factor = exp(slice_limits[(i * HEADS + h) * 2u] - maximum);
        sum += factor * slice_limits[(i * HEADS + h) * 2u + 1u];
        value += factor * slice_values[i * QUADS + quad];
      }
      attended[quad] = value / sum;
    }
    barrier();
  }
}

/// Puts the result of this workgroup's heads into `attended`: true in all invocations of the workgroup that has it.
/// first_row: of the heads of all conversations, where parts and limits of these are; arrival: the counter of these heads. All call it, in
/// workgroups of 0 .. active_splits(visible) - 1.
bool attend(uint split, uint first_row, uint head_count, uint arrival, uint visible) {
  const uint thread = gl_LocalInvocationIndex, splits = active_splits(visible);
  attend_split(split, splits, visible);
  if (splits == 1u) {  // nobody to wait for
    for (uint i = thread; i < QUADS; i += THREADS) {
      const uint h = i / HEAD_QUADS;
      attended[i] /= merged_sum(h, merged_maximum(h));
    }
    barrier();
    return true;
  }
  for (uint i = thread; i < QUADS; i += THREADS) {
    const uint h = i / HEAD_QUADS;
    if (h < head_count)
      part_quads[((first_row + h) * SPLITS + split) * HEAD_QUADS + i % HEAD_QUADS] = attended[i];
  }
  for (uint h = thread; h < head_count; h += THREADS) {
    const float maximum = merged_maximum(h);
    limits[((first_row + h) * SPLITS + split) * 2u] = maximum;
    limits[((first_row + h) * SPLITS + split) * 2u + 1u] = merged_sum(h, maximum);
  }
  memoryBarrierBuffer();
  if (!last_to_arrive(arrival, splits))
    return false;
  merge_splits(first_row, head_count, splits);
  return true;
}

#endif
