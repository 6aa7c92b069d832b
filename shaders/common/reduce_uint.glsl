// Minimum and maximum of unsigned integers over a workgroup of up to 1024, for any subgroup size of at least 4.
// All invocations take part and get the result.
#ifndef VL2_REDUCE_UINT_GLSL
#define VL2_REDUCE_UINT_GLSL
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

shared uint reduce_uint_slots[256];  // one a subgroup: 1024 invocations / 4

uint workgroup_max(uint value) {
  const uint partial = subgroupMax(value);
  barrier();  // an earlier reduction may still be reading the slots
  if (subgroupElect())
    reduce_uint_slots[gl_SubgroupID] = partial;
  barrier();
  uint best = 0u;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    best = max(best, reduce_uint_slots[i]);
  return best;
}

uint workgroup_min(uint value) { return ~workgroup_max(~value); }

#endif
