// The store of results: y in the type of activations, or in f32 where p.y_is_f32 says so. The includer defines Y_BINDING, and VL2_STORE_QUADS
// if it stores four neighbours at once.
#include "common/act_type.glsl"

layout(binding = Y_BINDING) writeonly buffer Y { act_t y[]; };
#ifdef ACT_f16
layout(binding = Y_BINDING) writeonly buffer Y32 { float y_f32[]; };
#endif

void store_y(uint at, float value) {
#ifdef ACT_f16
  if (p.y_is_f32 != 0u) {
    y_f32[at] = value;
    return;
  }
#endif
  y[at] = to_act(value);
}

#ifdef VL2_STORE_QUADS
#extension GL_EXT_control_flow_attributes : require
layout(constant_id = 12) const bool Y_QUADS = false;  // rows of y, and of what is added to it, begin at multiples of 4 elements
layout(binding = Y_BINDING) writeonly buffer YQuads { act4_t y_quads[]; };
layout(binding = Y_BINDING) writeonly buffer Y32Quads { vec4 y_f32_quads[]; };

void store_y_quad(uint at, vec4 value) {
  if (p.y_is_f32 != 0u)
    y_f32_quads[at >> 2] = value;
  else
    y_quads[at >> 2] = act4_t(to_act(value.x), to_act(value.y), to_act(value.z), to_act(value.w));
}
#endif
