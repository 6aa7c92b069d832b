// The decoder for one token in few levels of fused dispatches, recorded once and replayed; language_model.h is its plain form.
#pragma once

#include <memory>
#include <vector>

#include "model/config.h"
#include "model/kv_cache.h"
#include "model/plan_attention.h"
#include "model/weights.h"
#include "runtime/decode_tuning.h"
#include "runtime/ops/decode_gemv.h"
#include "runtime/ops/sample.h"
#include "runtime/recorder.h"

namespace vl2 {

/// How tokens are decoded.
enum class PlanChoice {
  Auto,   ///< Fused where it can be
  Plain,  ///< one operator, one dispatch: the reference
  Fused,
};

/// VL2_PLAN: plain, fused or auto.
///
/// Errors  BadArgument: another word
Result<PlanChoice> plan_choice_from_environment();

/// What the plan works on besides weights and cache.
struct DecodeInputs {
  TensorView rope_table;  // f32 [capacity, rope width / 2, 2]
  TensorView logits;      // f32 [1, vocab_size]: of the token to come; in place
  TensorView seen;        // u32: as sample() has it
  SampleScratch sample_scratch;
  TensorView ring;  // u32 [size]: chosen tokens
};

/// One token as dispatches whose every dependence on the position is in a buffer.
///
/// Levels between barriers, a layer: normalised q and kv_a; absorbed query and the row of the cache; attention with W_UV; output
/// projection; router and shared gate_up; the chosen experts' gate_up and shared down; down. MHA has no second one, dense layers
/// have gate_up and down only; a cache of experts adds two before the chosen experts' gate_up: their slots, and the copies of
/// those that are in none. Experts that are in the file are waited for between the router and their products, so that such a token
/// is recorded whenever it is run, and by no capture. Before the layers: two or more of sample(), the embedding; after them the logits.
class DecodePlan {
 public:
  /// Why this model cannot run so on this device; empty when it can.
  static std::string unsupported(Recorder& rec, const LanguageConfig& config, const LanguageWeights& weights);

  /// Errors  OutOfMemory; BadArgument: VL2_DECODE_TUNING
  static Result<std::unique_ptr<DecodePlan>> create(Device& device, const LanguageConfig& config, const LanguageWeights& weights,
                                                    const KvCache& cache, const DecodeInputs& inputs);

  /// Records the setting of the state: the next token goes to `position`, and into the first place of the ring.
  Status start(Recorder& rec, uint32_t position) const;

  /// Records one token: chosen from the logits, put into ring and cache, run. options.step and update_seen are set here.
  ///
  /// Errors  with experts in the file, those of ExpertFile::load(): the token is run in part, its logits are as before it
  Status record_token(Recorder& rec, const SampleOptions& options) const;

  /// u32 [num_experts_per_tok]: the choices of the last MoE layer, after a token; empty without one.
  const TensorView& expert_ids() const { return ids_; }

  /// Levels of record_token between barriers after the sampling ones, the logits' and the embedding's included.
  uint32_t levels() const;

 private:
  DecodePlan(const LanguageConfig& config, const LanguageWeights& weights, const KvCache& cache, const DecodeInputs& inputs)
      : config_(config), weights_(weights), cache_(cache), in_(inputs) {}
  Status create_buffers(Device& device);
  Status attend(Recorder& rec, uint32_t layer) const;
  Status dense(Recorder& rec, const LayerWeights& layer) const;
  Status moe(Recorder& rec, const LayerWeights& layer) const;
  Status gemv(Recorder& rec, const DecodeGemv& op) const;

  const LanguageConfig& config_;
  const LanguageWeights& weights_;
  const KvCache& cache_;
  DecodeInputs in_;
  DecodeTuning tuning_;
  std::optional<PlanAttention> attention_;
  PlanAttentionShape shape_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  TensorView state_;                      // u32: see shaders/interface/decode_state.h
  TensorView token_;                      // u32 [1]
  TensorView residual_;                   // f32 [hidden]
  TensorView q_, kv_a_;                   // f32, MLA; q_ of MHA: [3, heads, width]
  TensorView attended_;                   // f32 [heads, value width]
  TensorView gated_;                      // f32 [intermediate] of dense layers
  TensorView shared_gated_, shared_out_;  // f32 [shared intermediate], [hidden]
  TensorView experts_gated_;              // f32 [top_k, moe intermediate]
  TensorView router_logits_, router_counter_, ids_, expert_weights_;
  // u32 [top_k], with a cache of experts: where they are (said by the host where they are in the file), and which are to be loaded
  TensorView slots_, loads_;
};

/// Those that a token's products read: the slots of a cache where there is one.
inline const MlpWeights& decoded_experts(const LayerWeights& layer) {
  return layer.cached.down.empty() ? layer.experts : layer.cached;
}

/// decode_gemv() with the group that the tuning chooses, for op.tokens tokens.
///
/// top_k  experts that a token chooses
Status tuned_decode_gemv(Recorder& rec, const DecodeGemv& op, uint32_t top_k, const DecodeTuning& tuning);

/// The group of decode_gemv_dot that the tuning chooses for one token's product with `weight`; nothing where it is another kernel's.
///
/// pairs  of a weight of experts: its rows are gates and ups
std::optional<DecodeGemvGroup> decode_dot_group_of(const Recorder& rec, const TensorView& weight, bool pairs, uint32_t top_k,
                                                   const DecodeTuning& tuning);

/// decode_router() likewise, with the options of the model. x is [hidden], or [tokens, hidden].
Status tuned_decode_router(Recorder& rec, const LanguageConfig& config, const LayerWeights& layer, const TensorView& x,
                           const TensorView& logits, const TensorView& counter, const TensorView& ids, const TensorView& weights);

}  // namespace vl2
