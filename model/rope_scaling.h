// Rotary positions of the language model, stretched over a longer context where its configuration says so (YaRN).
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace vl2 {

/// The table that rope() reads, f32 [capacity, rope width / 2, 2], computed in double.
///
/// Source  DeepSeek-V2 modeling_deepseek.py, DeepseekV2YarnRotaryEmbedding
std::vector<float> language_rope_table(const LanguageConfig& config, uint32_t capacity);

/// What attention multiplies its scores by: 1 / sqrt(width of a head), times YaRN's square.
///
/// Source  DeepSeek-V2 modeling_deepseek.py, DeepseekV2Attention.__init__
float attention_scale(const LanguageConfig& config);

}  // namespace vl2
