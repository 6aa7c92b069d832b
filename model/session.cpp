#include "model/session.h"

#include <algorithm>
#include <cstring>

#include "model/attention_mla.h"
#include "model/batch_decode.h"
#include "model/expert_file.h"
#include "model/language_model.h"
#include "model/rope_scaling.h"
#include "runtime/clock.h"
#include "runtime/ops/copy_rows.h"
#include "runtime/ops/embed_tokens.h"
#include "runtime/ops/mark_seen.h"
#include "runtime/upload.h"

namespace vl2 {

namespace {
std::atomic<uint64_t> session_count{0};
}

Session::Session(Engine& engine)
    : engine_(engine), number_(session_count++), scratch_(engine.device().memory()), rec_(engine.device()) {}

Session::~Session() {
  if (batch_ != nullptr)
    batch_->forget(*this);
}

Result<std::unique_ptr<Session>> Session::create(Engine& engine, PlanChoice plan, uint32_t context) {
  if (context > engine.context())
    return fail(Code::BadArgument, "context: got ", context, " tokens, the model was loaded for at most ", engine.context());
  std::unique_ptr<Session> session(new Session(engine));
  VL2_ASSIGN(session->cache_, make_kv_cache(engine.device(), engine.config().language, context == 0 ? engine.context() : context,
                                            engine.cache_type()));
  VL2_TRY(session->create_buffers());
  VL2_TRY(session->create_plan(plan));
  VL2_TRY(session->clear());
  return session;
}

Status Session::create_buffers() {
  const LanguageConfig& config = engine_.config().language;
  Memory& memory = engine_.device().memory();
  const auto allocate = [&](DType dtype, std::initializer_list<uint32_t> dims, const char* name, TensorView& view) -> Status {
    uint64_t bytes = dtype_bytes(dtype);
    for (const uint32_t dim : dims)
      bytes *= dim;
    VL2_ASSIGN(auto buffer, memory.allocate(bytes, MemoryKind::Device, name));
    view = make_view(*buffer, dtype, dims);
    buffers_.push_back(std::move(buffer));
    return {};
  };
  VL2_TRY(allocate(DType::F32, {cache_.capacity, rope_width(config) / 2, 2}, "rope table", rope_table_));
  if (engine_.device().executes()) {
    const std::vector<float> table = language_rope_table(config, cache_.capacity);
    VL2_TRY(upload_bytes(engine_.device(), *rope_table_.buffer, std::as_bytes(std::span(table))));
  }
  VL2_TRY(allocate(DType::F32, {1, config.vocab_size}, "next logits", logits_));
  VL2_TRY(allocate(DType::U32, {seen_words(config.vocab_size)}, "seen ids", seen_));
  VL2_TRY(allocate(DType::U32, {kTokenRing}, "tokens", tokens_));
  return allocate(DType::U32, {sample_scratch_words()}, "sampling", sample_scratch_.words);
}

Status Session::create_plan(PlanChoice choice) {
  if (choice == PlanChoice::Auto) {
    VL2_ASSIGN(choice, plan_choice_from_environment());
  }
  if (choice == PlanChoice::Plain)
    return {};
  const LanguageConfig& config = engine_.config().language;
  const LanguageWeights& weights = engine_.weights().language;
  if (const std::string reason = DecodePlan::unsupported(rec_, config, weights); !reason.empty())
    return choice == PlanChoice::Fused ? fail(Code::Unsupported, "VL2_PLAN: fused is not possible here: ", reason) : Status{};
  VL2_ASSIGN(plan_, DecodePlan::create(engine_.device(), config, weights, cache_,
                                       {rope_table_, logits_, seen_, sample_scratch_, tokens_}));
  return {};
}

void Session::rewind(uint32_t length) {
  assert(length <= cache_.length);
  cache_.length = length;
  logits_valid_ = false;
  logits_in_batch_ = false;
}

Status Session::clear() {
  rewind(0);
  return rec_.fill(seen_, 0);
}

Status Session::set_seen(std::span<const uint32_t> ids) {
  VL2_TRY(rec_.fill(seen_, 0));
  if (ids.empty())
    return {};
  TensorView all_ids;
  VL2_ASSIGN(const auto id_buffer, upload_ids(ids, all_ids));
  VL2_TRY(mark_seen(rec_, all_ids, seen_));
  return rec_.finish();
}

uint64_t Session::cache_row_bytes(uint32_t tensor) const {
  const TensorView& view = cache_.planes[tensor];
  return dtype_bytes_of(view.dtype, view.dim(1));
}

Status Session::read_cache(uint32_t tensor, std::vector<std::byte>& rows) {
  rows.resize(cache_.length * cache_row_bytes(tensor));
  return rows.empty() ? Status() : rec_.download(cache_.planes[tensor].rows(0, cache_.length), rows);
}

Status Session::write_cache(uint32_t tensor, std::span<const std::byte> rows) {
  assert(rows.size() <= cache_.capacity * cache_row_bytes(tensor));
  const TensorView& view = cache_.planes[tensor];
  return rows.empty() ? Status() : upload_bytes(engine_.device(), *view.buffer, rows, view.offset_bytes());
}

// Between the cache and a buffer with the rows of one tensor behind those of another.
Status Session::copy_rows_of(const Buffer& buffer, uint32_t rows, bool out) {
  const TensorView all = make_view(buffer, DType::U8, {static_cast<uint32_t>(buffer.bytes())});
  uint64_t at = 0;
  for (uint32_t i = 0; i < cache_tensor_count(); ++i) {
    const auto bytes = static_cast<uint32_t>(rows * cache_row_bytes(i));
    const TensorView inside = cache_.planes[i].rows(0, rows), outside = all.rows(static_cast<uint32_t>(at), bytes);
    VL2_TRY(out ? rec_.copy(inside, outside) : rec_.copy(outside, inside));
    at += bytes;
  }
  return rec_.finish();
}

Result<std::unique_ptr<Buffer>> Session::copy_rows_out(uint32_t rows) {
  assert(rows <= cache_.length);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < cache_tensor_count(); ++i)
    bytes += rows * cache_row_bytes(i);
  if (bytes > UINT32_MAX)
    return fail(Code::OutOfMemory, "kept beginning: ", bytes, " bytes, wanted less than 4 GiB");
  VL2_ASSIGN(auto buffer, engine_.device().memory().allocate(bytes, MemoryKind::Device, "kept beginning"));
  VL2_TRY(copy_rows_of(*buffer, rows, true));
  return buffer;
}

Status Session::copy_rows_in(const Buffer& from, uint32_t rows) {
  assert(rows <= cache_.capacity);
  rewind(0);
  VL2_TRY(copy_rows_of(from, rows, false));
  cache_.length = rows;
  return {};
}

Status Session::resume(std::span<const uint32_t> ids, std::span<const float> next_logits) {
  assert(ids.size() <= cache_.capacity);
  VL2_TRY(set_seen(ids));
  if (!next_logits.empty())
    VL2_TRY(upload_bytes(engine_.device(), *logits_.buffer, std::as_bytes(next_logits)));
  cache_.length = static_cast<uint32_t>(ids.size());
  logits_valid_ = !next_logits.empty();
  logits_in_batch_ = false;
  return {};
}

Status Session::next_logits(std::vector<float>& logits) {
  if (!logits_valid_)
    return fail(Code::BadArgument, "logits: nothing was prefilled");
  VL2_TRY(fetch_logits());
  logits.resize(engine_.config().language.vocab_size);
  return rec_.download(logits_, std::as_writable_bytes(std::span(logits)));
}

// Into logits_, from where a step with other sessions left them.
Status Session::fetch_logits() {
  return logits_in_batch_ ? batch_->give_back(*this) : Status{};
}

namespace {

// Whatever way a call ends, what it recorded has run before the buffers go that it made for that.
class FinishFirst {
 public:
  explicit FinishFirst(Recorder& rec) : rec_(rec) {}
  ~FinishFirst() { static_cast<void>(rec_.finish()); }
  FinishFirst(const FinishFirst&) = delete;
  FinishFirst& operator=(const FinishFirst&) = delete;

 private:
  Recorder& rec_;
};

}  // namespace

Result<EncodedPicture> Session::encode(const Picture& picture, uint32_t pictures_in_conversation, EncodeTimes* times,
                                       const BetweenParts& between) {
  constexpr double kAskEvery_ms = 50;  // as long as a submission
  const auto start = Clock::now();
  VL2_ASSIGN(const PictureCanvases canvases, make_canvases(rec_, engine_.config(), picture, pictures_in_conversation));
  const FinishFirst order(rec_);
  if (times != nullptr) {
    VL2_TRY(rec_.finish());
    times->resize_ms += ms_since(start);
  }
  const auto resized = Clock::now();
  auto asked = resized;
  const auto ask = [&](uint32_t done, uint32_t total) -> Status {
    if (!between || ms_since(asked) < kAskEvery_ms)
      return {};
    VL2_TRY(between(done, total));
    asked = Clock::now();
    return {};
  };
  auto encoded = encode_picture(rec_, scratch_, engine_.config(), engine_.weights(), canvases, ask);
  if (times != nullptr)
    times->encode_ms += ms_since(resized);
  return encoded;
}

namespace {

Status check_prompt(std::span<const uint32_t> ids, std::span<const PictureRun> runs, const LanguageConfig& config) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] >= config.vocab_size)
      return fail(Code::BadArgument, "prompt: token ", i, " is id ", ids[i], ", the vocabulary has ", config.vocab_size);
  uint64_t free_from = 0;
  for (const PictureRun& run : runs) {
    const uint32_t rows = run.picture->sequence.dim(0);
    if (run.first_token < free_from || uint64_t{run.first_token} + rows > ids.size())
      return fail(Code::BadArgument, "prompt: a picture of ", rows, " tokens at token ", run.first_token, " does not fit into ",
                  ids.size());
    free_from = uint64_t{run.first_token} + rows;
  }
  return {};
}

}  // namespace

Status Session::prefill(std::span<const uint32_t> ids, std::span<const PictureRun> runs, const LogitsRequest& logits,
                        uint32_t chunk, const BetweenParts& between) {
  const LanguageConfig& config = engine_.config().language;
  if (chunk == 0)
    chunk = engine_.chunk();
  if (ids.empty())
    return fail(Code::BadArgument, "prompt: no tokens");
  if (ids.size() > cache_.capacity - cache_.length)
    return fail(Code::ContextFull, "context: the prompt has ", ids.size(), " tokens, the context holds ", cache_.capacity,
                " and ", cache_.length, " are in it");
  VL2_TRY(check_prompt(ids, runs, config));
  TensorView all_ids;
  VL2_ASSIGN(const auto id_buffer, upload_ids(ids, all_ids));
  const FinishFirst order(rec_);
  const auto total = static_cast<uint32_t>(ids.size());
  if (config.use_mla)
    VL2_TRY(reserve_attention_mla(scratch_, config, engine_.device().act(), cache_.length, total, chunk));
  VL2_TRY(reserve_cached_rows(scratch_, cache_, engine_.device().act(), cache_.length + total));
  for (uint32_t first = 0; first < total; first += chunk) {
    const uint32_t count = std::min(chunk, total - first);
    if (between) {
      if (first > 0)
        VL2_TRY(rec_.finish());
      VL2_TRY(between(first, total));
    }
    VL2_ASSIGN(const TensorView residual, scratch_.get("residual", DType::F32, {count, config.hidden_size}));
    VL2_TRY(run_chunk(first, count, all_ids, runs, residual));
    VL2_TRY(keep_logits(first, count, total, residual, logits));
  }
  VL2_TRY(mark_seen(rec_, all_ids, seen_));
  VL2_TRY(rec_.finish());
  scratch_.drop_outgrown();
  logits_valid_ = true;
  logits_in_batch_ = false;
  return {};
}

Result<std::unique_ptr<Buffer>> Session::upload_ids(std::span<const uint32_t> ids, TensorView& view) {
  VL2_ASSIGN(auto buffer, engine_.device().memory().allocate(ids.size_bytes(), MemoryKind::Device, "prompt ids"));
  VL2_TRY(upload_bytes(engine_.device(), *buffer, std::as_bytes(ids)));
  view = make_view(*buffer, DType::U32, {static_cast<uint32_t>(ids.size())});
  return buffer;
}

Status Session::run_chunk(uint32_t first, uint32_t count, const TensorView& all_ids, std::span<const PictureRun> runs,
                          const TensorView& residual) {
  const LanguageWeights& weights = engine_.weights().language;
  VL2_TRY(embed_tokens(rec_, weights.embed_tokens, all_ids.rows(first, count), residual));
  for (const PictureRun& run : runs) {
    const uint32_t run_end = run.first_token + run.picture->sequence.dim(0);
    const uint32_t begin = std::max(first, run.first_token), end = std::min(first + count, run_end);
    if (begin >= end)
      continue;
    VL2_TRY(copy_rows(rec_, run.picture->sequence.rows(begin - run.first_token, end - begin),
                      residual.rows(begin - first, end - begin)));
  }
  return run_layers(rec_, scratch_, engine_.config().language, weights, cache_, rope_table_, residual);
}

Status Session::keep_logits(uint32_t first, uint32_t count, uint32_t total, const TensorView& residual,
                            const LogitsRequest& request) {
  const LanguageConfig& config = engine_.config().language;
  const LanguageWeights& weights = engine_.weights().language;
  constexpr uint32_t kRowsAtATime = 16;
  const uint32_t wanted_from = std::max(first, total - std::min(total, request.count));
  for (uint32_t row = wanted_from; row < first + count && request.rows != nullptr; row += kRowsAtATime) {
    const uint32_t rows = std::min(kRowsAtATime, first + count - row);
    VL2_ASSIGN(const TensorView logits, scratch_.get("kept logits", DType::F32, {rows, config.vocab_size}));
    VL2_TRY(compute_logits(rec_, scratch_, config, weights, residual.rows(row - first, rows), logits));
    const size_t before = request.rows->size();
    request.rows->resize(before + size_t{rows} * config.vocab_size);
    VL2_TRY(rec_.download(logits, std::as_writable_bytes(std::span(*request.rows).subspan(before))));
  }
  if (first + count < total)
    return {};
  return compute_logits(rec_, scratch_, config, weights, residual.rows(count - 1, 1), logits_);
}

bool same_sampling(const SampleOptions& a, const SampleOptions& b) {
  return a.temperature == b.temperature && a.top_k == b.top_k && a.top_p == b.top_p && a.min_p == b.min_p &&
         a.repetition_penalty == b.repetition_penalty && a.seed == b.seed && a.mask.buffer == b.mask.buffer;
}

// Nothing is running: decode() waits for its tokens.
Status Session::write_mask(std::span<const uint32_t> allowed) {
  const uint32_t words = seen_words(engine_.config().language.vocab_size);
  if (allowed.size() != words)
    return fail(Code::BadShape, "decode: a mask of ", allowed.size(), " words, wanted ", words);
  if (mask_.empty()) {
    VL2_ASSIGN(auto buffer, engine_.device().memory().allocate(allowed.size_bytes(), MemoryKind::Upload, "token mask"));
    mask_ = make_view(*buffer, DType::U32, {words});
    buffers_.push_back(std::move(buffer));
  }
  std::memcpy(mask_.buffer->mapped(), allowed.data(), allowed.size_bytes());
  return mask_.buffer->flush(0, allowed.size_bytes());
}

Result<std::vector<uint32_t>> Session::decode(uint32_t count, const SampleOptions& options, std::span<const uint32_t> allowed) {
  if (!logits_valid_)
    return fail(Code::BadArgument, "decode: nothing was prefilled");
  if (count > cache_.capacity - cache_.length)
    return fail(Code::ContextFull, "context: it holds ", cache_.capacity, " tokens and ", cache_.length, " are in it; ", count,
                " more do not fit");
  SampleOptions how = options;
  how.mask = {};
  if (!allowed.empty()) {
    if (count != 1)
      return fail(Code::BadArgument, "decode: ", count, " tokens with one mask");
    VL2_TRY(write_mask(allowed));
    how.mask = mask_;
  }
  VL2_TRY(fetch_logits());
  std::vector<uint32_t> ids(count);
  const uint32_t before = cache_.length;
  if (Status status = plan_ != nullptr ? decode_fused(count, how, ids) : decode_plain(count, how, ids); !status.ok()) {
    static_cast<void>(rec_.finish());
    rewind(before);  // some of a token may have run
    return status;
  }
  scratch_.drop_outgrown();
  return ids;
}

Status Session::decode_plain(uint32_t count, const SampleOptions& options, std::span<uint32_t> ids) {
  const LanguageConfig& config = engine_.config().language;
  const LanguageWeights& weights = engine_.weights().language;
  for (uint32_t done = 0; done < count; done += kTokenRing) {
    const uint32_t batch = std::min(kTokenRing, count - done);
    for (uint32_t i = 0; i < batch; ++i) {
      SampleOptions step = options;
      step.step = cache_.length;
      step.update_seen = true;
      const TensorView token = tokens_.rows(i, 1);
      VL2_ASSIGN(const TensorView residual, scratch_.get("residual", DType::F32, {1, config.hidden_size}));
      VL2_TRY(sample(rec_, logits_.reshaped({config.vocab_size}), seen_, step, sample_scratch_, token));
      VL2_TRY(embed_tokens(rec_, weights.embed_tokens, token, residual));
      VL2_TRY(run_layers(rec_, scratch_, config, weights, cache_, rope_table_, residual));
      VL2_TRY(compute_logits(rec_, scratch_, config, weights, residual, logits_));
    }
    VL2_TRY(rec_.download(tokens_.rows(0, batch), std::as_writable_bytes(ids.subspan(done, batch))));
  }
  return {};
}

Status Session::decode_fused(uint32_t count, const SampleOptions& options, std::span<uint32_t> ids) {
  // A replay has no timestamps nor waits for a file, and a device that only compiles has nothing to replay: the same dispatches,
  // recorded afresh.
  const bool recorded = rec_.timing() || !engine_.device().executes() || engine_.weights().language.file != nullptr;
  if (!recorded && (replay_ == nullptr || !same_sampling(options, replay_options_))) {
    replay_.reset();
    VL2_TRY(rec_.begin_capture());
    const Status status = plan_->record_token(rec_, options);
    auto captured = rec_.end_capture();
    VL2_TRY(status);
    VL2_ASSIGN(replay_, std::move(captured));
    replay_options_ = options;
  }
  for (uint32_t done = 0; done < count; done += kTokenRing) {
    const uint32_t batch = std::min(kTokenRing, count - done);
    VL2_TRY(plan_->start(rec_, cache_.length));
    if (!recorded)
      VL2_TRY(rec_.replay(*replay_, batch));
    for (uint32_t i = 0; i < batch && recorded; ++i)
      VL2_TRY(plan_->record_token(rec_, options));
    cache_.length += batch;
    VL2_TRY(rec_.download(tokens_.rows(0, batch), std::as_writable_bytes(ids.subspan(done, batch))));
  }
  return {};
}

}  // namespace vl2
