// What attention and mla_attention share in choosing and starting the kernel of shaders/attention/direct.glsl.
#pragma once

#include <initializer_list>
#include <optional>
#include <utility>

#include "runtime/recorder.h"
#include "runtime/tuning.h"

namespace vl2 {

/// The tile with which a CPU driver does this; nothing on other devices, or when a width, offset or stride is no multiple of 4.
///
/// views   everything that the kernel reads, and how it is bound
/// widths  of queries, keys and their parts, and of values
std::optional<DirectAttentionTile> direct_attention(Recorder& rec, uint32_t value_width,
                                                    std::initializer_list<std::pair<const TensorView*, const AlignedView*>> views,
                                                    std::initializer_list<uint32_t> widths);

/// Records one workgroup for each block of queries, head and batch.
template <typename Params>
Status dispatch_direct_attention(Recorder& rec, ShaderId shader, std::initializer_list<Binding> tensors, const Params& params,
                                 const DirectAttentionTile& tile, uint32_t heads, uint32_t batch, Cost cost) {
  const uint32_t blocks = (params.query_count + tile.queries() - 1) / tile.queries();
  return rec.dispatch(shader, tensors, params, Groups{.x = blocks, .y = heads, .z = batch}, cost,
                      {tile.threads, tile.query_vectors, tile.value_quads, tile.value_tail});
}

}  // namespace vl2
