#include "model/token_probability.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace vl2 {

double log_sum_exp(std::span<const float> logits) {
  double highest = -std::numeric_limits<double>::infinity();
  for (const float logit : logits)
    if (logit > highest)  // false for NaN
      highest = logit;
  if (!std::isfinite(highest))
    return highest;
  double sum = 0;
  for (const float logit : logits)
    if (!std::isnan(logit))
      sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum);
}

float log_probability(std::span<const float> logits, uint32_t id, double log_sum) {
  const double value = static_cast<double>(logits[id]) - log_sum;
  constexpr double kLeast = std::numeric_limits<float>::lowest();
  return std::isnan(value) ? std::numeric_limits<float>::lowest() : static_cast<float>(std::clamp(value, kLeast, 0.0));
}

std::vector<TokenProbability> likeliest_tokens(std::span<const float> logits, uint32_t count, double log_sum) {
  std::vector<uint32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0u);
  const auto key = [&](uint32_t id) { return std::isnan(logits[id]) ? -std::numeric_limits<float>::infinity() : logits[id]; };
  const size_t kept = std::min<size_t>(count, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(kept), ids.end(),
                    [&](uint32_t a, uint32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  std::vector<TokenProbability> tokens;
  for (size_t i = 0; i < kept; ++i)
    tokens.push_back({ids[i], log_probability(logits, ids[i], log_sum)});
  return tokens;
}

}  // namespace vl2
