// How the kernels of the decode plan divide their work on a device: plain data in, choice out.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/device_caps.h"
#include "runtime/quirks.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

/// A workgroup of decode_gemv and decode_router.
struct DecodeGemvGroup {
  uint32_t threads;     ///< which share K
  uint32_t rows;        ///< of the weight, at once; an even number with pairs
  uint32_t unroll;      ///< chunks of K (weight_chunk() elements) that are in flight a row
  bool one_subgroup;    ///< all threads are one subgroup
  uint32_t sets = 0;    ///< not 0: decode_gemv_dot; sets of `rows` rows that the workgroup's subgroups share out
  uint32_t tokens = 1;  ///< rows of x for each weight that is loaded; others along z
  bool operator==(const DecodeGemvGroup&) const = default;
};

/// A workgroup of decode_mla_attention and decode_mha_attention, and how many there are.
struct DecodeAttentionShape {
  uint32_t lanes;        ///< invocations that share a row of the cache
  uint32_t groups;       ///< of lanes in a workgroup
  uint32_t heads;        ///< that share the keys
  uint32_t keys;         ///< that a group has in flight
  uint32_t lane_chunks;  ///< chunks of 8 elements of a row that an invocation owns
  uint32_t splits;       ///< workgroups that share the cache
  uint32_t split_tiles;  ///< tiles of groups * keys rows that a split has before the next one is used
  bool operator==(const DecodeAttentionShape&) const = default;
};

/// A workgroup of decode_mla_matrix and one of decode_mla_values, and how many there are.
struct DecodeMatrixShape {
  MatrixShape shape;       ///< of a product: heads, keys or columns, depth
  uint32_t subgroup_size;  ///< matrix_subgroup_size()
  uint32_t subgroups;
  uint32_t keys;         ///< rows of the cache in shared memory at a time
  uint32_t splits;       ///< workgroups that share the cache
  uint32_t split_tiles;  ///< times `keys` rows that a split has before the next one is used
  uint32_t value_rows;   ///< of W_UV, a workgroup of decode_mla_values
  bool operator==(const DecodeMatrixShape&) const = default;

  uint32_t threads() const { return subgroups * subgroup_size; }
  /// Blocks of `shape.m` heads.
  uint32_t head_tiles(uint32_t heads) const { return (heads + shape.m - 1) / shape.m; }
  /// Subgroups that share the depth of a score.
  uint32_t depth_parts() const;
  /// Invocations that look after a row of scores.
  uint32_t row_lanes(uint32_t heads) const;
  /// Of shared memory, of decode_mla_matrix.
  uint32_t shared_bytes(uint32_t depth, uint32_t heads) const;
};

/// Numbers that take the place of the chosen ones, for measuring; 0: as chosen.
struct DecodeTuning {
  uint32_t threads = 0, rows = 0, unroll = 0, sets = 0;  ///< of DecodeGemvGroup, for one token
  uint32_t dot = 0;                                      ///< 2: no dot products of bytes
  uint32_t bytes = 0;                                    ///< of several tokens together; 2: each workgroup makes those of x
  uint32_t heads = 0, keys = 0, splits = 0, groups = 0;  ///< of DecodeAttentionShape
  uint32_t tiles = 0;                                    ///< split_tiles
  uint32_t apart = 0;                                    ///< 1: W_UV in a level of its own
  uint32_t matrix = 0;                                   ///< 1: DecodeMatrixShape wherever it can be; 2: nowhere
  uint32_t subgroups = 0, values = 0;                    ///< of DecodeMatrixShape; `values` is value_rows
  uint32_t conversations = 0;                            ///< most of a dispatch of attention; 1: each has its own
  uint32_t tokens = 0;                                   ///< conversations for each load of W_UK
};

/// "threads=128,rows=4,heads=2": any of the fields above.
///
/// Errors  BadArgument: another word, or a number that is none
Result<DecodeTuning> parse_decode_tuning(std::string_view text);

/// Every group that may be worth a try for `rows` rows of `k` elements (a multiple of a chunk), the one estimated fastest first.
///
/// weight  its format
/// pairs   gates and ups: an even number of rows at once
std::vector<DecodeGemvGroup> decode_gemv_candidates(const DeviceCaps& caps, uint32_t rows, uint32_t k, DType weight, bool pairs);

/// The group for dot products of bytes: for weights in blocks, on devices that multiply so fast and whose memory holds x.
/// Nothing elsewhere.
std::optional<DecodeGemvGroup> decode_dot_group(const DeviceCaps& caps, uint32_t tier, uint32_t rows, uint32_t k, DType weight,
                                                bool pairs, const DecodeTuning& tuning = {});

/// Several tokens that decode_gemv() is given together.
struct GemvTokens {
  uint32_t count;
  bool given = false;    ///< the bytes of their x: no workgroup makes them
  bool experts = false;  ///< each has its own: no load of a weight serves two
};

/// The same group for several tokens: as many for each load of a weight, 8 at most, as memory and registers hold; a power of two, so
/// that few pipelines serve any number. Each token's sums stay those of the group for one.
DecodeGemvGroup with_tokens(const DeviceCaps& caps, const DecodeGemvGroup& group, uint32_t rows, uint32_t k, bool pairs,
                            const GemvTokens& tokens);

/// Bytes of shared memory that decode_gemv_dot takes for `k` elements of x.
uint32_t decode_dot_shared_bytes(uint32_t k);

/// The first of the candidates, changed as `tuning` asks; where barriers are slow, one subgroup.
DecodeGemvGroup decode_gemv_group(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows, uint32_t k, DType weight,
                                  bool pairs, const DecodeTuning& tuning = {});

/// For a cache of `capacity` rows of `depth` elements (a multiple of 8).
///
/// shared_heads  heads that have their keys in common: all of MLA's, one of MHA's
/// heads         altogether
/// value_width   elements of a head's values; of MLA after W_UV
/// latent        elements of a row that are values
DecodeAttentionShape decode_attention_shape(const DeviceCaps& caps, uint32_t capacity, uint32_t depth, uint32_t heads,
                                            uint32_t shared_heads, uint32_t latent, uint32_t value_width,
                                            const DecodeTuning& tuning = {});

/// For attention over latents on matrix units, with the arguments as above; nothing where they cannot do it, or where it is known
/// to be slower.
std::optional<DecodeMatrixShape> decode_matrix_shape(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier,
                                                     uint32_t capacity, uint32_t depth, uint32_t heads, uint32_t latent,
                                                     const DecodeTuning& tuning = {});

/// How many conversations a dispatch of attention takes: DECODE_CONVERSATIONS, or 1 where the device cannot choose among as many
/// caches as that in one shader.
///
/// cache_bindings  buffers that each has its own of: of MLA the latents, of MHA keys and values; in 8 bits their scales too
uint32_t decode_conversations(const DeviceCaps& caps, uint32_t cache_bindings, const DecodeTuning& tuning = {});

/// Conversations for which a workgroup of decode_mla_query multiplies what it loads of W_UK, of so many in the dispatch: the most
/// that leave the device as many workgroups as it wants. A power of two, so that few pipelines serve any number.
///
/// workgroups  that one conversation takes
uint32_t decode_query_tokens(const DeviceCaps& caps, uint32_t conversations, uint32_t workgroups,
                             const DecodeTuning& tuning = {});

/// Floats of shared memory that the dot products, the merge of the groups' values (`latent` of a head), then W_UV, of an
/// attention workgroup take.
uint32_t decode_attention_parts(const DecodeAttentionShape& shape, uint32_t latent, uint32_t value_width);

}  // namespace vl2
