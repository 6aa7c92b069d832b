// What the shaders of sample and sample.cpp agree on: the passes, and what of the scratch each writes.
#ifndef VL2_INTERFACE_SAMPLE_H
#define VL2_INTERFACE_SAMPLE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint SAMPLE_THREADS = 256u;     // per workgroup
VL2_CONST uint SAMPLE_MAX_BLOCKS = 256u;  // one workgroup reads one result of each block: at most one an invocation
VL2_CONST uint SAMPLE_BLOCK_IDS = 2048u;  // ids of a block, more where SAMPLE_MAX_BLOCKS would not cover the vocabulary
VL2_CONST uint SAMPLE_SCRATCH = 0u, SAMPLE_SEEN = 1u, SAMPLE_LOGITS = 2u, SAMPLE_TOKEN = 3u, SAMPLE_POSITION = 4u,
               SAMPLE_MASK = 5u;  // bindings

// The key of the last id that stays is searched by its bits from the top, SAMPLE_DIGIT_BITS a level.
VL2_CONST uint SAMPLE_DIGIT_BITS = 8u;
VL2_CONST uint SAMPLE_BINS = 256u;  // of a digit
VL2_CONST uint SAMPLE_LEVELS = 4u;  // digits of a key

// Histograms: SAMPLE_BINS counts, low and high words of masses. Level 0 is common to top_k and top_p.
VL2_CONST uint SAMPLE_HISTOGRAM_WORDS = 3u * SAMPLE_BINS;
VL2_CONST uint SAMPLE_HISTOGRAMS = 2u * SAMPLE_LEVELS - 1u;

// Sections of the scratch, in words.
VL2_CONST uint SAMPLE_BEST_KEY = 0u;                                  // [blocks] key of the highest logit of a block
VL2_CONST uint SAMPLE_BEST_ID = SAMPLE_BEST_KEY + SAMPLE_MAX_BLOCKS;  // [blocks] its id
VL2_CONST uint SAMPLE_TIES = SAMPLE_BEST_ID + SAMPLE_MAX_BLOCKS;      // [blocks] ids whose key is the limit's
VL2_CONST uint SAMPLE_MASS_LOW = SAMPLE_TIES + SAMPLE_MAX_BLOCKS;     // [blocks] mass of the ids above the limit
VL2_CONST uint SAMPLE_MASS_HIGH = SAMPLE_MASS_LOW + SAMPLE_MAX_BLOCKS;
VL2_CONST uint SAMPLE_LIMIT =
    SAMPLE_MASS_HIGH + SAMPLE_MAX_BLOCKS;         // key of the last ids that stay; how many of them do, lowest first
VL2_CONST uint SAMPLE_STATE = SAMPLE_LIMIT + 2u;  // of the search: key, rest (low, high), above (low, high)
VL2_CONST uint SAMPLE_HISTOGRAM = SAMPLE_STATE + 5u;
VL2_CONST uint SAMPLE_SCRATCH_WORDS = SAMPLE_HISTOGRAM + SAMPLE_HISTOGRAMS * SAMPLE_HISTOGRAM_WORDS;

struct SampleParams {
  uint vocab_size;
  uint blocks;         // workgroups of the passes over all logits
  uint block_ids;      // ids of a block; of the last one fewer
  uint logits_offset;  // elements from the start of the binding to the first one
  uint seen_offset;
  uint token_offset;
  uint use_penalty;  // 0: `seen` is not read for the penalty
  uint update_seen;
  float penalty;
  float temperature;
  float min_p;
  uint top_k;  // 0: off, else 1 .. vocab_size - 1
  uint use_top_p;
  uint top_p_scaled;  // top_p in units of 2^-32, rounded up
  uint pass;          // the histogram of sample_histogram and sample_descend: 0, then 1 .. 3 for top_k and 4 .. 6 for top_p
  uint seed_low;
  uint seed_high;
  uint step;
  uint use_position;  // the first word of SAMPLE_POSITION is added to step
  uint use_mask;      // 0: SAMPLE_MASK is not read, every id may be chosen
  uint mask_offset;
};

VL2_SHARED_END
#endif
