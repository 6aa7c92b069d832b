// What attention remembers of the tokens so far: keys and values (MHA), or the latent and the shared rotated key (MLA).
//
// Two kinds. f16: in the device's activation type, which is f32 where there is no f16. q8_0: signed bytes, and an f16 scale for
// every 32 elements of a head (MHA) or of a row (MLA), in a plane of their own behind the codes (runtime/ops/cache_rows.h); 8.5
// bits an element, as llama.cpp's cache of that name.
//
// * The kernels of the fused decode plan read codes and scales themselves, through LOAD_CACHE_CHUNK (shaders/decode/act_chunk.glsl)
//   or, on matrix units, on the way to shared memory, and write the token's row quantised. Its own key and value are what the
//   cache will give the tokens after it: no token sees more of another than the rest do.
// * Prefill and the plain plan quantise the new rows, then turn all rows seen so far of that layer back into activations, in a
//   scratch that the layers share, and attend as ever: one more kernel each way rather than a second form of seven, for 3 bytes
//   moved an element against the thousands of products that a prompt's chunk has for it. The scratch is one layer's f16 cache.
// * The rotated key of MLA is quantised like the latent; see the error measured in tests/model/cache_type_test.cpp.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/scratch.h"
#include "runtime/memory.h"
#include "runtime/recorder.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

class Device;

/// How a cache stores its elements.
enum class CacheType : uint32_t {
  F16 = 0,   ///< as activations
  Q8_0 = 1,  ///< 8 bits, and a scale for every 32
};

/// "f16", "q8_0".
const char* cache_type_name(CacheType type);

/// The type of that name.
///
/// what    how the message calls it: "--cache-type"
/// Errors  BadArgument: no such type
Result<CacheType> cache_type_of(std::string_view name, std::string_view what);

/// One layer's cache, in the device's activation type, or views of 8 bits (runtime/ops/cache_rows.h).
struct LayerCache {
  TensorView keys;    // MHA: [capacity, hidden]
  TensorView values;  // MHA: [capacity, hidden]
  TensorView latent;  // MLA: [capacity, kv_lora_rank + qk_rope_head_dim]: normalised latent, then rotated key
};

/// The cache of one conversation. Rows from `length` on hold nothing of meaning.
struct KvCache {
  CacheType type = CacheType::F16;
  std::vector<LayerCache> layers;
  uint32_t capacity = 0;  ///< tokens
  uint32_t length = 0;    ///< tokens held
  std::vector<std::unique_ptr<Buffer>> buffers;
  /// All there is to keep of it: [capacity, anything] each. Of a layer keys then values, or the latent; of each of these in 8 bits
  /// the codes, then the scales.
  std::vector<TensorView> planes;
};

/// Heads of MHA, whose scales one kernel writes at a time; of MLA 1.
uint32_t cache_segments(const LanguageConfig& config);

/// Bytes of the cache for one token, over all layers.
uint64_t kv_cache_bytes_per_token(const LanguageConfig& config, DType act, CacheType type);

/// Errors  OutOfMemory; Unsupported: this model's rows do not go into 8 bits
Result<KvCache> make_kv_cache(Device& device, const LanguageConfig& config, uint32_t capacity, CacheType type);

/// Rows 0 .. seen - 1 of keys, values or latents as activations: the cache itself, or of an 8-bit one a scratch.
///
/// name      of the scratch
/// segments  cache_segments()
/// Errors    OutOfMemory
Result<TensorView> cached_rows(Recorder& rec, Scratch& scratch, const char* name, const TensorView& cache, uint32_t segments,
                               uint32_t seen);

/// Takes the scratch that cached_rows() will want for `seen` tokens, all of it at once: asked for chunk by chunk it would grow with
/// each, and what it outgrew lives as long as the prompt runs. Nothing for a cache that is not of 8 bits.
///
/// Errors  OutOfMemory
Status reserve_cached_rows(Scratch& scratch, const KvCache& cache, DType act, uint32_t seen);

// The names of those scratches.
inline constexpr const char* kCachedKeys = "cached keys";
inline constexpr const char* kCachedValues = "cached values";
inline constexpr const char* kCachedLatents = "cached latents";

}  // namespace vl2
