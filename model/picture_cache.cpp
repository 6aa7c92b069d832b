#include "model/picture_cache.h"

#include <algorithm>

namespace vl2 {

SharedPictureRows PictureCache::find(const PictureKey& key) {
  if (!enabled())
    return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.end()) {
    ++counts_.misses;
    return nullptr;
  }
  ++counts_.hits;
  entries_.splice(entries_.begin(), entries_, found);
  return found->rows;
}

void PictureCache::keep(const PictureKey& key, SharedPictureRows rows) {
  const uint64_t bytes = rows->buffer->bytes();
  if (bytes > counts_.limit_bytes)
    return;
  const std::lock_guard lock(mutex_);
  // Another conversation may have encoded it meanwhile: the device's turn passes between pictures.
  if (std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; }))
    return;
  while (counts_.bytes + bytes > counts_.limit_bytes)
    drop_last();
  entries_.push_front({key, std::move(rows), bytes});
  counts_.bytes += bytes;
  ++counts_.pictures;
}

void PictureCache::drop_last() {
  counts_.bytes -= entries_.back().bytes;
  --counts_.pictures;
  ++counts_.evictions;
  entries_.pop_back();
}

uint64_t PictureCache::drop_all() {
  const std::lock_guard lock(mutex_);
  const uint64_t bytes = counts_.bytes;
  while (!entries_.empty())
    drop_last();
  return bytes;
}

PictureCacheCounts PictureCache::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace vl2
