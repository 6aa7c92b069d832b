#include "model/picture_cache.h"

#include <algorithm>

namespace vl2 {

SharedPictureRows PictureCache::find(const PictureKey& key) {
  if (!enabled())
    return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.rows != nullptr && entry.key == key; });
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
  if (std::any_of(entries_.begin(), entries_.end(),
                  [&](const Entry& entry) { return entry.rows != nullptr && entry.key == key; }))
    return;
  add({key, std::move(rows), {}, nullptr, bytes});
}

KeptBeginning PictureCache::find_beginning(const PromptKey& prompt) {
  if (!enabled())
    return {};
  const auto begins = [&](const PromptKey& kept) {
    if (kept.ids.size() >= prompt.ids.size() || !std::equal(kept.ids.begin(), kept.ids.end(), prompt.ids.begin()))
      return false;
    // Its pictures, and no others before its end.
    const size_t count = kept.places.size();
    return count <= prompt.places.size() && std::equal(kept.places.begin(), kept.places.end(), prompt.places.begin()) &&
           (count == prompt.places.size() || prompt.places[count].first >= kept.ids.size());
  };
  const std::lock_guard lock(mutex_);
  auto best = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
    if (entry->prompt_rows != nullptr && begins(entry->prompt) &&
        (best == entries_.end() || entry->prompt.ids.size() > best->prompt.ids.size()))
      best = entry;
  if (best == entries_.end())
    return {};
  ++counts_.beginning_hits;
  entries_.splice(entries_.begin(), entries_, best);
  return {static_cast<uint32_t>(best->prompt.ids.size()), best->prompt_rows};
}

bool PictureCache::has_beginning(const PromptKey& beginning) const {
  const std::lock_guard lock(mutex_);
  return holds(beginning);
}

// Under the lock.
bool PictureCache::holds(const PromptKey& beginning) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.prompt_rows != nullptr && entry.prompt == beginning; });
}

void PictureCache::keep_beginning(PromptKey beginning, std::shared_ptr<const Buffer> rows) {
  const uint64_t bytes = rows->bytes();
  if (bytes > counts_.limit_bytes)
    return;
  const std::lock_guard lock(mutex_);
  if (holds(beginning))
    return;
  add({{}, nullptr, std::move(beginning), std::move(rows), bytes});
}

void PictureCache::add(Entry entry) {
  while (counts_.bytes + entry.bytes > counts_.limit_bytes)
    drop_last();
  counts_.bytes += entry.bytes;
  ++(entry.rows != nullptr ? counts_.pictures : counts_.beginnings);
  entries_.push_front(std::move(entry));
}

void PictureCache::drop_last() {
  counts_.bytes -= entries_.back().bytes;
  --(entries_.back().rows != nullptr ? counts_.pictures : counts_.beginnings);
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
