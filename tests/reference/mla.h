// Multi-head latent attention in double precision: the whole of it in its naive form, and the steps of the absorbed one.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace vl2::reference {

struct MlaSizes {
  size_t queries, keys, heads, nope, rope, value_width, latent;
};

/// The latents [keys, latent] expanded by kv_b [heads * (nope + value_width), latent]: [keys, heads, nope + value_width].
inline std::vector<double> mla_expand(const std::vector<float>& latents, const std::vector<float>& kv_b, const MlaSizes& n) {
  const size_t rows = n.heads * (n.nope + n.value_width);
  std::vector<double> kv(n.keys * rows);
  for (size_t s = 0; s < n.keys; ++s)
    for (size_t row = 0; row < rows; ++row)
      for (size_t c = 0; c < n.latent; ++c)
        kv[s * rows + row] += double{kv_b[row * n.latent + c]} * latents[s * n.latent + c];
  return kv;
}

/// Causal attention of q [queries, heads, nope + rope] over kv [keys, heads, nope + value_width] and k_rope [keys, rope] (float
/// or double): [queries, heads, value_width]. Source: facts of the model, section 6.3, naive form.
template <typename Kv>
std::vector<double> mla_attention(const std::vector<float>& q, const std::vector<Kv>& kv, const std::vector<float>& k_rope,
                                  const MlaSizes& n, double scale, size_t first_position) {
  std::vector<double> y(n.queries * n.heads * n.value_width);
  for (size_t t = 0; t < n.queries; ++t)
    for (size_t h = 0; h < n.heads; ++h) {
      const float* query = &q[(t * n.heads + h) * (n.nope + n.rope)];
      std::vector<double> weights(first_position + t + 1);
      for (size_t s = 0; s < weights.size(); ++s) {
        for (size_t d = 0; d < n.nope; ++d)
          weights[s] += double{query[d]} * kv[(s * n.heads + h) * (n.nope + n.value_width) + d];
        for (size_t d = 0; d < n.rope; ++d)
          weights[s] += double{query[n.nope + d]} * k_rope[s * n.rope + d];
        weights[s] *= scale;
      }
      const double maximum = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& weight : weights) {
        weight = std::exp(weight - maximum);
        sum += weight;
      }
      for (size_t s = 0; s < weights.size(); ++s)
        for (size_t c = 0; c < n.value_width; ++c)
          y[(t * n.heads + h) * n.value_width + c] +=
              weights[s] / sum * kv[(s * n.heads + h) * (n.nope + n.value_width) + n.nope + c];
    }
  return y;
}

/// q [queries, heads, nope + rope] -> [queries, heads, latent + rope], by the nope rows of kv_b.
inline std::vector<double> mla_absorb_query(const std::vector<float>& q, const std::vector<float>& kv_b, const MlaSizes& n) {
  std::vector<double> y;
  for (size_t t = 0; t < n.queries; ++t)
    for (size_t h = 0; h < n.heads; ++h) {
      const float* query = &q[(t * n.heads + h) * (n.nope + n.rope)];
      for (size_t c = 0; c < n.latent; ++c) {
        double sum = 0;
        for (size_t d = 0; d < n.nope; ++d)
          sum += double{query[d]} * kv_b[(h * (n.nope + n.value_width) + d) * n.latent + c];
        y.push_back(sum);
      }
      y.insert(y.end(), query + n.nope, query + n.nope + n.rope);
    }
  return y;
}

/// Causal attention of q [queries, heads, latent + rope] over cache [keys, latent + rope], which all heads share, with the first
/// latent elements of a row as its value: [queries, heads, latent]. Source: facts of the model, section 6.3, absorbed form.
inline std::vector<double> mla_decode_attention(const std::vector<float>& q, const std::vector<float>& cache, const MlaSizes& n,
                                                double scale, size_t first_position) {
  const size_t width = n.latent + n.rope;
  std::vector<double> y(n.queries * n.heads * n.latent);
  for (size_t row = 0; row < n.queries * n.heads; ++row) {
    std::vector<double> weights(first_position + row / n.heads + 1);
    for (size_t s = 0; s < weights.size(); ++s) {
      for (size_t d = 0; d < width; ++d)
        weights[s] += double{q[row * width + d]} * cache[s * width + d];
      weights[s] *= scale;
    }
    const double maximum = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) {
      weight = std::exp(weight - maximum);
      sum += weight;
    }
    for (size_t s = 0; s < weights.size(); ++s)
      for (size_t c = 0; c < n.latent; ++c)
        y[row * n.latent + c] += weights[s] / sum * cache[s * width + c];
  }
  return y;
}

/// u [queries, heads, latent] -> [queries, heads, value_width], by the value rows of kv_b.
inline std::vector<double> mla_expand_value(const std::vector<float>& u, const std::vector<float>& kv_b, const MlaSizes& n) {
  std::vector<double> y;
  for (size_t t = 0; t < n.queries; ++t)
    for (size_t h = 0; h < n.heads; ++h)
      for (size_t i = 0; i < n.value_width; ++i) {
        double sum = 0;
        for (size_t c = 0; c < n.latent; ++c)
          sum += double{kv_b[(h * (n.nope + n.value_width) + n.nope + i) * n.latent + c]} * u[(t * n.heads + h) * n.latent + c];
        y.push_back(sum);
      }
  return y;
}

}  // namespace vl2::reference
