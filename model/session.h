// One conversation on the device: pictures, prefill, decode.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/decode_plan.h"
#include "model/engine.h"
#include "model/kv_cache.h"
#include "model/picture_encoder.h"
#include "model/scratch.h"
#include "runtime/ops/sample.h"
#include "runtime/recorder.h"

namespace vl2 {

class BatchDecode;

/// Rows of a picture that stand where the prompt has `row_count` image tokens in a row.
struct PictureRun {
  uint32_t first_token = 0;  ///< index into the ids given with it
  const EncodedPicture* picture = nullptr;
};

/// Logits that prefill should keep: those of the last `count` of its tokens, appended to `rows` as [count, vocab_size].
struct LogitsRequest {
  uint32_t count = 0;
  std::vector<float>* rows = nullptr;
};

/// Where the time of encoding a picture went.
struct EncodeTimes {
  double resize_ms = 0;  ///< upload, resize, pad
  double encode_ms = 0;  ///< encoder, projector, assembly
};

/// Asked before each part of a long call, when other sessions may have the device, with how much of it is done; an error ends it.
using BetweenParts = std::function<Status(uint32_t done, uint32_t total)>;

/// The cache of one conversation, and what runs on it. One thread at a time; the engine outlives it.
class Session {
 public:
  /// plan    Auto asks VL2_PLAN first
  /// context tokens that it holds, at most the engine's; 0: the engine's
  /// Errors  OutOfMemory; BadArgument: VL2_PLAN; Unsupported: Fused was asked for, and why it cannot be
  static Result<std::unique_ptr<Session>> create(Engine& engine, PlanChoice plan = PlanChoice::Auto, uint32_t context = 0);

  ~Session();

  uint32_t length() const { return cache_.length; }
  uint32_t capacity() const { return cache_.capacity; }
  Recorder& recorder() { return rec_; }
  /// Null when tokens are decoded by the plain plan.
  const DecodePlan* plan() const { return plan_.get(); }

  /// Forgets tokens from `length` on; the next logits are unknown until more is prefilled.
  void rewind(uint32_t length);
  /// Makes `ids` the ones that the repetition penalty counts.
  Status set_seen(std::span<const uint32_t> ids);
  /// Whether decode() knows what comes next: something was prefilled, and nothing rewound since.
  bool ready() const { return logits_valid_; }
  /// The logits of the token that decode() would choose next, f32 [vocab_size]. Waits for the device.
  ///
  /// Errors  BadArgument: not ready()
  Status next_logits(std::vector<float>& logits);

  // What the cache holds, for a file: KvCache::planes, each of length() rows.
  CacheType cache_type() const { return cache_.type; }
  uint32_t cache_tensor_count() const { return static_cast<uint32_t>(cache_.planes.size()); }
  uint64_t cache_row_bytes(uint32_t tensor) const;
  Status read_cache(uint32_t tensor, std::vector<std::byte>& rows);
  /// Puts the first rows of a tensor in place; they count after resume().
  Status write_cache(uint32_t tensor, std::span<const std::byte> rows);
  /// Copies the first `rows` rows of all of them to one buffer. Waits for the device.
  Result<std::unique_ptr<Buffer>> copy_rows_out(uint32_t rows);
  /// Puts what a session of the same model copied out in place, and holds nothing else then; set_seen() is left to the caller.
  Status copy_rows_in(const Buffer& from, uint32_t rows);
  /// Makes a new session hold `ids`, whose rows were written to the cache.
  ///
  /// next_logits  what next_logits() gave; empty: unknown
  Status resume(std::span<const uint32_t> ids, std::span<const float> next_logits);

  /// Forgets everything, the ids that the repetition penalty counts included.
  Status clear();

  /// Encodes a picture on the device. pictures_in_conversation decides on tiling (tile_grid()).
  ///
  /// times    where not null, gets the times, which costs one more wait for the device
  /// between  may be empty; asked about every 50 ms, with blocks of the encoder that are on their way, of all. Other sessions of
  ///          the engine may work on its device meanwhile
  Result<EncodedPicture> encode(const Picture& picture, uint32_t pictures_in_conversation, EncodeTimes* times = nullptr,
                                const BetweenParts& between = {});

  /// Runs the prompt `ids` after what is in the cache, in chunks of `chunk` tokens (0: Engine::chunk()), with pictures in place
  /// of their runs of image tokens.
  ///
  /// ids     each below vocab_size
  /// runs    ascending, not overlapping, inside ids
  /// logits  what to keep; at least the last token's are computed for the next decode
  /// between may be empty; asked before each chunk. Where it is given each chunk is waited for. Its error leaves the chunks that
  ///         were run in the cache
  /// Errors  ContextFull, with the numbers, before anything has run; BadArgument for an id or run out of range
  Status prefill(std::span<const uint32_t> ids, std::span<const PictureRun> runs, const LogitsRequest& logits = {},
                 uint32_t chunk = 0, const BetweenParts& between = {});

  /// Chooses `count` tokens one after the other on the device and puts them into the cache. Needs a prefill before it.
  ///
  /// options  seed, temperature and so on; step, update_seen and mask are set here
  /// allowed  [seen_words(vocab_size)], a bit for each id that may be chosen; `count` is 1 then. Empty: all
  /// Errors   ContextFull: fewer than `count` tokens of room. Those of the device, and of a file that experts are read from: the
  ///          cache is as before, and there is no next token until something was prefilled
  Result<std::vector<uint32_t>> decode(uint32_t count, const SampleOptions& options, std::span<const uint32_t> allowed = {});

 private:
  friend class BatchDecode;
  explicit Session(Engine& engine);
  Status fetch_logits();
  Status create_buffers();
  Status copy_rows_of(const Buffer& buffer, uint32_t rows, bool out);
  Status create_plan(PlanChoice choice);
  Status write_mask(std::span<const uint32_t> allowed);
  Status decode_plain(uint32_t count, const SampleOptions& options, std::span<uint32_t> ids);
  Status decode_fused(uint32_t count, const SampleOptions& options, std::span<uint32_t> ids);
  Result<std::unique_ptr<Buffer>> upload_ids(std::span<const uint32_t> ids, TensorView& view);
  Status run_chunk(uint32_t first, uint32_t count, const TensorView& all_ids, std::span<const PictureRun> runs,
                   const TensorView& residual);
  Status keep_logits(uint32_t first, uint32_t count, uint32_t total, const TensorView& residual, const LogitsRequest& request);

  Engine& engine_;
  KvCache cache_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  TensorView rope_table_;  // f32 [capacity, rope width / 2, 2]
  TensorView logits_;      // f32 [1, vocab_size] of the token to come
  TensorView seen_;        // u32 bits: ids so far
  TensorView tokens_;      // u32 [kTokenRing]
  TensorView mask_;        // u32 bits: ids that may be chosen; in host memory, made when first needed
  SampleScratch sample_scratch_;
  bool logits_valid_ = false;
  // Whether the logits to come are where batch_ decoded them, and not in logits_. Other sessions' steps look at it.
  std::atomic<bool> logits_in_batch_{false};
  BatchDecode* batch_ = nullptr;  // the one that decoded it last
  const uint64_t number_;         // of the process, in the order of their making
  Scratch scratch_;
  std::unique_ptr<DecodePlan> plan_;
  Recorder rec_;                    // gone before what it uses
  std::unique_ptr<Replay> replay_;  // a token of plan_ with replay_options_
  SampleOptions replay_options_;
};

/// Whether a token recorded with the one is the other's: all but step, position and update_seen. Pure.
bool same_sampling(const SampleOptions& a, const SampleOptions& b);

/// Most tokens that one decode() records before it reads them back.
inline constexpr uint32_t kTokenRing = 64;

}  // namespace vl2
