// The filters of sampling in double precision, by sorting everything.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

namespace vl2::reference {

/// What can be drawn: ids from the likeliest on (equal logits: lower id first), and the probabilities of the same.
struct Candidates {
  std::vector<uint32_t> ids;
  std::vector<double> probabilities;
};

struct Filters {
  double temperature = 1;
  size_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
};

inline std::vector<double> penalised(const std::vector<float>& logits, const std::set<uint32_t>& seen, double penalty) {
  std::vector<double> scores(logits.begin(), logits.end());
  for (const uint32_t id : seen)
    scores[id] = scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty;
  return scores;
}

inline void renormalise(std::vector<double>& probabilities) {
  const double sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  for (double& probability : probabilities)
    probability /= sum;
}

/// logits without NaN. Source: facts of the model, section 5.6; the order of the filters is that of transformers' logits
/// processors.
inline Candidates candidates(const std::vector<float>& logits, const std::set<uint32_t>& seen, const Filters& filters) {
  std::vector<double> scores = penalised(logits, seen, filters.repetition_penalty);
  for (double& score : scores)
    score /= filters.temperature;
  std::vector<uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  if (filters.top_k > 0 && filters.top_k < order.size())
    order.resize(filters.top_k);

  std::vector<double> probabilities;
  for (const uint32_t id : order)
    probabilities.push_back(std::exp(scores[id] - scores[order[0]]));
  renormalise(probabilities);
  size_t kept = 0;
  for (double sum = 0; kept < order.size() && (kept == 0 || sum < filters.top_p); ++kept)
    sum += probabilities[kept];
  if (filters.top_p < 1)
    probabilities.resize(kept);
  renormalise(probabilities);
  while (probabilities.back() == 0 || probabilities.back() < filters.min_p * probabilities.front())
    probabilities.pop_back();
  renormalise(probabilities);
  order.resize(probabilities.size());
  return {order, probabilities};
}

/// The part of [0, 1) that gives a token when the shares are laid out by ascending id; empty for what cannot be drawn.
struct Share {
  double begin = 0, end = 0;
  bool holds(double random, double tolerance) const {
    return begin - tolerance <= random && random < end + tolerance && begin < end;
  }
};

inline Share share_of(const Candidates& candidates, uint32_t token) {
  Share share;
  for (size_t i = 0; i < candidates.ids.size(); ++i) {
    if (candidates.ids[i] < token)
      share.begin += candidates.probabilities[i];
    if (candidates.ids[i] == token)
      share.end = candidates.probabilities[i];
  }
  if (share.end > 0)
    share.end += share.begin;
  else
    share = {};
  return share;
}

}  // namespace vl2::reference
