#include "model/moe.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "model/expert_cache.h"
#include "model/matmul_scratch.h"
#include "runtime/device.h"
#include "runtime/ops/expert_combine.h"
#include "runtime/ops/expert_matmul.h"
#include "runtime/ops/expert_schedule.h"
#include "runtime/ops/matmul.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/router.h"

namespace vl2 {

namespace {

// y = down(silu(gate(x)) * up(x)) + residual
Status mlp(Recorder& rec, Scratch& scratch, const MlpWeights& weights, const TensorView& x, const TensorView& y,
           const TensorView& residual) {
  const uint32_t rows = x.dim(0), intermediate = weights.down.dim(1);
  TensorView gate_up;
  if (matmul_swiglu_needs_gate_up(rec, x, weights.gate_up)) {
    VL2_ASSIGN(gate_up, scratch.get("mlp gate_up", x.dtype, {rows, 2 * intermediate}));
  }
  VL2_ASSIGN(const TensorView gated, scratch.get("mlp gated", x.dtype, {rows, intermediate}));
  VL2_ASSIGN(const TensorView bytes, bytes_scratch(scratch, matmul_bytes_words(rec, x, weights.gate_up)));
  VL2_TRY(matmul_swiglu(rec, x, weights.gate_up, gate_up, gated, nullptr, bytes));
  return matmul_in_bytes(rec, scratch, gated, weights.down, y, residual);
}

struct Routing {
  ExpertSchedule schedule;
  TensorView weights;  // f32 [T, top_k]
};

// Whether the experts' tiles are counted on the device, and only as many workgroups run.
bool dispatches_indirectly() {
  const char* text = std::getenv("VL2_EXPERT_DISPATCH");
  return text != nullptr && std::string_view(text) == "indirect";
}

Result<Routing> route(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                      const TensorView& residual, const std::array<ExpertTiles, 2>& tiles) {
  const uint32_t token_count = residual.dim(0), experts = config.n_routed_experts, top_k = config.num_experts_per_tok;
  VL2_ASSIGN(const TensorView x, scratch.get("router input", DType::F32, {token_count, config.hidden_size}));
  VL2_ASSIGN(const TensorView logits, scratch.get("router logits", DType::F32, {token_count, experts}));
  VL2_ASSIGN(const TensorView ids, scratch.get("expert ids", DType::U32, {token_count, top_k}));
  Routing routing;
  VL2_ASSIGN(routing.weights, scratch.get("expert weights", DType::F32, {token_count, top_k}));
  VL2_ASSIGN(routing.schedule.slot_pair, scratch.get("slot_pair", DType::U32, {token_count * top_k}));
  VL2_ASSIGN(routing.schedule.pair_slot, scratch.get("pair_slot", DType::U32, {token_count * top_k}));
  VL2_ASSIGN(routing.schedule.offsets, scratch.get("expert offsets", DType::U32, {experts + 1}));
  if (tiles[0].rows > 0 && dispatches_indirectly()) {
    VL2_ASSIGN(routing.schedule.commands, scratch.get("expert commands", DType::U32, {2, 3}));
    routing.schedule.tiles = tiles;
  }

  VL2_TRY(rms_norm(rec, residual, layer.post_attention_norm, x, config.rms_norm_eps));
  VL2_ASSIGN(const TensorView slices, matmul_slices(rec, scratch, x, layer.router));
  VL2_TRY(matmul(rec, x, layer.router, logits, {.slices = slices}));
  const RouterOptions options{.top_k = top_k,
                              .scoring = config.scoring_func == ScoringFunc::Sigmoid ? Scoring::Sigmoid : Scoring::Softmax,
                              .norm_topk_prob = config.norm_topk_prob,
                              .routed_scaling_factor = config.routed_scaling_factor};
  VL2_TRY(router(rec, logits, layer.router_bias, options, ids, routing.weights));
  VL2_TRY(expert_schedule(rec, ids, experts, routing.schedule));
  return routing;
}

}  // namespace

Status dense_feed_forward(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                          const TensorView& residual) {
  VL2_ASSIGN(const TensorView x, scratch.get("normed", rec.device().act(), {residual.dim(0), config.hidden_size}));
  VL2_TRY(rms_norm(rec, residual, layer.post_attention_norm, x, config.rms_norm_eps));
  return mlp(rec, scratch, layer.mlp, x, residual, residual);
}

Status moe_feed_forward(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                        const TensorView& residual) {
  const uint32_t token_count = residual.dim(0), hidden = config.hidden_size, top_k = config.num_experts_per_tok;
  const uint32_t slots = token_count * top_k, width = config.moe_intermediate_size;
  const DType act = rec.device().act();
  VL2_ASSIGN(const TensorView x, scratch.get("normed", act, {token_count, hidden}));
  VL2_ASSIGN(const TensorView gated, scratch.get("expert gated", act, {slots, width}));
  VL2_ASSIGN(const Routing routing, route(rec, scratch, config, layer, residual,
                                          {expert_tiles(rec, x, layer.experts.gate_up, slots, true),
                                           expert_tiles(rec, gated, layer.experts.down, slots, false)}));
  TensorView gate_up;
  if (expert_swiglu_needs_gate_up(rec, x, layer.experts.gate_up, slots)) {
    VL2_ASSIGN(gate_up, scratch.get("expert gate_up", act, {slots, 2 * width}));
  }
  VL2_ASSIGN(const TensorView routed, scratch.get("routed", DType::F32, {slots, hidden}));
  VL2_TRY(rms_norm(rec, residual, layer.post_attention_norm, x, config.rms_norm_eps));
  VL2_ASSIGN(const MlpWeights experts, gather_experts(rec, layer, routing.schedule.offsets));
  VL2_ASSIGN(const TensorView x_bytes, bytes_scratch(scratch, expert_bytes_words(rec, x, experts.gate_up, slots)));
  VL2_TRY(expert_swiglu(rec, x, experts.gate_up, routing.schedule, top_k, gate_up, gated, nullptr, x_bytes));
  VL2_ASSIGN(const TensorView gated_bytes, bytes_scratch(scratch, expert_bytes_words(rec, gated, experts.down, slots)));
  VL2_TRY(expert_matmul(rec, gated, experts.down, routing.schedule, top_k, ExpertRows::Slots, routed, nullptr, gated_bytes));

  TensorView shared;
  if (!layer.shared.down.empty()) {
    VL2_ASSIGN(shared, scratch.get("shared", DType::F32, {token_count, hidden}));
    VL2_TRY(mlp(rec, scratch, layer.shared, x, shared, {}));
  }
  return expert_combine(rec, routed, routing.schedule.pair_slot, routing.weights, shared, residual);
}

}  // namespace vl2
