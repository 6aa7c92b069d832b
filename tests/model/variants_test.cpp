#include "model/variants.h"

#include <doctest/doctest.h>
#include <string>

using namespace vl2;

namespace {

uint64_t vision_parameters(const VisionConfig& v) {
  const uint64_t w = v.width, m = v.mlp_width();
  const uint64_t block = 4 * w + (3 * w * w + 3 * w) + (w * w + w) + (w * m + m) + (m * w + w);
  const uint64_t patch_embed = w * 3 * v.patch_size * v.patch_size + w;
  return v.tokens() * w + patch_embed + v.layers * block + 2 * w;
}

// The pooling head that the checkpoints hold and nobody uses: latent, q, kv, proj, norm, mlp.
uint64_t pool_parameters(const VisionConfig& v) {
  const uint64_t w = v.width, m = v.mlp_width();
  return w + (w * w + w) + (2 * w * w + 2 * w) + (w * w + w) + 2 * w + (w * m + m) + (m * w + w);
}

uint64_t projector_parameters(const ProjectorConfig& p) {
  const uint64_t in = uint64_t{p.input_dim} * p.downsample_ratio * p.downsample_ratio, out = p.n_embed;
  return in * out + out + out * out + out;
}

uint64_t language_parameters(const LanguageConfig& l) {
  const uint64_t h = l.hidden_size, heads = l.num_attention_heads;
  uint64_t attention = 4 * h * h;
  if (l.use_mla)
    attention = h * heads * (l.qk_nope_head_dim + l.qk_rope_head_dim) + h * (l.kv_lora_rank + l.qk_rope_head_dim) +
                l.kv_lora_rank + l.kv_lora_rank * heads * (l.qk_nope_head_dim + l.v_head_dim) + heads * l.v_head_dim * h;
  uint64_t total = 2 * l.vocab_size * h + h;
  for (uint32_t layer = 0; layer < l.num_hidden_layers; ++layer) {
    total += attention + 2 * h;
    if (l.is_moe_layer(layer))
      total += l.n_routed_experts * h + (l.has_correction_bias() ? l.n_routed_experts : 0) +
               uint64_t{l.n_routed_experts + l.n_shared_experts} * 3 * h * l.moe_intermediate_size;
    else
      total += 3 * h * l.intermediate_size;
  }
  return total;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("variants: parameters add up to the published models") {
    const struct {
      const char* name;
      uint64_t projector, language, total;
    } rows[] = {{"tiny", 7539200, 2934734080, 3370501440},
                {"small", 13635584, 15706484224, 16148349504},
                {"base", 18355200, 27033548328, 27480134248}};
    REQUIRE(variants().size() == 3);
    for (const auto& row : rows) {
      CAPTURE(row.name);
      const Variant* variant = find_variant(row.name);
      REQUIRE(variant != nullptr);
      const Config& c = variant->config;
      CHECK(vision_parameters(c.vision) == 412987248);
      CHECK(pool_parameters(c.vision) == 15238352);
      CHECK(projector_parameters(c.projector) == row.projector);
      CHECK(language_parameters(c.language) == row.language);
      const uint64_t two_vectors = 2 * c.language.hidden_size;  // image_newline, view_seperator
      CHECK(412987248 + 15238352 + projector_parameters(c.projector) + two_vectors + language_parameters(c.language) ==
            row.total);
    }
  }

  TEST_CASE("variants: a view has 729 patches, 196 tokens and 4304 inner features") {
    for (const Variant& variant : variants()) {
      CHECK(variant.config.vision.tokens() == 729);
      CHECK(variant.config.vision.mlp_width() == 4304);
      CHECK(variant.config.tokens_per_side() == 14);
      CHECK(variant.config.tokens_per_view() == 196);
      CHECK(variant.config.candidate_resolutions.size() == 23);
    }
  }

  TEST_CASE("variants: an unknown name has none") {
    CHECK(find_variant("medium") == nullptr);
    CHECK(find_variant("") == nullptr);
  }
}
