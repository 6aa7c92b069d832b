// What attention and mla_attention share in choosing and starting the kernel of shaders/attention/matrix.glsl.
#pragma once

#include <initializer_list>
#include <optional>
#include <utility>

#include "runtime/recorder.h"
#include "runtime/tuning.h"

namespace vl2 {

/// The tile with which matrix units do this, or nothing: wrong tier, dtype, scale, or rows that do not start at multiples of 16
/// bytes.
///
/// wanted  a tile to take instead of the tuning's; may be null
/// views   everything that the kernel reads and writes, and how it is bound
std::optional<AttentionTile> matrix_attention(Recorder& rec, const AttentionProblem& problem, float scale,
                                              const AttentionTile* wanted,
                                              std::initializer_list<std::pair<const TensorView*, const AlignedView*>> views);

/// Records one workgroup for each block of queries, head and batch. The kernel's constants follow from tile and widths.
template <typename Params>
Status dispatch_matrix_attention(Recorder& rec, ShaderId shader, std::initializer_list<Binding> tensors, const Params& params,
                                 const AttentionTile& tile, uint32_t depth, uint32_t value_width, uint32_t heads, uint32_t batch,
                                 Cost cost) {
  const uint32_t blocks = (params.query_count + tile.queries() - 1) / tile.queries();
  return rec.dispatch(shader, tensors, params, Groups{.x = heads, .y = blocks, .z = batch}, cost,
                      {tile.threads(), tile.shape.m, tile.shape.n, tile.shape.k, tile.row_tiles, tile.keys, depth, value_width,
                       tile.prefetch ? 1u : 0u});
}

}  // namespace vl2
