// What the model's logits say of a token, on the host: for those who ask how sure an answer is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vl2 {

/// A token and the natural logarithm of its probability.
struct TokenProbability {
  uint32_t id = 0;
  float logprob = 0;
};

/// What turns a logit into the logarithm of a probability: log(sum(exp(logits))), summed in double. Logits that are NaN count as
/// impossible.
double log_sum_exp(std::span<const float> logits);

/// logits[id] - log_sum, the softmax at temperature 1; at most 0, and finite for whatever the logits hold.
float log_probability(std::span<const float> logits, uint32_t id, double log_sum);

/// The `count` likeliest tokens, fewer for a small vocabulary; the likeliest first, of equal ones the lower id.
std::vector<TokenProbability> likeliest_tokens(std::span<const float> logits, uint32_t count, double log_sum);

}  // namespace vl2
