#include "runtime/pipeline_list.h"

#include <cstring>

namespace vl2 {

namespace {

constexpr uint32_t kMaxConstants = 32;

// Reads words one after the other; past the end `ok` is false and every word 0.
struct WordReader {
  std::span<const std::byte> bytes;
  bool ok = true;

  uint32_t next() {
    uint32_t word = 0;
    ok = ok && bytes.size() >= sizeof(word);
    if (!ok)
      return 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    bytes = bytes.subspan(sizeof(word));
    return word;
  }
};

}  // namespace

std::vector<std::byte> pack_pipeline_lists(const PipelineLists& lists) {
  std::vector<uint32_t> words = {static_cast<uint32_t>(lists.size())};
  for (const auto& [tag, keys] : lists) {
    words.insert(words.end(), {static_cast<uint32_t>(tag), static_cast<uint32_t>(tag >> 32), static_cast<uint32_t>(keys.size())});
    for (const PipelineKey& key : keys) {
      words.insert(words.end(), {static_cast<uint32_t>(key.shader), static_cast<uint32_t>(key.constants.size())});
      words.insert(words.end(), key.constants.begin(), key.constants.end());
    }
  }
  std::vector<std::byte> bytes(words.size() * sizeof(uint32_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

PipelineLists unpack_pipeline_lists(std::span<const std::byte> bytes) {
  WordReader words{bytes};
  PipelineLists lists;
  const uint32_t list_count = words.next();
  if (list_count > kMaxPipelineLists)
    return {};
  for (uint32_t list = 0; list < list_count && words.ok; ++list) {
    const uint64_t low = words.next(), tag = low | (uint64_t{words.next()} << 32);
    const uint32_t key_count = words.next();
    if (key_count > kMaxPipelinesOfAList)
      return {};
    for (uint32_t i = 0; i < key_count && words.ok; ++i) {
      const uint32_t shader = words.next(), constant_count = words.next();
      if (shader >= kShaderCount || constant_count > kMaxConstants)
        return {};
      PipelineKey key{static_cast<ShaderId>(shader), {}};
      for (uint32_t c = 0; c < constant_count; ++c)
        key.constants.push_back(words.next());
      lists[tag].insert(std::move(key));
    }
  }
  return words.ok && words.bytes.empty() ? lists : PipelineLists{};
}

}  // namespace vl2
