// What attention remembers of the tokens so far: keys and values (MHA), or the latent and the shared rotated key (MLA).
#pragma once

#include <memory>
#include <vector>

#include "model/config.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

class Device;

/// One layer's cache, in the device's activation type.
struct LayerCache {
  TensorView keys;    // MHA: [capacity, hidden]
  TensorView values;  // MHA: [capacity, hidden]
  TensorView latent;  // MLA: [capacity, kv_lora_rank + qk_rope_head_dim]: normalised latent, then rotated key
};

/// The cache of one conversation. Rows from `length` on hold nothing of meaning.
struct KvCache {
  std::vector<LayerCache> layers;
  uint32_t capacity = 0;  ///< tokens
  uint32_t length = 0;    ///< tokens held
  std::vector<std::unique_ptr<Buffer>> buffers;
};

/// Bytes of the cache for one token, over all layers.
uint64_t kv_cache_bytes_per_token(const LanguageConfig& config, DType act);

/// Errors  OutOfMemory
Result<KvCache> make_kv_cache(Device& device, const LanguageConfig& config, uint32_t capacity);

}  // namespace vl2
