// The next token from the logits, chosen on the device.
#pragma once

#include <span>

#include "runtime/recorder.h"

namespace vl2 {

struct SampleOptions {
  float temperature = 0.0f;         ///< 0: greedy
  uint32_t top_k = 0;               ///< keep the top_k likeliest; 0: all
  float top_p = 1.0f;               ///< 0..1: keep the fewest likeliest whose probabilities sum to top_p or more; 1: all
  float min_p = 0.0f;               ///< 0..1: keep what is at least min_p times as likely as the likeliest; 0: all
  float repetition_penalty = 1.0f;  ///< above 0; 1: off
  uint64_t seed = 0;
  uint32_t step = 0;         ///< position of the sampled token: the counter of the random stream
  TensorView position;       ///< u32, added to step where given: for what is recorded once and runs many times; its first word
  TensorView mask;           ///< u32 [seen_words(vocab_size)], bits as in `seen`: the ids that may be chosen; empty: all
  bool update_seen = false;  ///< set the bit of the sampled id in `seen`
};

/// Room that `sample` works in. What it holds between calls is of no meaning; one is enough for all calls of a recorder.
struct SampleScratch {
  TensorView words;  ///< u32 [sample_scratch_words()], at the device's storage buffer alignment
};

/// Words of a SampleScratch, the same for every vocabulary.
uint32_t sample_scratch_words();

/// Words of `seen` for a vocabulary: a bit an id, id i in bit i % 32 of word i / 32.
constexpr uint32_t seen_words(uint32_t vocab_size) {
  return vocab_size / 32 + (vocab_size % 32 != 0 ? 1 : 0);
}

/// Records the choice of one token.
///
/// In this order, as the logits processors of transformers do:
///   mask                ids that it leaves out are as if they were NaN
///   repetition_penalty  each id in `seen`, once: logit > 0 divided by it, else multiplied (also when greedy)
///   temperature         0: the highest logit wins, the lowest id on a tie; nothing below applies
///   top_k               exactly top_k ids stay; of equal logits the lower ids
///   top_p               of the distribution renormalised over those; the id that crosses the limit stays, so at least one always
///   does min_p               relative to the likeliest draw                inverse of the cumulative sum over ids ascending, at
///   a 64-bit random number made of seed and step
/// NaN never wins and is never drawn; when all logits are NaN the token is 0, whatever the mask says. +inf wins over all that is finite.
///
/// logits   [vocab_size] f32, adjacent, any offset; not modified; vocab_size 1 .. 2^28 - 1
/// seen     u32 [seen_words(vocab_size)], adjacent; may be empty when repetition_penalty is 1 and update_seen false
/// token    u32 [1], any offset: an element of a ring of tokens, which embed_tokens takes as its ids
/// Numbers  probabilities relative to the likeliest, in f32, then as integers in units of 2^-36: their sums are exact, so the
/// order of
///          adding cannot show and the same input gives the same token on each run of a device
/// Errors   BadShape, BadDType, BadArgument: nothing is recorded
/// Cost     2 dispatches when greedy; else 3, + 8 with top_k or top_p, + 14 with both; every other one reads the logits once
/// Source   transformers 4.38 generation/logits_process.py (the order and the meaning of the filters);
///          Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011), for Philox4x32-10
Status sample(Recorder& rec, const TensorView& logits, const TensorView& seen, const SampleOptions& options,
              const SampleScratch& scratch, const TensorView& token);

/// What sample() takes, of one of several.
struct SampleRow {
  TensorView logits, seen;
  SampleOptions options;
  SampleScratch scratch;  ///< no two have the same
  TensorView token;       ///< nor, of the buffer, the same 256 bytes
};

/// Records sample() of each row, its passes side by side with those of the others, so that all together take the levels of one.
///
/// Errors  as sample(), of the first row that has one: nothing is recorded
Status sample_rows(Recorder& rec, std::span<const SampleRow> rows);

}  // namespace vl2
