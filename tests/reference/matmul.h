// Matrix multiplication with a weight, in double precision.
#pragma once

#include <cmath>
#include <vector>

namespace vl2::reference {

inline double gelu_erf(double x) {
  return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}
inline double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

/// x [rows, k], weight [columns, k], both row-major -> [rows, columns]. Source: torch.nn.Linear.
inline std::vector<double> matmul(const std::vector<float>& x, const std::vector<float>& weight, size_t k) {
  const size_t rows = x.size() / k, columns = weight.size() / k;
  std::vector<double> y(rows * columns);
  for (size_t row = 0; row < rows; ++row)
    for (size_t column = 0; column < columns; ++column) {
      double sum = 0;
      for (size_t i = 0; i < k; ++i)
        sum += double{x[row * k + i]} * weight[column * k + i];
      y[row * columns + column] = sum;
    }
  return y;
}

}  // namespace vl2::reference
