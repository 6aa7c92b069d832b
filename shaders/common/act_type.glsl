// act_t (and act4_t, four of them): the type of stored activations, from ACT_f32 or ACT_f16. Arithmetic is f32 everywhere; to_act() rounds at the store.
#ifndef VL2_ACT_TYPE_GLSL
#define VL2_ACT_TYPE_GLSL

#ifdef ACT_f16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define act_t float16_t
#define act4_t f16vec4

// Counts stores that did not fit f16. Bound by the recorder itself; constant 31 switches counting on.
layout(constant_id = 31) const bool COUNT_SATURATION = false;
layout(binding = 31) buffer Saturation { uint saturated_stores; };

float16_t to_act(float value) {
  const float clamped = clamp(value, -65504.0, 65504.0);
  if (COUNT_SATURATION && clamped != value)  // also true for NaN
    atomicAdd(saturated_stores, 1u);
  return float16_t(clamped);
}
#else
#define act_t float
#define act4_t vec4
float to_act(float value) { return value; }
#endif

#endif
