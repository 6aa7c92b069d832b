// The attention of one token, or of one token each of several conversations, in the levels of the decode plan. Positions come from
// the decode state.
//
// Every operator takes the conversations side by side: what a shape below begins with [conversations], in brackets of its own, is
// left out for one, and may have any stride that is a multiple of 8. Caches are one view, or as many as there are conversations, at
// most decode_conversations(): of one type, of any capacities. A conversation's results do not depend on who else is there.
#pragma once

#include "runtime/decode_tuning.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Words of the decode state (shaders/interface/decode_state.h): position, turn.
uint32_t decode_state_words();
/// Words from one conversation's state to the next's.
uint32_t decode_state_pitch();

/// Records the end of a token: ring[turn % size] = token, turn and position move on.
///
/// token  u32 [1], of several any number [conversations]
/// state  u32 [conversations] [decode_state_words()], decode_state_pitch() apart
/// ring   u32 [conversations] [size]
Status decode_advance(Recorder& rec, const TensorView& token, const TensorView& state, const TensorView& ring);

/// Records y[h] = [W_UK[h]^T q[h, :nope], rope(q[h, nope:])].
///
/// q           f32 [conversations] [heads, nope + rope]
/// kv_b        [heads * (nope + value_width), latent]
/// rope_table  f32 [capacity, rope / 2, 2], of the largest cache
/// y           f32 or f16 [conversations] [heads, latent + rope]; latent a multiple of 8
/// tuning      of decode_query_tokens()
Status decode_mla_query(Recorder& rec, const TensorView& q, const TensorView& kv_b, const TensorView& rope_table,
                        const TensorView& state, const TensorView& y, const DecodeTuning& tuning = {});

/// Records cache[position] = [rms_norm(kv_a[:latent]), rope(kv_a[latent:])].
///
/// kv_a    f32 [conversations] [latent + rope]    norm  f32 [latent]
/// caches  f32, f16 or 8-bit (cache_rows.h) [capacity, latent + rope]; in 8 bits of at most 1024 elements a row
Status decode_latent(Recorder& rec, const TensorView& kv_a, const TensorView& norm, float eps, const TensorView& rope_table,
                     const TensorView& state, const Binding& caches);

/// What the splits hand to the one that merges them.
struct DecodeAttentionScratch {
  TensorView parts;    ///< f32 [conversations, heads, splits, latent], adjacent; of decode_mla_matrix f16
  TensorView limits;   ///< f32 [conversations, heads, splits, 2], adjacent
  TensorView counter;  ///< u32 [conversations, heads], adjacent: 0 before and after; decode_mla_matrix needs none
};

/// Records y[h] = W_UV[h] (softmax(q[h] cache^T scale) cache[:, :latent]) over rows 0 .. position.
///
/// q       f32 [conversations] [heads, latent + rope]; latent + rope and latent multiples of 8
/// caches  f32, f16 or 8-bit [capacity, latent + rope]
/// y       f32 [conversations] [heads, value_width]; with values_apart f32 [conversations] [heads, latent]: W_UV is left to
///         decode_head_values()
Status decode_mla_attention(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                            const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                            const DecodeAttentionShape& shape, bool values_apart = false);

/// Records the same in two levels, all heads at once on matrix units: first each split's mean of its values, then what they come to
/// and its product with W_UV.
///
/// q        f16 [conversations] [shape.head_tiles(heads) * m, latent + rope], rows from `heads` on anything; the width a multiple of
///          the shape's k
/// caches   f16 or 8-bit [capacity, latent + rope]; latent a multiple of the shape's n
/// scratch  parts f16
/// y        f32 [conversations] [heads, value_width]
/// scale    above 0
Status decode_mla_matrix(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                         const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                         const DecodeMatrixShape& shape);
/// Its two levels, apart: for more tokens than one dispatch takes, the first of all goes before the second of any.
Status decode_mla_matrix_splits(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape);
Status decode_mla_matrix_values(Recorder& rec, const TensorView& q, const Binding& caches, const TensorView& kv_b,
                                const TensorView& state, const DecodeAttentionScratch& scratch, const TensorView& y, float scale,
                                const DecodeMatrixShape& shape);

/// Records the rotation of q and k, their and v's way into the cache at `position`, and y[h] = softmax(q[h] keys[h]^T scale)
/// values[h].
///
/// qkv           f32 [conversations] [3, heads, width]; width a multiple of 8, at most 512
/// keys, values  f32, f16 or 8-bit [capacity, heads * width]; in 8 bits a segment a head
/// rope_table    f32 [capacity, width / 2, 2], of the largest cache
/// y             f32 [conversations] [heads, width]
Status decode_mha_attention(Recorder& rec, const TensorView& qkv, const Binding& keys, const Binding& values,
                            const TensorView& rope_table, const TensorView& state, const DecodeAttentionScratch& scratch,
                            const TensorView& y, float scale, const DecodeAttentionShape& shape);

}  // namespace vl2
