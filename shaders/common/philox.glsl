// Philox4x32-10: four random words from a counter and a key, with no state.
//
// Source  Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011), section 3.3 and table 2
#ifndef VL2_PHILOX_GLSL
#define VL2_PHILOX_GLSL
#extension GL_EXT_control_flow_attributes : require

uvec4 philox4x32(uvec4 counter, uvec2 key) {
  [[dont_unroll]] for (uint turn = 0u; turn < 10u; ++turn) {
    uint low_0, high_0, low_2, high_2;
    umulExtended(0xd2511f53u, counter.x, high_0, low_0);
    umulExtended(0xcd9e8d57u, counter.z, high_2, low_2);
    counter = uvec4(high_2 ^ counter.y ^ key.x, low_2, high_0 ^ counter.w ^ key.y, low_0);
    key += uvec2(0x9e3779b9u, 0xbb67ae85u);
  }
  return counter;
}

#endif
