// silu, the two GELUs and erf, in f32, without overflow for any finite argument.
#ifndef VL2_ACTIVATION_GLSL
#define VL2_ACTIVATION_GLSL

// erf to 1.3e-7 absolute over all x (measured against double: tests/ops/matmul_test.cpp).
// Up to 1 an odd polynomial, as the Maclaurin series is (DLMF 7.6.1); beyond, 1 - exp(polynomial), as erfc falls like exp(-x^2)
// (DLMF 7.12.1). Coefficients: our own minimax fit of erf(x)/x in x^2 on (0, 1] (5.8e-10) and, weighted by erfc, of log erfc(x) in
// x - 1 on [1, 3.9] (1.0e-9); from 4 on erf is 1 in f32. Two pieces, because
// exp near 0 would cost 3 ULP of 1 by Vulkan's rules.
float erf(float x) {
  const float a = min(abs(x), 4.0);
  if (a < 1.0) {
    const float s = a * a;
    return x * (1.128379158 + s * (-0.37612606 + s * (0.1128343021 + s * (-0.0268485939 + s * (0.005179753854 +
                s * (-0.0007942394284 + s * 7.647252032e-5))))));
  }
  const float t = a - 1.0;
  const float log_erfc = -1.849605517 + t * (-2.638966805 + t * (-0.8431184092 + t * (-0.04150049562 + t * (0.009890666746 +
                         t * (-0.001826056128 + t * 0.0001855596176)))));
  const float magnitude = 1.0 - exp(log_erfc);
  return x < 0.0 ? -magnitude : magnitude;
}

float gelu_erf(float x) { return 0.5 * x * (1.0 + erf(x * 0.70710678118654752)); }

// x / 2 (1 + tanh(u)) = x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3). At -10 that is -1e-37, and further out the clamps
// keep it there; at 10 it is x.
float gelu_tanh(float x) {
  const float c = clamp(x, -10.0, 10.0);
  return max(x, -10.0) / (1.0 + exp(-1.5957691216057308 * (c + 0.044715 * c * c * c)));
}

// At -80 silu is -1e-33, and further out the clamps keep it there.
float silu(float x) {
  const float c = max(x, -80.0);
  return c / (1.0 + exp(-c));
}

#endif
