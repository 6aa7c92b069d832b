// Bindings of decode_gemv.comp and decode_gemv_dot.comp.
#include "interface/decode_gemv.h"

layout(push_constant) uniform Push { DecodeGemvParams p; };
layout(binding = DECODE_GEMV_X) readonly buffer X { vec4 x_quads[]; };
layout(binding = DECODE_GEMV_NORM) readonly buffer Norm { vec4 norm_quads[]; };
layout(binding = DECODE_GEMV_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_GEMV_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = DECODE_GEMV_EXPERT_WEIGHTS) readonly buffer ExpertWeights { float expert_weights[]; };
layout(binding = DECODE_GEMV_ADDEND) readonly buffer Addend { float addend[]; };
layout(binding = DECODE_GEMV_Y) buffer Y { float y[]; };
#define SCALES_BINDING DECODE_GEMV_SCALES
