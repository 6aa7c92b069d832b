// One token's pieces in double precision: a product behind an RMSNorm, SwiGLU, and the rotation of pairs at a position.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace vl2::reference {

/// x / sqrt(mean(x^2) + eps) * norm; x itself without a norm.
inline std::vector<double> normed(const std::vector<float>& x, const std::vector<float>& norm, double eps) {
  std::vector<double> y(x.begin(), x.end());
  if (norm.empty())
    return y;
  double squares = 0;
  for (const double value : y)
    squares += value * value;
  const double rms = std::sqrt(squares / static_cast<double>(y.size()) + eps);
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = y[i] / rms * norm[i];
  return y;
}

/// Rows first_row .. first_row + rows - 1 of weight [.., x.size()] times x.
inline std::vector<double> product(const std::vector<float>& weight, size_t first_row, size_t rows,
                                   const std::vector<double>& x) {
  std::vector<double> y(rows);
  for (size_t row = 0; row < rows; ++row)
    for (size_t k = 0; k < x.size(); ++k)
      y[row] += double{weight[(first_row + row) * x.size() + k]} * x[k];
  return y;
}

/// silu(gate) * up of the first and second half.
inline std::vector<double> gated(const std::vector<double>& gate_up) {
  const size_t width = gate_up.size() / 2;
  std::vector<double> y(width);
  for (size_t i = 0; i < width; ++i)
    y[i] = gate_up[i] / (1 + std::exp(-gate_up[i])) * gate_up[width + i];
  return y;
}

/// x [2 * half] rotated at `position`, pairs (2i, 2i + 1) or (i, i + half), by angles position * theta^(-i / half).
inline std::vector<double> rotated(const std::vector<double>& x, double position, double theta, bool interleaved) {
  const size_t half = x.size() / 2;
  std::vector<double> y(x.size());
  for (size_t i = 0; i < half; ++i) {
    const size_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
    const double angle = position * std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
    y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return y;
}

}  // namespace vl2::reference
