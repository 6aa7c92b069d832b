// Activations as signed bytes with a scale for every 32 elements: what decode_bytes.comp stores and decode_gemv_dot.comp multiplies.
//
// Four neighbouring invocations share a block, eight elements each. The order of the bytes is that of the weights' (runtime/weight_format.h).
#extension GL_KHR_shader_subgroup_clustered : require

struct XBytes {
  uvec2 words;
  vec2 scales;  // of the block: what a code is worth, and that times the sum of the codes
};

uint pack_bytes(ivec4 codes) { return uint(codes.x & 255) | uint(codes.y & 255) << 8 | uint(codes.z & 255) << 16 | uint(codes.w) << 24; }

// What eight elements add to the sum of squares. Precise, like the next one: what one kernel fuses another would not.
float square_of(vec4 low, vec4 high) {
  precise const vec4 squares = low * low + high * high;
  precise const float sum = (squares.x + squares.y) + (squares.z + squares.w);
  return sum;
}

// 1 / rms. k is a specialisation constant wherever this is used: a quotient that the compiler works out is not the device's to the last bit.
float rms_scale(float square, const uint k, float eps) {
  precise const float mean = square * (1.0 / float(k));
  precise const float shifted = mean + eps;
  return inversesqrt(shifted);
}

// All four invocations of a block call it together.
XBytes x_bytes(vec4 low, vec4 high) {
  const vec4 sizes = max(abs(low), abs(high));
  const float largest = subgroupClusteredMax(max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)), 4u);
  const float factor = largest > 0.0 ? 127.0 / largest : 0.0;
  const ivec4 code_low = ivec4(roundEven(low * factor)), code_high = ivec4(roundEven(high * factor));
  const ivec4 both = code_low + code_high;
  const int sum = subgroupClusteredAdd(both.x + both.y + both.z + both.w, 4u);
  return XBytes(uvec2(pack_bytes(ivec4(code_low.x, code_high.x, code_low.y, code_high.y)),
                      pack_bytes(ivec4(code_low.z, code_high.z, code_low.w, code_high.w))),
                vec2(1.0, float(sum)) * (largest / 127.0));
}
