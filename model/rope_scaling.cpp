#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/language_model.h"
#include "runtime/ops/rope.h"

namespace vl2 {

namespace {

double magnitude(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

// Which pair turns `rotations` times over the context that the model was first trained with.
double pair_of_rotations(const YarnConfig& yarn, double rotations, uint32_t dims, double theta) {
  const double length = yarn.original_max_position_embeddings;
  return dims * std::log(length / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

// Fast pairs keep their frequency, slow ones are slowed down by `factor`, and those between take a bit of both.
std::vector<double> yarn_frequencies(const YarnConfig& yarn, uint32_t dims, double theta) {
  const double low = std::max(std::floor(pair_of_rotations(yarn, yarn.beta_fast, dims, theta)), 0.0);
  const double high = std::min(std::ceil(pair_of_rotations(yarn, yarn.beta_slow, dims, theta)), dims - 1.0);
  const double width = high == low ? 0.001 : high - low;
  std::vector<double> frequencies;
  for (uint32_t i = 0; i < dims / 2; ++i) {
    const double fast = std::pow(theta, -2.0 * i / dims), slowed = std::clamp((i - low) / width, 0.0, 1.0);
    frequencies.push_back(fast * (1 - slowed) + fast / yarn.factor * slowed);
  }
  return frequencies;
}

}  // namespace

std::vector<float> language_rope_table(const LanguageConfig& config, uint32_t capacity) {
  const uint32_t dims = rope_width(config);
  if (!config.yarn.has_value())
    return rope_table(capacity, dims, static_cast<double>(config.rope_theta));
  const YarnConfig& yarn = *config.yarn;
  const double scale = magnitude(yarn.factor, yarn.mscale) / magnitude(yarn.factor, yarn.mscale_all_dim);
  return rope_table(capacity, yarn_frequencies(yarn, dims, static_cast<double>(config.rope_theta)), scale);
}

float attention_scale(const LanguageConfig& config) {
  const uint32_t width = config.use_mla ? config.qk_nope_head_dim + config.qk_rope_head_dim : rope_width(config);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  if (!config.yarn.has_value())
    return scale;
  const double wider = magnitude(config.yarn->factor, config.yarn->mscale_all_dim);
  return static_cast<float>(static_cast<double>(scale) * wider * wider);
}

}  // namespace vl2
