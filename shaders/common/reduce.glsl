// Sum and maximum over a workgroup of up to 1024 invocations, for any subgroup size of at least 4. All invocations take part and get the result.
#ifndef VL2_REDUCE_GLSL
#define VL2_REDUCE_GLSL
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

shared float reduce_slots[256];  // one a subgroup: 1024 invocations / 4

float workgroup_sum(float value) {
  const float partial = subgroupAdd(value);
  barrier();  // an earlier reduction may still be reading the slots
  if (subgroupElect())
    reduce_slots[gl_SubgroupID] = partial;
  barrier();
  float sum = 0.0;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    sum += reduce_slots[i];
  return sum;
}

float workgroup_max(float value) {
  const float partial = subgroupMax(value);
  barrier();
  if (subgroupElect())
    reduce_slots[gl_SubgroupID] = partial;
  barrier();
  float best = reduce_slots[0];
  for (uint i = 1u; i < gl_NumSubgroups; ++i)
    best = max(best, reduce_slots[i]);
  return best;
}

#endif
