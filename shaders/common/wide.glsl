// 64-bit unsigned integers as (low, high) words, for devices without them.
#ifndef VL2_WIDE_GLSL
#define VL2_WIDE_GLSL

uvec2 wide_add(uvec2 a, uvec2 b) {
  uint carry;
  const uint low = uaddCarry(a.x, b.x, carry);
  return uvec2(low, a.y + b.y + carry);
}

uvec2 wide_subtract(uvec2 a, uvec2 b) {
  uint borrow;
  const uint low = usubBorrow(a.x, b.x, borrow);
  return uvec2(low, a.y - b.y - borrow);
}

bool wide_less(uvec2 a, uvec2 b) { return a.y < b.y || (a.y == b.y && a.x < b.x); }

/// a * b modulo 2^64.
uvec2 wide_times(uvec2 a, uint b) {
  uint low, high;
  umulExtended(a.x, b, high, low);
  return uvec2(low, high + a.y * b);
}

/// a * b / 2^32, rounded up; the product must be below 2^96 - 2^32.
uvec2 wide_scale_up(uvec2 a, uint b) {
  uint low_0, low_1, high_0, high_1;
  umulExtended(a.x, b, low_1, low_0);
  umulExtended(a.y, b, high_1, high_0);
  return wide_add(wide_add(uvec2(high_0, high_1), uvec2(low_1, 0u)), uvec2(low_0 != 0u ? 1u : 0u, 0u));
}

/// a * b / 2^64, rounded down.
uvec2 wide_times_high(uvec2 a, uvec2 b) {
  uint p00_low, p00_high, p01_low, p01_high, p10_low, p10_high, p11_low, p11_high;
  umulExtended(a.x, b.x, p00_high, p00_low);
  umulExtended(a.x, b.y, p01_high, p01_low);
  umulExtended(a.y, b.x, p10_high, p10_low);
  umulExtended(a.y, b.y, p11_high, p11_low);
  const uvec2 middle = wide_add(wide_add(uvec2(p01_low, 0u), uvec2(p10_low, 0u)), uvec2(p00_high, 0u));
  return wide_add(wide_add(uvec2(p11_low, p11_high), uvec2(p01_high, 0u)), wide_add(uvec2(p10_high, 0u), uvec2(middle.y, 0u)));
}

#endif
