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

// [rows, heads * width] as [rows, heads, width].
TensorView heads_of(const TensorView& rows, uint32_t heads) {
  TensorView view = rows;
  view.rank_ = 3;
  view.dims = {rows.dim(0), heads, rows.dim(1) / heads};
  view.strides = {rows.stride(0), rows.dim(1) / heads, 1};
  return view;
}

// The first element of each row.
TensorView column_of(const TensorView& rows) {
  TensorView view = rows;
  view.rank_ = 1;
  return view;
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
  VL2_ASSIGN(attention_, PlanAttention::create(engine_.device(), c, engine_.cache_type(), engine_.context(), rows_, tuning_));
  VL2_TRY(allocate(DType::U32, kTokenRing, true, "batch rings", rings_));
  VL2_TRY(allocate(DType::U32, decode_state_words(), true, "batch state", state_));
  assert(state_.stride(0) == decode_state_pitch());
  VL2_TRY(allocate(DType::U32, 1, true, "batch tokens", tokens_));
  VL2_TRY(allocate(DType::F32, hidden, true, "batch residual", residual_));
  VL2_TRY(allocate(DType::F32, c.vocab_size, true, "batch logits", logits_));
  const uint32_t q_width = c.use_mla ? heads * (c.qk_nope_head_dim + c.qk_rope_head_dim) : 3 * hidden;
  VL2_TRY(allocate(DType::F32, q_width, true, "batch q", q_));
  VL2_TRY(allocate(DType::F32, c.use_mla ? c.kv_lora_rank + c.qk_rope_head_dim : 0, true, "batch kv_a", kv_a_));
  VL2_TRY(allocate(DType::F32, heads * (c.use_mla ? c.v_head_dim : rope_width(c)), true, "batch attended", attended_));
  VL2_TRY(allocate(DType::F32, c.intermediate_size, true, "batch gated", gated_));
  const auto allocate_bytes = [&](uint32_t width, DecodeBytes& room) -> Status {
    VL2_TRY(allocate(DType::U32, width / 4, false, "batch bytes", room.codes));
    return allocate(DType::F32, 2 * (width / 32 + 1), false, "batch bytes' scales", room.scales);
  };
  VL2_TRY(allocate_bytes(hidden, x_bytes_));
  VL2_TRY(allocate_bytes(attended_.dim(1), attended_bytes_));
  VL2_TRY(allocate_bytes(std::max(c.intermediate_size, c.n_shared_experts * c.moe_intermediate_size), gated_bytes_));
  if (c.n_routed_experts == 0)
    return {};
  VL2_TRY(allocate_bytes(c.num_experts_per_tok * c.moe_intermediate_size, experts_bytes_));
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

// Gives each session its row, with its logits and its position and turn in it.
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
    const bool stayed = stays(row), state_is_right = stayed && place.position == session.length();
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
      const TensorView state = row_of(state_, row, {decode_state_words()});
      VL2_TRY(rec_.fill(state.rows(0, 1), session.length()));  // DECODE_STATE_POSITION
      VL2_TRY(rec_.fill(state.rows(1, 1), turn_));
      filled = true;
    }
  }
  if (!filled)
    return {};
  VL2_TRY(attention_->clear(rec_));  // a step that never finished must not leave its arrivals behind
  return router_counter_.empty() ? Status{} : rec_.fill(router_counter_.reshaped({rows_}), 0);
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

Status BatchDecode::gemv(DecodeGemv op, uint32_t tokens, const DecodeBytes& bytes) {
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
  op.bytes = bytes;
  return tuned_decode_gemv(rec_, op, config.num_experts_per_tok, tuning_);
}

Result<DecodeBytes> BatchDecode::bytes_of(const TensorView& x, const TensorView& norm, const DecodeBytes& room, uint32_t tokens,
                                          std::initializer_list<const TensorView*> weights) {
  const uint32_t top_k = engine_.config().language.num_experts_per_tok;
  uint32_t threads = 0;
  for (const TensorView* const weight : weights)
    if (const auto group = weight->empty() ? std::nullopt : decode_dot_group_of(rec_, *weight, !norm.empty(), top_k, tuning_))
      threads = group->threads;
  if (tokens == 1 || threads == 0 || tuning_.bytes == 2)
    return DecodeBytes{};
  const uint32_t width = x.dim(1);
  const DecodeBytes bytes{make_view(*room.codes.buffer, DType::U32, {tokens, width / 4}, room.codes.offset),
                          make_view(*room.scales.buffer, DType::F32, {tokens, width / 32 + 1, 2}, room.scales.offset)};
  VL2_TRY(decode_bytes(rec_, x.rows(0, tokens), norm, engine_.config().language.rms_norm_eps, threads, bytes));
  return bytes;
}

std::vector<PlanAttention::Rows> BatchDecode::attention_rows(std::span<const BatchRow> sessions) const {
  const LanguageConfig& c = engine_.config().language;
  const uint32_t heads = c.num_attention_heads;
  std::vector<PlanAttention::Rows> groups;
  for (uint32_t row = 0; row < sessions.size(); ++row) {
    const Session& session = *sessions[row].session;
    const PlanAttentionShape shape = attention_->shape(session.capacity());
    if (groups.empty() || groups.back().caches.size() == attention_->most() || groups.back().shape != shape)
      groups.push_back({.first = row, .shape = shape});
    groups.back().caches.push_back(&session.cache_);
    groups.back().rope_table = session.rope_table_;  // capacities ascend
  }
  for (PlanAttention::Rows& group : groups) {
    const auto rows = [&](const TensorView& view) { return view.rows(group.first, static_cast<uint32_t>(group.caches.size())); };
    group.state = rows(state_);
    group.q = c.use_mla ? heads_of(rows(q_), heads) : rows(q_);
    group.kv_a = c.use_mla ? rows(kv_a_) : TensorView{};
    group.attended = heads_of(rows(attended_), heads);
  }
  return groups;
}

Status BatchDecode::attend(uint32_t index, std::span<const PlanAttention::Rows> groups, uint32_t tokens) {
  const bool mla = engine_.config().language.use_mla;
  const LayerWeights& layer = engine_.weights().language.layers[index];
  const TensorView& q_weight = mla ? layer.q : layer.qkv;
  VL2_ASSIGN(const DecodeBytes x, bytes_of(residual_, layer.input_norm, x_bytes_, tokens, {&q_weight, &layer.kv_a}));
  VL2_TRY(gemv({.x = residual_, .norm = layer.input_norm, .weight = q_weight, .y = q_}, tokens, x));
  if (mla)
    VL2_TRY(gemv({.x = residual_, .norm = layer.input_norm, .weight = layer.kv_a, .y = kv_a_}, tokens, x));
  // Part by part, so that what one session waits for all others do side by side.
  for (uint32_t part = 0; part < attention_->parts(); ++part)
    for (const PlanAttention::Rows& group : groups)
      VL2_TRY(attention_->record(rec_, part, layer, index, group));
  VL2_ASSIGN(const DecodeBytes attended, bytes_of(attended_, {}, attended_bytes_, tokens, {&layer.o}));
  return gemv({.x = attended_, .weight = layer.o, .y = residual_, .accumulate = true}, tokens, attended);
}

Status BatchDecode::dense(const LayerWeights& layer, uint32_t tokens) {
  const TensorView& norm = layer.post_attention_norm;
  VL2_ASSIGN(const DecodeBytes x, bytes_of(residual_, norm, x_bytes_, tokens, {&layer.mlp.gate_up}));
  VL2_TRY(gemv({.x = residual_, .norm = norm, .weight = layer.mlp.gate_up, .y = gated_, .pairs = true}, tokens, x));
  VL2_ASSIGN(const DecodeBytes gated, bytes_of(gated_, {}, gated_bytes_, tokens, {&layer.mlp.down}));
  return gemv({.x = gated_, .weight = layer.mlp.down, .y = residual_, .accumulate = true}, tokens, gated);
}

// Between two barriers lie what need not wait for each other: the bytes of x; the shared experts' first product and the router; the
// chosen experts' first product, and the bytes for the shared experts' second; that one, and the other bytes; the last product. (With
// the shared experts' second beside the chosen ones' first, making its bytes itself: H200, 8 conversations of Small in Q4_0, -4 %.)
Status BatchDecode::moe(const LayerWeights& layer, uint32_t tokens) {
  const LanguageConfig& config = engine_.config().language;
  const bool shared = !layer.shared.down.empty(), cached = !layer.cache_state.empty(), in_file = layer.file != nullptr;
  const MlpWeights& experts = decoded_experts(layer);
  const TensorView &norm = layer.post_attention_norm, chosen_ids = ids_.rows(0, tokens);
  const TensorView ids = cached || in_file ? slots_.rows(0, tokens) : chosen_ids;
  VL2_ASSIGN(const DecodeBytes x, bytes_of(residual_, norm, x_bytes_, tokens, {&layer.shared.gate_up, &experts.gate_up}));
  if (shared)
    VL2_TRY(gemv({.x = residual_, .norm = norm, .weight = layer.shared.gate_up, .y = shared_gated_, .pairs = true}, tokens, x));
  VL2_TRY(tuned_decode_router(rec_, config, layer, residual_.rows(0, tokens), router_logits_.rows(0, tokens),
                              router_counter_.rows(0, tokens), chosen_ids, expert_weights_.rows(0, tokens)));
  std::vector<uint32_t> choices;
  if (in_file) {
    VL2_ASSIGN(choices, layer.file->read_choices(rec_, chosen_ids));
  }
  // A cache's levels, and the reading of a file, lie beside the shared experts' second product, as in DecodePlan::moe().
  const TensorView loads = cached ? loads_.rows(0, tokens) : TensorView{};
  if (cached) {
    VL2_TRY(expert_cache_update(rec_, chosen_ids, layer.router.dim(0), experts.down.dim(0), layer.cache_state, ids, loads));
    VL2_TRY(expert_cache_load(rec_, layer.experts.gate_up, experts.gate_up, ids, loads));
  }
  const DecodeGemv shared_down{.x = shared_gated_, .weight = layer.shared.down, .y = shared_out_};
  if (shared && (cached || in_file))
    VL2_TRY(gemv(shared_down, tokens));
  if (in_file) {
    VL2_TRY(rec_.submit());
    VL2_TRY(layer.file->load(rec_, layer, choices, slots_));
  }
  VL2_TRY(gemv({.x = residual_,
                .norm = norm,
                .weight = experts.gate_up,
                .ids = ids,
                .expert_weights = expert_weights_,
                .y = experts_gated_,
                .pairs = true},
               tokens, x));
  if (cached)
    VL2_TRY(expert_cache_load(rec_, layer.experts.down, experts.down, ids, loads));
  const bool late = shared && !cached && !in_file;
  DecodeBytes shared_gated;
  if (late) {
    VL2_ASSIGN(shared_gated, bytes_of(shared_gated_, {}, gated_bytes_, tokens, {&layer.shared.down}));
    if (shared_gated.empty())  // it need not wait for any
      VL2_TRY(gemv(shared_down, tokens));
  }
  VL2_ASSIGN(const DecodeBytes gated, bytes_of(experts_gated_, {}, experts_bytes_, tokens, {&experts.down}));
  if (late && !shared_gated.empty())
    VL2_TRY(gemv(shared_down, tokens, shared_gated));
  return gemv({.x = experts_gated_,
               .weight = experts.down,
               .ids = ids,
               .addend = shared ? shared_out_ : TensorView{},
               .y = residual_,
               .accumulate = true},
              tokens, gated);
}

Status BatchDecode::record_step(std::span<const BatchRow> sessions) {
  const LanguageWeights& weights = engine_.weights().language;
  const auto tokens = static_cast<uint32_t>(sessions.size());
  std::vector<SampleRow> choices;
  for (uint32_t row = 0; row < tokens; ++row) {
    const Session& session = *sessions[row].session;
    SampleOptions options = sessions[row].options;
    options.step = 0;
    options.position = row_of(state_, row, {1});  // DECODE_STATE_POSITION
    options.update_seen = true;
    choices.push_back(
        {row_of(logits_, row, {logits_.dim(1)}), session.seen_, options, session.sample_scratch_, row_of(tokens_, row, {1})});
  }
  const std::vector<PlanAttention::Rows> groups = attention_rows(sessions);
  const TensorView chosen = column_of(tokens_.rows(0, tokens));
  VL2_TRY(sample_rows(rec_, choices));
  VL2_TRY(embed_tokens(rec_, weights.embed_tokens, chosen, residual_.rows(0, tokens)));
  for (uint32_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    VL2_TRY(attend(i, groups, tokens));
    VL2_TRY(layer.is_moe ? moe(layer, tokens) : dense(layer, tokens));
  }
  VL2_ASSIGN(const DecodeBytes x, bytes_of(residual_, weights.norm, x_bytes_, tokens, {&weights.lm_head}));
  VL2_TRY(gemv({.x = residual_, .norm = weights.norm, .weight = weights.lm_head, .y = logits_}, tokens, x));
  return decode_advance(rec_, chosen, state_.rows(0, tokens), rings_.rows(0, tokens));
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
  // The same set sits in the same order, whoever asked first; caches of one capacity next to each other.
  std::vector<uint32_t> order(tokens);
  for (uint32_t i = 0; i < tokens; ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const Session &first = *given[a].session, &second = *given[b].session;
    return std::pair(first.capacity(), first.number_) < std::pair(second.capacity(), second.number_);
  });
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
