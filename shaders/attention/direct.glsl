// Attention of a block of queries over all keys they see, by one subgroup without shared memory: for many queries on a CPU driver.
//
// The including shader declares its buffers, p.scale, and
//   vec4 load_q4(uint t, uint d), load_k4(uint s, uint d), load_v4(uint s, uint c);  float load_v(uint s, uint c);
//   void store_y(uint t, uint c, float value);
// d and c of load_?4 are multiples of 4. It calls attention_direct() once from all invocations. A shader whose keys lie in two buffers defines
// KEY_PARTS 2 and declares load_k4_rest(s, d) for the elements from `split` on.
//
// Work      A block of keys is LANES keys, a lane each: scores [query] are made as matmul/gemm_direct.glsl makes its tile, for the reasons that
//           stand there. For the values a lane owns columns instead: four neighbours of each VALUE_QUADS * LANES * 4, then one of each
//           VALUE_TAIL * LANES; the weights come by broadcast from the lane of the key.
// Numbers   all f32. Maximum and sum of a row run along with the blocks; earlier parts are scaled down when the maximum rises.
//           A masked score is MASKED: block 0 holds key 0, which every query sees, so from then on exp(MASKED - maximum) is 0.
// Source    as attention/tiled.glsl
#ifndef VL2_ATTENTION_DIRECT_GLSL
#define VL2_ATTENTION_DIRECT_GLSL
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;                          // the subgroup's size
layout(constant_id = 1) const uint QUERY_VECTORS = 4u;   // queries of a workgroup / LANES
layout(constant_id = 2) const uint VALUE_QUADS = 2u;
layout(constant_id = 3) const uint VALUE_TAIL = 1u;
const uint LANES = gl_WorkGroupSize.x, QUERIES = QUERY_VECTORS * LANES;
const uint VALUE_VECTORS = 4u * VALUE_QUADS + VALUE_TAIL;
const float MASKED = -1.0e30;

float scores[QUERIES];  // of this lane's key; then exp(score - maximum)
float values[QUERIES * VALUE_VECTORS];

uint value_column(uint vector) {
  const uint lane = gl_SubgroupInvocationID;
  return vector < 4u * VALUE_QUADS ? (vector / 4u * LANES + lane) * 4u + vector % 4u : vector * LANES + lane;
}

// Adds to the scores what four elements of this lane's key and of the queries from t0, from d on, make.
void add_scores(vec4 key, uint t0, uint query_count, uint d) {
  [[unroll]] for (uint i = 0u; i < QUERY_VECTORS; ++i) {
    const vec4 own = load_q4(min(t0 + i * LANES + gl_SubgroupInvocationID, query_count - 1u), d);
    [[unroll]] for (uint lane = 0u; lane < LANES; ++lane) {
      const vec4 query = vec4(subgroupBroadcast(own.x, lane), subgroupBroadcast(own.y, lane), subgroupBroadcast(own.z, lane),
                              subgroupBroadcast(own.w, lane));
      scores[i * LANES + lane] += dot(query, key);
    }
  }
}

void add_value(uint vector, uint key, float value) {
  [[unroll]] for (uint t = 0u; t < QUERIES; ++t)
    values[t * VALUE_VECTORS + vector] += subgroupBroadcast(scores[t], key) * value;
}

// depth: elements of a key, a multiple of 4 as `split` is. visible(t) = min(key_count, first_visible + t): query t sees keys 0 ..
// visible(t) - 1; at least one.
void attention_direct(uint query_count, uint key_count, uint first_visible, uint split, uint depth, uint value_width) {
  const uint t0 = gl_WorkGroupID.x * QUERIES, lane = gl_SubgroupInvocationID;
  const uint key_end = min(key_count, first_visible + min(t0 + QUERIES, query_count) - 1u);
  float maximum[QUERIES], sum[QUERIES];  // the sum: of this lane's keys only
  [[unroll]] for (uint t = 0u; t < QUERIES; ++t) {
    maximum[t] = MASKED;
    sum[t] = 0.0;
  }
  [[unroll]] for (uint i = 0u; i < QUERIES * VALUE_VECTORS; ++i)
    values[i] = 0.0;

  for (uint s0 = 0u; s0 < key_end; s0 += LANES) {
    const uint s = min(s0 + lane, key_end - 1u);
    [[unroll]] for (uint t = 0u; t < QUERIES; ++t)
      scores[t] = 0.0;
    [[dont_unroll]] for (uint d = 0u; d < split; d += 4u)
      add_scores(load_k4(s, d), t0, query_count, d);
#if KEY_PARTS == 2
    [[dont_unroll]] for (uint d = split; d < depth; d += 4u)
      add_scores(load_k4_rest(s, d), t0, query_count, d);
#endif
    [[unroll]] for (uint t = 0u; t < QUERIES; ++t) {
      const float score = s0 + lane < min(key_end, first_visible + t0 + t) ? scores[t] * p.scale : MASKED;
      const float new_maximum = max(maximum[t], subgroupMax(score));
      const float shrink = exp(maximum[t] - new_maximum);
      maximum[t] = new_maximum;
      scores[t] = exp(score - new_maximum);
      sum[t] = sum[t] * shrink + scores[t];
      [[unroll]] for (uint i = 0u; i < VALUE_VECTORS; ++i)
        values[t * VALUE_VECTORS + i] *= shrink;
    }
    const uint keys = min(LANES, key_end - s0);
    [[dont_unroll]] for (uint key = 0u; key < keys; ++key) {
      [[unroll]] for (uint j = 0u; j < VALUE_QUADS; ++j) {
        const vec4 value = load_v4(s0 + key, min((j * LANES + lane) * 4u, value_width - 4u));
        [[unroll]] for (uint c = 0u; c < 4u; ++c)
          add_value(4u * j + c, key, value[c]);
      }
      [[unroll]] for (uint j = 4u * VALUE_QUADS; j < VALUE_VECTORS; ++j)
        add_value(j, key, load_v(s0 + key, min(j * LANES + lane, value_width - 1u)));
    }
  }

  // In a loop, for the reason that stands in matmul/gemm_direct.glsl.
  float results[QUERIES * VALUE_VECTORS];
  [[unroll]] for (uint t = 0u; t < QUERIES; ++t) {
    const float row_sum = subgroupAdd(sum[t]);
    [[unroll]] for (uint i = 0u; i < VALUE_VECTORS; ++i)
      results[t * VALUE_VECTORS + i] = values[t * VALUE_VECTORS + i] / row_sum;
  }
  const uint queries = min(QUERIES, query_count - t0);
  [[dont_unroll]] for (uint i = 0u; i < VALUE_VECTORS; ++i) {
    const uint c = value_column(i);
    if (c < value_width)
      [[dont_unroll]] for (uint t = 0u; t < queries; ++t)
        store_y(t0 + t, c, results[t * VALUE_VECTORS + i]);
  }
}
#endif
