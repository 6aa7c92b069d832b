// The attention of the decode plans: of the token of one conversation (DecodePlan), or of one token each of several (BatchDecode).
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "runtime/decode_tuning.h"
#include "runtime/ops/decode_attention.h"
#include "runtime/recorder.h"

namespace vl2 {

/// How attention divides its work over a cache: depends on its capacity alone, for a model and a device.
struct PlanAttentionShape {
  DecodeAttentionShape units;               ///< as invocations share it
  std::optional<DecodeMatrixShape> matrix;  ///< in its place, where there is one
  bool operator==(const PlanAttentionShape&) const = default;
};

/// What attention does with queries, keys and values that are made elsewhere: parts that wait for each other, each a dispatch or two
/// for all conversations. MHA has one; MLA: absorbed queries and the rows of the caches; attention with W_UV. On matrix units the
/// latter in two.
class PlanAttention {
 public:
  /// Room for `conversations` with caches of one type, of up to `capacity` tokens. Device and config outlive it.
  ///
  /// Errors  OutOfMemory
  static Result<PlanAttention> create(Device& device, const LanguageConfig& config, CacheType type, uint32_t capacity,
                                      uint32_t conversations, const DecodeTuning& tuning);

  PlanAttentionShape shape(uint32_t capacity) const;
  uint32_t parts() const;
  /// How many conversations a part takes at once.
  uint32_t most() const { return most_; }

  /// Conversations with caches of one shape, next to each other: at most most().
  struct Rows {
    uint32_t first = 0;  ///< their place in the room
    PlanAttentionShape shape;
    std::vector<const KvCache*> caches;
    TensorView rope_table;  ///< of the largest cache
    TensorView state;       ///< u32: see runtime/ops/decode_attention.h
    TensorView q;           ///< f32 [conversations, heads, nope + rope], or [conversations, 3 hidden] of MHA
    TensorView kv_a;        ///< f32 [conversations, latent + rope], or empty
    TensorView attended;    ///< f32 [conversations, heads, value width]
  };
  /// Records part 0 .. parts() - 1 of a layer: of all conversations, before the next of any.
  Status record(Recorder& rec, uint32_t part, const LayerWeights& layer, uint32_t layer_index, const Rows& rows) const;

  /// Records the forgetting of a token that never finished, in all of the room.
  Status clear(Recorder& rec) const;

 private:
  // What one part hands to the next: a row a conversation, at any device's storage buffer alignment.
  struct Room {
    std::unique_ptr<Buffer> buffer;
    uint64_t row_bytes = 0;
    // Adjacent rows from `first` on of fewer elements than there is room for.
    TensorView view(DType dtype, uint32_t first, std::initializer_list<uint32_t> dims) const;
  };

  PlanAttention(Device& device, const LanguageConfig& config, uint32_t conversations, const DecodeTuning& tuning);
  Status create_room(CacheType type, uint32_t capacity);
  bool values_apart() const { return tuning_.apart != 0 && !on_matrix_; }
  TensorView queries(const Rows& rows) const;
  DecodeAttentionScratch scratch(const Rows& rows) const;
  TensorView attended_latents(const Rows& rows) const;
  Status record_mha(Recorder& rec, uint32_t layer_index, const Rows& rows) const;
  Status record_mla(Recorder& rec, uint32_t part, const LayerWeights& layer, uint32_t layer_index, const Rows& rows) const;
  Status head_values(Recorder& rec, const LayerWeights& layer, const Rows& rows) const;

  Device* device_;
  const LanguageConfig* config_;
  uint32_t conversations_;
  DecodeTuning tuning_;
  uint32_t most_ = 1;
  bool on_matrix_ = false;
  Room queries_, parts_, limits_, counters_;
  Room latents_;  // attended, with W_UV in a part of its own
};

}  // namespace vl2
