// The weighted sum of the experts' outputs in double precision.
#pragma once

#include <cstdint>
#include <vector>

namespace vl2::reference {

/// x [tokens * top_k, width] by slot; pair_slot [tokens * top_k]; weights [tokens, top_k]; shared [tokens, width] or empty;
/// residual [tokens, width]. Gives the new residual. Source: facts of the model, section 6.5.
inline std::vector<double> expert_combine(const std::vector<float>& x, const std::vector<uint32_t>& pair_slot,
                                          const std::vector<float>& weights, const std::vector<float>& shared,
                                          const std::vector<float>& residual, size_t width) {
  const size_t token_count = residual.size() / width, top_k = weights.size() / token_count;
  std::vector<double> sum(residual.begin(), residual.end());
  for (size_t t = 0; t < token_count; ++t)
    for (size_t d = 0; d < width; ++d) {
      for (size_t j = 0; j < top_k; ++j)
        sum[t * width + d] += double{weights[t * top_k + j]} * x[pair_slot[t * top_k + j] * width + d];
      if (!shared.empty())
        sum[t * width + d] += shared[t * width + d];
    }
  return sum;
}

}  // namespace vl2::reference
