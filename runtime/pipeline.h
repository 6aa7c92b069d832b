// ShaderId and specialisation constants -> compute pipeline, made once and kept on disk between runs.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/pipeline_list.h"
#include "runtime/shader.h"
#include "runtime/status.h"
#include "runtime/vulkan.h"

namespace vl2 {

struct DeviceCaps;
class Instance;

/// A pipeline with what is needed to bind it.
struct Pipeline {
  VkPipeline handle = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
};

/// What the driver says about one compiled pipeline: registers, spills and so on, by the driver's own names.
struct PipelineStatistics {
  PipelineKey key;
  std::vector<std::pair<std::string, double>> values;
};

/// The pipelines of one device. Two files on disk, named for device, driver and shaders: the driver's blob, and which pipelines
/// each model used, so that the next run compiles them all at once while its weights load. A foreign, torn or older file is
/// ignored. Threads: any.
class PipelineStore {
 public:
  struct Options {
    std::string cache_dir;          ///< empty: nothing is read or written
    bool count_saturation = false;  ///< sets constant 31 of the shaders that store f16
    bool statistics = false;        ///< VK_KHR_pipeline_executable_properties is enabled: keep what statistics() tells
  };

  /// instance  outlives it
  static Result<std::unique_ptr<PipelineStore>> create(const Instance& instance, VkDevice device, const DeviceCaps& caps,
                                                       Options options);
  /// Makes no pipeline: get() gives empty ones, and count() tells how many were asked for.
  static std::unique_ptr<PipelineStore> rehearsal();
  /// Waits for pipelines under way, and saves.
  ~PipelineStore();
  PipelineStore(const PipelineStore&) = delete;
  PipelineStore& operator=(const PipelineStore&) = delete;

  /// The pipeline of a shader with constants 0, 1, 2, ... set to `constants`. The pointer stays valid. One that another thread is
  /// making is waited for.
  ///
  /// A shader on matrix units (ShaderCode::matrix) runs in full subgroups of matrix_subgroup_size(), which is its constant 30;
  /// its workgroups are a multiple of that along x.
  Result<const Pipeline*> get(ShaderId shader, std::span<const uint32_t> constants);

  /// Starts making, on other threads, the pipelines that earlier runs got after prebuild(tag); get() is counted for `tag` from
  /// now on. A pipeline that cannot be made is an error of the get() that asks for it.
  ///
  /// tag  names a model's shapes
  void prebuild(uint64_t tag);
  /// Starts making these likewise.
  void prebuild(const std::set<PipelineKey>& keys);
  /// Waits until nothing that prebuild() started is left to do. Returns how many pipelines there are.
  size_t wait_for_prebuilt();

  /// Writes the cache files when pipelines were made that they do not hold. A disk that refuses is no error.
  void save();

  /// Of every pipeline made so far. Needs Options::statistics.
  Result<std::vector<PipelineStatistics>> statistics();

  /// Whether pipelines of an earlier run were found on disk.
  bool warm() const { return warm_; }
  /// How many there are, made or under way.
  size_t count() const;
  /// How many pipelines were made while the thread that wanted one waited. Tests.
  uint64_t made_in_get() const;

 private:
  enum class State { Queued, Building, Ready, Failed };
  struct Entry {
    State state = State::Queued;
    bool wanted = false;  // by a get() of this run
    Pipeline pipeline;
    Status status;
  };
  using Entries = std::map<PipelineKey, Entry>;

  PipelineStore() = default;
  void build(std::unique_lock<std::mutex>& lock, Entries::value_type& place);
  void work();
  Status make(ShaderId shader, std::span<const uint32_t> constants, Pipeline& pipeline);
  Status make_layout(const ShaderCode& code, Pipeline& layout);

  const Instance* instance_ = nullptr;  // null in a rehearsal
  VkDevice device_ = VK_NULL_HANDLE;
  Options options_;
  uint32_t matrix_subgroup_size_ = 0;
  bool subgroup_size_control_ = false;
  std::string path_, list_path_;  // of the cache files; empty: none
  uint64_t key_ = 0;              // of device, driver and shaders
  bool warm_ = false;
  VkPipelineCache cache_ = VK_NULL_HANDLE;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable built_;
  std::vector<Pipeline> layouts_;  // by ShaderId; handle unused
  Entries entries_;                // an entry stays where it is
  std::vector<Entries::value_type*> queue_;
  std::vector<std::thread> workers_;
  size_t building_ = 0;
  bool stop_ = false;
  uint64_t tag_ = 0;
  uint64_t made_in_get_ = 0;
  PipelineLists lists_;            // as on disk
  std::set<PipelineKey> in_blob_;  // all of lists_
};

}  // namespace vl2
