// Every weight of the model as a TensorView, its shape beside it, and the loader that puts them on the device.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/config.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

class Device;
class ExpertFile;
struct QuantizeMix;

// Matrices are [outputs, inputs] in F16 (BF16 where a value does not fit, F32 where the file has F32), rows padded to a multiple
// of 8 elements; where all of a matrix is of one block type in the file (or becomes so by a mix), blocks, except kv_b, whose
// blocks become F16. Everything else is f32. Of a model that holds no encoder (Config::has_vision)
// the views of encoder and projector are empty.

struct LayerNormWeights {
  TensorView weight, bias;  // [width]
};

struct VisionBlockWeights {
  LayerNormWeights norm1, norm2;
  TensorView qkv, qkv_bias;    // [3 * width, width], [3 * width]: q, k, v, each head-major
  TensorView proj, proj_bias;  // [width, width], [width]
  TensorView fc1, fc1_bias;    // [mlp_width, width], [mlp_width]
  TensorView fc2, fc2_bias;    // [width, mlp_width], [width]
};

struct VisionWeights {
  TensorView patch_embed, patch_embed_bias;  // [width, 3 * patch_size^2], [width]
  TensorView pos_embed;                      // [729, width]
  std::vector<VisionBlockWeights> blocks;
  LayerNormWeights norm;
};

struct ProjectorWeights {
  TensorView layer0, layer0_bias;  // [n_embed, 4 * input_dim], [n_embed]
  TensorView layer2, layer2_bias;  // [n_embed, n_embed], [n_embed]
  TensorView image_newline;        // [n_embed]
  TensorView view_separator;       // [n_embed]
};

struct MlpWeights {
  TensorView gate_up;  // [2 * intermediate, hidden]: gate rows, then up rows; experts: [n_routed_experts, ...]
  TensorView down;     // [hidden, intermediate]; experts: [n_routed_experts, ...]
};

struct LayerWeights {
  TensorView input_norm, post_attention_norm;  // [hidden]
  TensorView qkv;                              // MHA: [3 * hidden, hidden]
  TensorView q;                                // MLA: [heads * (nope + rope), hidden]
  TensorView kv_a;                             // MLA: [kv_lora_rank + rope, hidden]
  TensorView kv_a_norm;                        // MLA: [kv_lora_rank]
  TensorView kv_b;                             // MLA: [heads * (nope + v), kv_lora_rank]
  TensorView o;                                // [hidden, heads * v]
  bool is_moe = false;
  MlpWeights mlp;              // dense layers
  TensorView router;           // MoE: [n_routed_experts, hidden], f32
  TensorView router_bias;      // MoE with noaux_tc: [n_routed_experts]
  MlpWeights experts;          // MoE; in host memory where there is a cache, or `gathered` where they are in the file
  MlpWeights cached;           // with a cache: of the experts that are in slots; [slots, ...]
  MlpWeights gathered;         // with a cache: where prefill gathers the experts that it needs; one place for all layers
  TensorView cache_state;      // with a cache of what is in host memory: u32; runtime/ops/expert_cache.h
  ExpertFile* file = nullptr;  // not null: where the experts come from that are in no slot
  uint32_t file_layer = 0;     // which of its layers this is
  MlpWeights shared;           // MoE: intermediate is n_shared_experts * moe_intermediate_size; empty without shared experts
};

struct LanguageWeights {
  TensorView embed_tokens;  // [vocab_size, hidden]
  std::vector<LayerWeights> layers;
  TensorView norm;                   // [hidden]
  TensorView lm_head;                // [vocab_size, hidden]
  std::unique_ptr<ExpertFile> file;  // of all layers

  LanguageWeights();
  ~LanguageWeights();
};

/// Told now and then how many bytes of how many are done.
using LoadProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

/// The weights of a loaded model. Views point into buffers that live as long as this.
struct Weights {
  VisionWeights vision;
  ProjectorWeights projector;
  LanguageWeights language;
  uint64_t device_bytes = 0;
  uint64_t host_bytes = 0;    // of experts that are kept there, or of the window where they are in the file
  uint64_t file_bytes = 0;    // of experts that are read from there whenever they are wanted; as they are on the device
  uint32_t expert_slots = 0;  // a layer; 0: all experts are on the device
  std::vector<std::unique_ptr<Buffer>> buffers;
};

/// Bytes that load_weights will take on the device, assuming 16-bit matrices. Pure.
uint64_t weight_bytes(const Config& config);

/// Where the time of making an engine went. Checkpoint and device overlap, and so do pipelines and weights.
struct LoadTimes {
  double checkpoint_ms = 0;  ///< opening the files and parsing their headers
  double device_ms = 0;      ///< loader, driver, logical device, pipelines of earlier runs read
  double plan_ms = 0;        ///< the memory plan
  double match_ms = 0;       ///< pairing tensors with their places
  double allocate_ms = 0;    ///< device memory, summed over tensors
  double upload_ms = 0;      ///< reading, converting and writing
  double total_ms = 0;
};

/// Checks the whole list of tensors against `config`, then uploads them.
///
/// times  told where the time went; may be null
/// mix    not null: every tensor becomes what a file of `vl2 quantize --type` would hold of it
/// expert_slots  not 0: experts go to host memory, and so many of a layer are cached on the device
/// expert_window not 0: they stay in the checkpoint's files instead, which outlive the weights; bytes of host memory for those used
///               last
/// Errors  BadFile: a missing, unexpected or misshaped tensor, by name (vision.attn_pool.* is expected and skipped); OutOfMemory;
/// IoError.
///         On an error nothing stays allocated.
Result<std::unique_ptr<Weights>> load_weights(Device& device, const Checkpoint& checkpoint, const Config& config,
                                              const LoadProgress& progress, LoadTimes* times = nullptr,
                                              const QuantizeMix* mix = nullptr, uint32_t expert_slots = 0,
                                              uint64_t expert_window = 0);

}  // namespace vl2
