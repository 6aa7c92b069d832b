// The gate of a mixture of experts in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace vl2::reference {

struct Routing {
  std::vector<uint32_t> ids;    // [tokens, top_k]
  std::vector<double> weights;  // [tokens, top_k]
};

/// logits [tokens, expert_count] row-major, none NaN; bias [expert_count] or empty. Source: facts of the model, section 6.5.
inline Routing router(const std::vector<float>& logits, size_t expert_count, const std::vector<float>& bias, size_t top_k,
                      bool sigmoid, bool renormalise, double factor) {
  Routing routing;
  for (size_t row = 0; row < logits.size(); row += expert_count) {
    std::vector<double> score(expert_count), choice(expert_count);
    double sum_of_exp = 0;
    for (size_t e = 0; e < expert_count; ++e)
      sum_of_exp += std::exp(double{logits[row + e]});
    for (size_t e = 0; e < expert_count; ++e) {
      const double exp_logit = std::exp(double{logits[row + e]});
      score[e] = sigmoid ? exp_logit / (1 + exp_logit) : exp_logit / sum_of_exp;
      choice[e] = score[e] + (bias.empty() ? 0.0 : bias[e]);
    }
    std::vector<uint32_t> order(expert_count);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return choice[a] > choice[b]; });
    double chosen_sum = 0;
    for (size_t j = 0; j < top_k; ++j)
      chosen_sum += score[order[j]];
    for (size_t j = 0; j < top_k; ++j) {
      routing.ids.push_back(order[j]);
      routing.weights.push_back(score[order[j]] / (renormalise ? chosen_sum + 1e-20 : 1.0) * factor);
    }
  }
  return routing;
}

}  // namespace vl2::reference
