// Softmax attention in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace vl2::reference {

struct AttentionSizes {
  size_t batch, queries, keys, heads, width, value_width;
};

/// q [batch, queries, heads, width], k [batch, keys, heads, width], v [batch, keys, heads, value_width], row-major; the result is
/// [batch, queries, heads, value_width]. When causal, query t sees keys 0 .. first_position + t. Source: facts of the model,
/// sections 2 and 6.2.
inline std::vector<double> attention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                                     const AttentionSizes& n, double scale, bool causal, size_t first_position) {
  std::vector<double> y(n.batch * n.queries * n.heads * n.value_width);
  for (size_t b = 0; b < n.batch; ++b)
    for (size_t t = 0; t < n.queries; ++t)
      for (size_t h = 0; h < n.heads; ++h) {
        const size_t seen = causal ? first_position + t + 1 : n.keys;
        std::vector<double> weights(seen);
        for (size_t s = 0; s < seen; ++s) {
          for (size_t d = 0; d < n.width; ++d)
            weights[s] +=
                double{q[((b * n.queries + t) * n.heads + h) * n.width + d]} * k[((b * n.keys + s) * n.heads + h) * n.width + d];
          weights[s] *= scale;
        }
        const double maximum = *std::max_element(weights.begin(), weights.end());
        double sum = 0;
        for (double& weight : weights) {
          weight = std::exp(weight - maximum);
          sum += weight;
        }
        for (size_t s = 0; s < seen; ++s)
          for (size_t c = 0; c < n.value_width; ++c)
            y[((b * n.queries + t) * n.heads + h) * n.value_width + c] +=
                weights[s] / sum * v[((b * n.keys + s) * n.heads + h) * n.value_width + c];
      }
  return y;
}

}  // namespace vl2::reference
