#include "model/batch_decode.h"

#include <algorithm>
#include <cstdlib>

#include "model/expert_file.h"
#include "model/language_model.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/ops/embed_tokens.h"
#include "runtime/ops/expert_cache.h"

namespace vl2 {

namespace {

constexpr uint32_t kRowBytes = 256;  // what any device's storage buffer alignment divides
constexpr size_t kMostRecorded = 8;  // sets of sessions: those that come and go within a step or two
static_assert(kTokenRing * 4 % kRowBytes == 0);

// Row `row` of a matrix as an adjacent view of other dimensions.
TensorView row_of(const TensorView& matrix, uint32_t row, std::initializer_list<uint32_t> dims) {
  return make_view(*matrix.buffer, matrix.dtype, dims, matrix.offset + uint64_t{row} * matrix.stride(0));
}

// The same set with the same sampling: what was recorded for the one is the other's.
bool same_sessions(std::span<const BatchRow> a, std::span<const BatchRow> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const BatchRow& x, const BatchRow& y) {
    return x.session == y.session && same_sampling(x.options, y.options);
  });
}

}  // namespace

BatchDecode::BatchDecode(Engine& engine, uint32_t rows) : engine_(engine), rows_(rows), places_(rows), rec_(engine.device()) {}

BatchDecode::~BatchDecode() {
  for (Session* const guest : guests_) {
    if (guest->logits_in_batch_ && !give_back(*guest).ok())
      guest->rewind(guest->length());
    guest->batch_ = nullptr;
  }
}

uint32_t BatchDecode::most_rows(const Engine& engine) {
  if (engine.expert_slots() == 0)
    return kMaxRows;
  return std::clamp(engine.expert_slots() / engine.config().language.num_experts_per_tok, 1u, kMaxRows);
}

Result<std::unique_ptr<BatchDecode>> BatchDecode::create(Engine& engine, uint32_t rows) {
  const uint32_t most = most_rows(engine);
  if (rows > most && rows <= kMaxRows)
    return fail(Code::BadArgument, "batch: got ", rows, " sessions, wanted at most ", most, ": experts are cached in ",
                engine.expert_slots(), " slots a layer, and each session's token needs ",
                engine.config().language.num_experts_per_tok);
  if (rows == 0 || rows > most)
    return fail(Code::BadArgument, "batch: got ", rows, " sessions, wanted 1 .. ", most);
  std::unique_ptr<BatchDecode> batch(new BatchDecode(engine, rows));
  if (const char* text = std::getenv("VL2_DECODE_TUNING"); text != nullptr) {
    VL2_ASSIGN(batch->tuning_, parse_decode_tuning(text));
  }
  VL2_TRY(batch->create_buffers());
  return batch;
}

Status BatchDecode::create_buffers() {
  const auto allocate = [&](DType dtype, uint32_t width, bool apart, const char* name, TensorView& view,
                            MemoryKind kind = MemoryKind::Device) -> Status {
    if (width == 0)
      return {};
    const uint32_t row = kRowBytes / dtype_bytes(dtype), pitch = apart ? (width + row - 1) / row * row : width;
    VL2_ASSIGN(auto buffer, engine_.device().memory().allocate(uint64_t{rows_} * pitch * dtype_bytes(dtype), kind, name));
    view = make_strided_view(*buffer, dtype, {rows_, width}, pitch);
    buffers_.push_back(std::move(buffer));
    return {};
  };
  const LanguageConfig& c = engine_.config().language;
  const uint32_t heads = c.num_attention_heads, hidden = c.hidden_size;
  VL2_TRY(allocate(DType::U32, kTokenRing, true, "batch tokens", rings_));
  VL2_TRY(allocate(DType::F32, hidden, true, "batch residual", residual_));
  VL2_TRY(allocate(DType::F32, c.vocab_size, true, "batch logits", logits_));
  const uint32_t q_width = c.use_mla ? heads * (c.qk_nope_head_dim + c.qk_rope_head_dim) : 3 * hidden;
  VL2_TRY(allocate(DType::F32, q_width, true, "batch q", q_));
  VL2_TRY(allocate(DType::F32, c.use_mla ? c.kv_lora_rank + c.qk_rope_head_dim : 0, true, "batch kv_a", kv_a_));
  VL2_TRY(allocate(DType::F32, heads * (c.use_mla ? c.v_head_dim : rope_width(c)), true, "batch attended", attended_));
  VL2_TRY(allocate(DType::F32, c.intermediate_size, true, "batch gated", gated_));
  if (c.n_routed_experts == 0)
    return {};
  const uint32_t shared = c.n_shared_experts * c.moe_intermediate_size, top_k = c.num_experts_per_tok;
  VL2_TRY(allocate(DType::F32, shared, true, "batch shared gated", shared_gated_));
  VL2_TRY(allocate(DType::F32, hidden, true, "batch shared", shared_out_));
  VL2_TRY(allocate(DType::F32, top_k * c.moe_intermediate_size, true, "batch experts gated", experts_gated_));
  VL2_TRY(allocate(DType::F32, c.n_routed_experts, false, "batch router logits", router_logits_));
  VL2_TRY(allocate(DType::U32, 1, false, "batch router counters", router_counter_));
  VL2_TRY(allocate(DType::U32, top_k, false, "batch expert ids", ids_));
  if (engine_.expert_slots() > 0) {
    VL2_TRY(allocate(DType::U32, top_k, false, "batch expert slots", slots_,
                     engine_.weights().language.file != nullptr ? MemoryKind::Upload : MemoryKind::Device));
    VL2_TRY(allocate(DType::U32, top_k, false, "batch expert loads", loads_));
  }
  return allocate(DType::F32, top_k, false, "batch expert weights", expert_weights_);
}

// ---- Who sits where ----------------------------------------------------------------------------------------------------------

Status BatchDecode::check(std::span<const BatchRow> sessions, uint32_t count) const {
  if (sessions.empty() || sessions.size() > rows_)
    return fail(Code::BadArgument, "batch: got ", sessions.size(), " sessions, wanted 1 .. ", rows_);
  for (size_t i = 0; i < sessions.size(); ++i) {
    const Session& session = *sessions[i].session;
    assert(&session.engine_ == &engine_);
    for (size_t k = 0; k < i; ++k)
      if (sessions[k].session == &session)
        return fail(Code::BadArgument, "batch: session ", i, " is session ", k, " again");
    if (session.plan_ == nullptr)
      return fail(Code::Unsupported, "batch: session ", i, " decodes by the plain plan");
    if (!session.logits_valid_)
      return fail(Code::BadArgument, "batch: session ", i, ": nothing was prefilled");
    if (count > session.capacity() - session.length())
      return fail(Code::ContextFull, "context: it holds ", session.capacity(), " tokens and ", session.length(), " are in it; ",
                  count, " more do not fit");
  }
  return {};
}

Status BatchDecode::move_logits(uint32_t row, bool to_session) {
  const TensorView here = row_of(logits_, row, {1, logits_.dim(1)}), there = places_[row].session->logits_;
  return to_session ? rec_.copy(here, there) : rec_.copy(there, here);
}

// Gives each session its row, with its logits in it and its position and turn in the state of its plan.
Status BatchDecode::seat(std::span<const BatchRow> sessions) {
  const auto holds = [](const Place& place) { return place.session != nullptr && place.session->logits_in_batch_; };
  const auto stays = [&](uint32_t row) { return row < sessions.size() && places_[row].session == sessions[row].session; };
  for (uint32_t row = 0; row < rows_; ++row) {
    if (stays(row) || !holds(places_[row]))
      continue;
    VL2_TRY(move_logits(row, true));
    places_[row].session->logits_in_batch_ = false;
  }
  bool filled = false;
  for (uint32_t row = 0; row < rows_; ++row) {
    Place& place = places_[row];
    if (row >= sessions.size()) {
      place = {};
      continue;
    }
    Session& session = *sessions[row].session;
    const bool stayed = stays(row), state_is_right = stayed && session.state_in_batch_ && place.position == session.length();
    place = {&session, session.length()};
    if (session.batch_ != this) {
      if (session.batch_ != nullptr)
        session.batch_->forget(session);
      session.batch_ = this;
      guests_.push_back(&session);
    }
    if (!stayed || !session.logits_in_batch_)
      VL2_TRY(move_logits(row, false));
    if (!state_is_right) {
      VL2_TRY(session.plan_->start(rec_, session.length(), turn_));
      filled = true;
    }
    session.state_in_batch_ = true;
  }
  return filled && !router_counter_.empty() ? rec_.fill(router_counter_.reshaped({rows_}), 0) : Status{};
}

void BatchDecode::forget(Session& session) {
  std::erase(guests_, &session);
  for (Place& place : places_)
    if (place.session == &session)
      place = {};
  std::erase_if(recorded_, [&](const Recorded& one) {
    return std::any_of(one.sessions.begin(), one.sessions.end(), [&](const BatchRow& row) { return row.session == &session; });
  });
}

Status BatchDecode::give_back(Session& session) {
  for (uint32_t row = 0; row < rows_; ++row)
    if (places_[row].session == &session && session.logits_in_batch_) {
      VL2_TRY(move_logits(row, true));
      places_[row].session->logits_in_batch_ = false;
    }
  return rec_.finish();
}

// ---- A step ------------------------------------------------------------------------------------------------------------------

Status BatchDecode::gemv(DecodeGemv op, uint32_t tokens) {
  const LanguageConfig& config = engine_.config().language;
  op.tokens = tokens;
  op.eps = config.rms_norm_eps;
  op.x = op.x.rows(0, tokens);
  op.y = op.y.rows(0, tokens);
  if (!op.addend.empty())
    op.addend = op.addend.rows(0, tokens);
  if (!op.ids.empty())
    op.ids = op.ids.rows(0, tokens);
  if (!op.expert_weights.empty())
    op.expert_weights = op.expert_weights.rows(0, tokens);
  return tuned_decode_gemv(rec_, op, config.num_experts_per_tok, tuning_);
}

Status BatchDecode::attend(uint32_t index, std::span<const BatchRow> sessions) {
  const LanguageConfig& c = engine_.config().language;
  const LayerWeights& layer = engine_.weights().language.layers[index];
  const uint32_t heads = c.num_attention_heads, tokens = static_cast<uint32_t>(sessions.size());
  VL2_TRY(gemv({.x = residual_, .norm = layer.input_norm, .weight = c.use_mla ? layer.q : layer.qkv, .y = q_}, tokens));
  if (c.use_mla)
    VL2_TRY(gemv({.x = residual_, .norm = layer.input_norm, .weight = layer.kv_a, .y = kv_a_}, tokens));
  // Part by part, so that what one session waits for all others do side by side.
  for (uint32_t part = 0, parts = 1; part < parts; ++part)
    for (uint32_t row = 0; row < tokens; ++row) {
      const DecodePlan& plan = *sessions[row].session->plan_;
      parts = std::max(parts, plan.attention_parts());
      if (part >= plan.attention_parts())
        continue;
      const TensorView q =
          c.use_mla ? row_of(q_, row, {heads, c.qk_nope_head_dim + c.qk_rope_head_dim}) : row_of(q_, row, {3 * c.hidden_size});
      const TensorView kv_a = c.use_mla ? row_of(kv_a_, row, {kv_a_.dim(1)}) : TensorView{};
      VL2_TRY(plan.attend_part(rec_, part, index, q, kv_a, row_of(attended_, row, {heads, attended_.dim(1) / heads})));
    }
  return gemv({.x = attended_, .weight = layer.o, .y = residual_, .accumulate = true}, tokens);
}

Status BatchDecode::dense(const LayerWeights& layer, uint32_t tokens) {
  VL2_TRY(
      gemv({.x = residual_, .norm = layer.post_attention_norm, .weight = layer.mlp.gate_up, .y = gated_, .pairs = true}, tokens));
  return gemv({.x = gated_, .weight = layer.mlp.down, .y = residual_, .accumulate = true}, tokens);
}

Status BatchDecode::moe(const LayerWeights& layer, uint32_t tokens) {
  const LanguageConfig& config = engine_.config().language;
  const bool shared = !layer.shared.down.empty(), cached = !layer.cache_state.empty(), in_file = layer.file != nullptr;
  const MlpWeights& experts = decoded_experts(layer);
  const TensorView& ids = cached || in_file ? slots_ : ids_;
  VL2_TRY(tuned_decode_router(rec_, config, layer, residual_.rows(0, tokens), router_logits_.rows(0, tokens),
                              router_counter_.rows(0, tokens), ids_.rows(0, tokens), expert_weights_.rows(0, tokens)));
  std::vector<uint32_t> choices;
  if (in_file) {
    VL2_ASSIGN(choices, layer.file->read_choices(rec_, ids_.rows(0, tokens)));
  }
  // A cache's levels lie beside the shared experts' products, as in DecodePlan::moe().
  const TensorView slots = cached ? slots_.rows(0, tokens) : TensorView{}, loads = cached ? loads_.rows(0, tokens) : TensorView{};
  if (cached)
    VL2_TRY(expert_cache_update(rec_, ids_.rows(0, tokens), layer.router.dim(0), experts.down.dim(0), layer.cache_state, slots,
                                loads));
  if (shared)
    VL2_TRY(gemv(
        {.x = residual_, .norm = layer.post_attention_norm, .weight = layer.shared.gate_up, .y = shared_gated_, .pairs = true},
        tokens));
  const DecodeGemv shared_down{.x = shared_gated_, .weight = layer.shared.down, .y = shared_out_};
  if (cached)
    VL2_TRY(expert_cache_load(rec_, layer.experts.gate_up, experts.gate_up, slots, loads));
  if ((cached || in_file) && shared)
    VL2_TRY(gemv(shared_down, tokens));
  if (in_file) {
    VL2_TRY(rec_.submit());
    VL2_TRY(layer.file->load(rec_, layer, choices, slots_));
  }
  VL2_TRY(gemv({.x = residual_,
                .norm = layer.post_attention_norm,
                .weight = experts.gate_up,
                .ids = ids,
                .expert_weights = expert_weights_,
                .y = experts_gated_,
                .pairs = true},
               tokens));
  if (cached)
    VL2_TRY(expert_cache_load(rec_, layer.experts.down, experts.down, slots, loads));
  else if (shared && !in_file)
    VL2_TRY(gemv(shared_down, tokens));
  return gemv({.x = experts_gated_,
               .weight = experts.down,
               .ids = ids,
               .addend = shared ? shared_out_ : TensorView{},
               .y = residual_,
               .accumulate = true},
              tokens);
}

Status BatchDecode::record_step(std::span<const BatchRow> sessions) {
  const LanguageWeights& weights = engine_.weights().language;
  const auto tokens = static_cast<uint32_t>(sessions.size());
  std::vector<SampleRow> choices;
  for (uint32_t row = 0; row < tokens; ++row) {
    const Session& session = *sessions[row].session;
    SampleOptions options = sessions[row].options;
    options.step = 0;
    options.position = session.plan_->state().rows(0, 1);  // DECODE_STATE_POSITION
    options.update_seen = true;
    choices.push_back(
        {row_of(logits_, row, {logits_.dim(1)}), session.seen_, options, session.sample_scratch_, session.plan_->token()});
  }
  VL2_TRY(sample_rows(rec_, choices));
  for (uint32_t row = 0; row < tokens; ++row)
    VL2_TRY(embed_tokens(rec_, weights.embed_tokens, choices[row].token, residual_.rows(row, 1)));
  for (uint32_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    VL2_TRY(attend(i, sessions));
    VL2_TRY(layer.is_moe ? moe(layer, tokens) : dense(layer, tokens));
  }
  VL2_TRY(gemv({.x = residual_, .norm = weights.norm, .weight = weights.lm_head, .y = logits_}, tokens));
  for (uint32_t row = 0; row < tokens; ++row)
    VL2_TRY(decode_advance(rec_, choices[row].token, sessions[row].session->plan_->state(), row_of(rings_, row, {kTokenRing})));
  return {};
}

Result<Replay*> BatchDecode::replay_of(std::span<const BatchRow> sessions) {
  const auto found = std::find_if(recorded_.begin(), recorded_.end(),
                                  [&](const Recorded& one) { return same_sessions(one.sessions, sessions); });
  if (found != recorded_.end()) {
    std::rotate(found, found + 1, recorded_.end());
    return recorded_.back().replay.get();
  }
  if (recorded_.size() == kMostRecorded)
    recorded_.erase(recorded_.begin());
  const auto start = Clock::now();
  VL2_TRY(rec_.begin_capture());
  const Status status = record_step(sessions);
  auto captured = rec_.end_capture();
  VL2_TRY(status);
  VL2_ASSIGN(auto replay, std::move(captured));
  recording_ = {replay->dispatch_count(), replay->barrier_count(), recording_.times + 1, recording_.total_ms + ms_since(start)};
  recorded_.push_back({{sessions.begin(), sessions.end()}, std::move(replay)});
  return recorded_.back().replay.get();
}

Status BatchDecode::decode(std::span<const BatchRow> given, uint32_t count, std::vector<uint32_t>& ids) {
  VL2_TRY(check(given, count));
  const auto tokens = static_cast<uint32_t>(given.size());
  ids.assign(size_t{tokens} * count, 0);
  // The same set sits in the same order, whoever asked first.
  std::vector<uint32_t> order(tokens);
  for (uint32_t i = 0; i < tokens; ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return given[a].session->number_ < given[b].session->number_; });
  std::vector<BatchRow> sessions;
  for (const uint32_t i : order)
    sessions.push_back(given[i]);

  VL2_TRY(seat(sessions));
  std::vector<uint32_t> before;
  for (const BatchRow& row : sessions)
    before.push_back(row.session->length());
  const Status status = run_steps(sessions, order, count, ids);
  if (status.ok())
    return {};
  static_cast<void>(rec_.finish());
  for (uint32_t row = 0; row < tokens; ++row) {  // some of a token may have run
    sessions[row].session->rewind(before[row]);
    places_[row] = {};
  }
  return status;
}

Status BatchDecode::run_steps(std::span<const BatchRow> sessions, std::span<const uint32_t> order, uint32_t count,
                              std::vector<uint32_t>& ids) {
  const auto tokens = static_cast<uint32_t>(sessions.size());
  // A replay has no timestamps, and none waits for a file.
  const bool recorded = rec_.timing() || !engine_.device().executes() || engine_.weights().language.file != nullptr;
  for (uint32_t done = 0; done < count;) {
    const uint32_t batch = std::min(kTokenRing, count - done);
    if (recorded) {
      for (uint32_t i = 0; i < batch; ++i)
        VL2_TRY(record_step(sessions));
    } else {
      VL2_ASSIGN(Replay* const replay, replay_of(sessions));
      VL2_TRY(rec_.replay(*replay, batch));
    }
    for (uint32_t row = 0; row < tokens; ++row) {
      Session& session = *sessions[row].session;
      session.cache_.length += batch;
      session.logits_in_batch_ = true;
      places_[row].position = session.length();
    }
    std::vector<uint32_t> chosen(size_t{rows_} * kTokenRing);
    VL2_TRY(rec_.download(rings_.reshaped({rows_ * kTokenRing}), std::as_writable_bytes(std::span(chosen))));
    for (uint32_t row = 0; row < tokens; ++row)
      for (uint32_t i = 0; i < batch; ++i)
        ids[size_t{order[row]} * count + done + i] = chosen[size_t{row} * kTokenRing + (turn_ + i) % kTokenRing];
    turn_ = (turn_ + batch) % kTokenRing;
    done += batch;
  }
  return {};
}

}  // namespace vl2
