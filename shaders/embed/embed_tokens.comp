// y[t] = table[ids[t]], for the ids among the bound rows; zeros for ids past the whole table.
//
// Shapes    table [vocabulary, width] WEIGHT    ids [token_count] u32    y [token_count, width] f32
// Work      one invocation an element of y
// Numbers   copies, widened to f32
// Needs     32-bit words
// Variants  WEIGHT, BLOCKS
// Source    torch.nn.Embedding
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/embed_tokens.h"
#include "common/flat_grid.glsl"

layout(local_size_x = EMBED_TOKENS_THREADS) in;
layout(push_constant) uniform Push { EmbedTokensParams p; };
layout(binding = EMBED_TOKENS_TABLE) readonly buffer Table { uint weight_words[]; };
layout(binding = EMBED_TOKENS_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = EMBED_TOKENS_Y) writeonly buffer Y { float y[]; };

#define SCALES_BINDING EMBED_TOKENS_SCALES
#include "common/weight.glsl"

void main() {
  const uint index = flat_group() * EMBED_TOKENS_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint token = index / p.width, element = index % p.width;
  const uint id = ids[p.ids_offset + token * p.ids_stride];
  const uint row = id - p.first_id;  // wraps round to a large number before the first row
  if (row < p.id_count)
    y[p.y_offset + token * p.y_row_stride + element] = load_weight(row * p.table_row_stride + element);
  else if (p.first_id == 0u && id >= p.vocabulary)
    y[p.y_offset + token * p.y_row_stride + element] = 0.0;
}
