// Several conversations decode a token each in one pass over the weights.
//
// DecodePlan with an axis of tokens: the same kernels, in which a weight of the dense products is loaded once for up to eight
// tokens, and attention, the router and the experts take the tokens side by side: attention those of up to eight conversations with
// caches of one capacity, or one at a time where a shader cannot choose among so many (decode_conversations()). Sampling alone is
// dispatched for each, within the same levels. Every token is summed in the order in which it would be alone, so who else is in the
// step does not show in an answer.
//
// Where experts are cached in slots, a step's tokens take their turns at a layer's slots one after the other, and then all their
// products read the slots: there must be slots for the choices of all of them, or the one that comes last would take those of the
// first. That bounds how many sessions a step takes; most_rows() says it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decode_plan.h"
#include "model/engine.h"
#include "model/session.h"

namespace vl2 {

/// A conversation that takes part in a step.
struct BatchRow {
  Session* session = nullptr;  ///< of the batch's engine
  SampleOptions options;       ///< as Session::decode() takes them
};

/// Room for the steps of up to `rows` sessions of an engine, which outlives it; the sessions need not. One thread at a time, and
/// nothing else makes the engine's device work meanwhile; a session may be rewound by its own thread while it is not in the step.
class BatchDecode {
 public:
  static constexpr uint32_t kMaxRows = 16;

  /// How many sessions a step can take: kMaxRows, or fewer where a layer has slots for the experts of fewer. At least 1.
  static uint32_t most_rows(const Engine& engine);

  /// Errors  BadArgument: rows, more than most_rows() or none; VL2_DECODE_TUNING. OutOfMemory
  static Result<std::unique_ptr<BatchDecode>> create(Engine& engine, uint32_t rows);
  ~BatchDecode();
  BatchDecode(const BatchDecode&) = delete;
  BatchDecode& operator=(const BatchDecode&) = delete;

  uint32_t rows() const { return rows_; }
  Recorder& recorder() { return rec_; }

  /// Chooses `count` tokens of each session, one after the other, and puts them into its cache: what Session::decode() would give
  /// each. Sessions may come, go and be decoded alone from one call to the next; a set that was decoded lately is not recorded
  /// again.
  ///
  /// ids     gets [sessions.size(), count]
  /// Errors  BadArgument: none or more than rows(), one twice, one that nothing was prefilled to; Unsupported: one with the plain
  ///         plan; ContextFull: one has less room. Nothing has run then. Those of the device, and of a file that experts are read
  ///         from: the sessions want a prefill before their next token
  Status decode(std::span<const BatchRow> sessions, uint32_t count, std::vector<uint32_t>& ids);

  /// Dispatches and barriers of a step as it was recorded last; how often one was, and the milliseconds that all of it took.
  struct Recording {
    uint64_t dispatches = 0, barriers = 0;
    uint32_t times = 0;
    double total_ms = 0;
  };
  const Recording& recording() const { return recording_; }

 private:
  friend class Session;
  // What the device holds in a row of logits_ and of state_.
  struct Place {
    Session* session = nullptr;
    uint32_t position = 0;
  };
  struct Recorded {
    std::vector<BatchRow> sessions;
    std::unique_ptr<Replay> replay;
  };

  BatchDecode(Engine& engine, uint32_t rows);
  Status create_buffers();
  Status check(std::span<const BatchRow> sessions, uint32_t count) const;
  Status seat(std::span<const BatchRow> sessions);
  Status move_logits(uint32_t row, bool to_session);
  Result<Replay*> replay_of(std::span<const BatchRow> sessions);
  Status record_step(std::span<const BatchRow> sessions);
  // Neighbours whose caches have one shape, as many as a dispatch takes.
  std::vector<PlanAttention::Rows> attention_rows(std::span<const BatchRow> sessions) const;
  Status attend(uint32_t layer, std::span<const PlanAttention::Rows> groups, uint32_t tokens);
  Status run_steps(std::span<const BatchRow> sessions, std::span<const uint32_t> order, uint32_t count,
                   std::vector<uint32_t>& ids);
  Status dense(const LayerWeights& layer, uint32_t tokens);
  Status moe(const LayerWeights& layer, uint32_t tokens);
  // `bytes`: those of op.x, where the weight wants them.
  Status gemv(DecodeGemv op, uint32_t tokens, const DecodeBytes& bytes = {});
  // The bytes of x for the products with any of the weights, which may be empty; none where no product wants them.
  Result<DecodeBytes> bytes_of(const TensorView& x, const TensorView& norm, const DecodeBytes& room, uint32_t tokens,
                               std::initializer_list<const TensorView*> weights);
  void forget(Session& session);
  Status give_back(Session& session);

  Engine& engine_;
  const uint32_t rows_;
  DecodeTuning tuning_;
  std::vector<Place> places_;     // [rows]
  std::vector<Session*> guests_;  // whose batch_ is this
  uint32_t turn_ = 0;             // where the next tokens go in the rings
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::optional<PlanAttention> attention_;
  TensorView rings_;                                                  // u32 [rows, kTokenRing]
  TensorView state_, tokens_;                                         // u32 [rows, decode_state_words()], [rows, 1]; as residual_
  TensorView residual_, logits_;                                      // f32 [rows, ...], each row at a multiple of 256 bytes
  TensorView q_, kv_a_, attended_;                                    // likewise; q_ of MHA is q, k and v
  TensorView gated_, shared_gated_, shared_out_;                      // likewise
  TensorView experts_gated_;                                          // likewise: [rows, top_k * moe intermediate]
  TensorView router_logits_, router_counter_, ids_, expert_weights_;  // adjacent
  TensorView slots_, loads_;                                          // adjacent; with a cache of experts, as DecodePlan has them
  DecodeBytes x_bytes_, attended_bytes_, gated_bytes_, experts_bytes_;  // room for those of all rows
  std::vector<Recorded> recorded_;                                      // what was used last at the end
  Recording recording_;
  Recorder rec_;  // gone before what it uses
};

}  // namespace vl2
