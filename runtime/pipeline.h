// ShaderId and specialisation constants -> compute pipeline, made once and kept on disk between runs.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/shader.h"
#include "runtime/status.h"
#include "runtime/vulkan.h"

namespace vl2 {

struct DeviceCaps;

/// A pipeline with what is needed to bind it.
struct Pipeline {
  VkPipeline handle = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
};

/// The pipelines of one device. The file on disk is named for device, driver and shaders; a foreign, torn or older one is
/// ignored.
class PipelineStore {
 public:
  struct Options {
    std::string cache_dir;          ///< empty: nothing is read or written
    bool count_saturation = false;  ///< sets constant 31 of the shaders that store f16
  };

  static Result<std::unique_ptr<PipelineStore>> create(VkDevice device, const DeviceCaps& caps, Options options);
  /// Writes the cache file when pipelines were made that it does not hold. A disk that refuses is no error.
  ~PipelineStore();
  PipelineStore(const PipelineStore&) = delete;
  PipelineStore& operator=(const PipelineStore&) = delete;

  /// The pipeline of a shader with constants 0, 1, 2, ... set to `constants`. The pointer stays valid.
  ///
  /// A shader on matrix units (ShaderCode::matrix) runs in full subgroups of matrix_subgroup_size(), which is its constant 30; its
  /// workgroups are a multiple of that along x.
  Result<const Pipeline*> get(ShaderId shader, std::span<const uint32_t> constants);

  /// Whether pipelines of an earlier run were found on disk.
  bool warm() const { return warm_; }

 private:
  PipelineStore() = default;
  Result<const Pipeline*> make(ShaderId shader, std::span<const uint32_t> constants);
  Status make_layout(const ShaderCode& code, Pipeline& layout);

  VkDevice device_ = VK_NULL_HANDLE;
  Options options_;
  uint32_t matrix_subgroup_size_ = 0;
  bool subgroup_size_control_ = false;
  std::string path_;  // of the cache file; empty: none
  uint64_t key_ = 0;  // of device, driver and shaders
  bool warm_ = false;
  bool changed_ = false;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::vector<Pipeline> layouts_;  // by ShaderId; handle unused
  std::map<std::pair<ShaderId, std::vector<uint32_t>>, Pipeline> pipelines_;
};

}  // namespace vl2
