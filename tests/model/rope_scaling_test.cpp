// YaRN against its definition, written once more in long double and from the other end: which positions a pair has turned by when.
#include "model/rope_scaling.h"

#include <cmath>
#include <doctest/doctest.h>

using namespace vl2;

namespace {

// DeepSeek-V2-Lite's.
LanguageConfig lite() {
  LanguageConfig config;
  config.use_mla = true;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.rope_theta = 10000;
  config.yarn = YarnConfig{40, 4096, 32, 1, 0.707, 0.707};
  return config;
}

// Wavelengths of V2-Lite's pairs by hand: the first 10 pairs (floor of 10.47) turn more than 32 times in 4096 positions and keep
// theirs, those from 23 on (ceil of 22.51) turn less than once and get 40 times theirs; between, frequencies are mixed linearly.
long double frequency(int pair, int low, int high, long double factor) {
  const long double original = std::exp(-std::log(10000.0L) * pair / 32);
  if (pair <= low)
    return original;
  if (pair >= high)
    return original / factor;
  const long double share = static_cast<long double>(pair - low) / static_cast<long double>(high - low);
  return original + share * (original / factor - original);
}

double worst_of(const LanguageConfig& config, uint32_t positions, int low, int high, long double scale) {
  const std::vector<float> table = language_rope_table(config, positions);
  REQUIRE(table.size() == size_t{positions} * 64);
  double worst = 0;
  for (uint32_t position = 0; position < positions; ++position)
    for (int pair = 0; pair < 32; ++pair) {
      const long double angle = position * frequency(pair, low, high, config.yarn->factor);
      const size_t at = (size_t{position} * 32 + static_cast<size_t>(pair)) * 2;
      worst = std::fmax(worst, static_cast<double>(std::fabs(table[at] - scale * std::cos(angle))));
      worst = std::fmax(worst, static_cast<double>(std::fabs(table[at + 1] - scale * std::sin(angle))));
    }
  return worst;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("yarn: DeepSeek-V2-Lite's table is exact to f32 up to 16384 positions") {
    // Where a pair turns 32 times and once: 64 log(4096 / (2 pi 32)) / (2 log 10000) = 10.47, and 22.51.
    CHECK(worst_of(lite(), 16384, 10, 23, 1) < 1e-7);
    CHECK(worst_of(lite(), 4096, 11, 23, 1) > 1e-2);  // a range that is off by one shows
    CHECK(worst_of(lite(), 4096, 10, 22, 1) > 1e-2);
  }

  TEST_CASE("yarn: mscale over mscale_all_dim scales cos and sin; mscale_all_dim scales the scores, squared") {
    LanguageConfig config = lite();
    // 0.1 * 0.707 * log 40 + 1 = 1.2608037..., squared 1.5896260...
    CHECK(attention_scale(config) == doctest::Approx(1.5896259 / std::sqrt(192.0)).epsilon(1e-6));
    config.yarn->mscale = 1;
    config.yarn->mscale_all_dim = 0;
    CHECK(attention_scale(config) == doctest::Approx(1 / std::sqrt(192.0)).epsilon(1e-6));
    CHECK(worst_of(config, 512, 10, 23, 1.3688879454113936L) < 2e-7);  // 0.1 log 40 + 1
    config.yarn->factor = 1;
    CHECK(worst_of(config, 512, 10, 23, 1) < 1e-7);
  }

  TEST_CASE("yarn: without it the table and the scale are the plain ones") {
    LanguageConfig config = lite();
    config.yarn.reset();
    const std::vector<float> table = language_rope_table(config, 100);
    const size_t at = (99 * 32 + 5) * 2;
    CHECK(table[at] == doctest::Approx(std::cos(99 * std::pow(10000.0, -10.0 / 64))).epsilon(1e-6));
    CHECK(attention_scale(config) == doctest::Approx(1 / std::sqrt(192.0)).epsilon(1e-6));
    config.use_mla = false;
    config.hidden_size = 1280;
    config.num_attention_heads = 10;
    CHECK(attention_scale(config) == doctest::Approx(1 / std::sqrt(128.0)).epsilon(1e-6));
  }
}
