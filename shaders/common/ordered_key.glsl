// Floats as unsigned keys of the same order, so that comparisons are exact, total and deaf to how a device treats NaN.
#ifndef VL2_ORDERED_KEY_GLSL
#define VL2_ORDERED_KEY_GLSL

const uint KEY_OF_NAN = 0u;  // below every number

/// a < b as floats exactly when the keys are so; -0 and +0 have one key.
uint ordered_key(float value) {
  uint bits = floatBitsToUint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return KEY_OF_NAN;
  if (bits == 0x80000000u)
    bits = 0u;
  return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

/// The float of a key; not for KEY_OF_NAN.
float key_value(uint key) { return uintBitsToFloat((key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key); }

#endif
