// Pictures that were encoded, kept for the next question about them: of a model, for all its conversations. And what the language
// model made of a conversation up to its first pictures, for those that begin so and may go on from there.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "model/picture_digest.h"
#include "model/picture_encoder.h"
#include "model/tiling.h"

namespace vl2 {

/// All that decides on the rows of a picture, of one model: most tiles and the count of pictures do so by the grid alone.
struct PictureKey {
  PictureDigest digest;
  uint32_t width = 0, height = 0;
  TileGrid grid;
  bool operator==(const PictureKey&) const = default;
};

/// Rows of a picture that a cache and prompts under way hold together. Only `grid` and `sequence` are set.
using SharedPictureRows = std::shared_ptr<const EncodedPicture>;

/// Where a prompt has a picture.
struct PicturePlace {
  uint32_t first = 0, count = 0;  ///< tokens
  PictureKey key;
  bool operator==(const PicturePlace&) const = default;
};

/// A prompt as far as it decides on the cache of its tokens.
struct PromptKey {
  std::vector<uint32_t> ids;
  std::vector<PicturePlace> places;  ///< in order
  bool operator==(const PromptKey&) const = default;
};

/// The beginning of a prompt, read: what Session::copy_rows_out() gave of its tokens.
struct KeptBeginning {
  uint32_t tokens = 0;  ///< 0: none
  std::shared_ptr<const Buffer> rows;
};

struct PictureCacheCounts {
  uint64_t limit_bytes = 0;  ///< 0: nothing is kept
  uint64_t bytes = 0;        ///< of device memory, held now
  uint32_t pictures = 0;     ///< held now; one that is tiled in two ways counts twice
  uint64_t hits = 0;         ///< since the start: pictures that need not be encoded
  uint64_t misses = 0;       ///< and those that had to be
  uint64_t evictions = 0;    ///< pictures and beginnings that had to go for others, or for want of memory
  uint32_t beginnings = 0;   ///< held now
  uint64_t beginning_hits = 0;
};

/// At most so many bytes of device memory; what was not used for longest goes first. Any thread, but that whoever drops the last hold of
/// rows, by keep() or drop_all() too, has the device's turn.
class PictureCache {
 public:
  /// Nothing is kept before. Before any other call.
  void set_limit(uint64_t bytes) { counts_.limit_bytes = bytes; }
  bool enabled() const { return counts_.limit_bytes > 0; }

  /// The rows, or null. Counts a hit or a miss, unless nothing is ever kept.
  SharedPictureRows find(const PictureKey& key);
  /// Keeps what find() did not have, if it fits at all; others go for it.
  void keep(const PictureKey& key, SharedPictureRows rows);
  /// The longest beginning of `prompt` that is kept, shorter than it.
  KeptBeginning find_beginning(const PromptKey& prompt);
  bool has_beginning(const PromptKey& beginning) const;
  /// Keeps what is not there yet, as keep() does.
  void keep_beginning(PromptKey beginning, std::shared_ptr<const Buffer> rows);
  /// Lets go of everything; returns the bytes that it held, which prompts under way may still hold.
  uint64_t drop_all();
  PictureCacheCounts counts() const;

 private:
  // A picture, or a beginning.
  struct Entry {
    PictureKey key;
    SharedPictureRows rows;
    PromptKey prompt;
    std::shared_ptr<const Buffer> prompt_rows;
    uint64_t bytes = 0;
  };

  bool holds(const PromptKey& beginning) const;
  void add(Entry entry);
  void drop_last();

  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // used last comes first; a few dozen at most
  PictureCacheCounts counts_;
};

}  // namespace vl2
