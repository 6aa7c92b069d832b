#include "runtime/pipeline.h"

#include <algorithm>
#include <cstdio>

#include "runtime/device_caps.h"
#include "runtime/instance.h"
#include "runtime/pipeline_file.h"

namespace vl2 {

namespace {
constexpr uint32_t kSaturation = 31;    // binding and constant_id, see shaders/common/act_type.glsl
constexpr uint32_t kSubgroupSize = 30;  // constant_id of shaders on matrix units

double statistic_value(const VkPipelineExecutableStatisticKHR& statistic) {
  switch (statistic.format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return statistic.value.b32 != VK_FALSE ? 1 : 0;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return static_cast<double>(statistic.value.i64);
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: return static_cast<double>(statistic.value.u64);
    default: return statistic.value.f64;
  }
}

}  // namespace

Result<std::unique_ptr<PipelineStore>> PipelineStore::create(const Instance& instance, VkDevice device, const DeviceCaps& caps,
                                                             Options options) {
  std::unique_ptr<PipelineStore> store(new PipelineStore);
  store->instance_ = &instance;
  store->device_ = device;
  store->options_ = std::move(options);
  store->matrix_subgroup_size_ = matrix_subgroup_size(caps);
  store->subgroup_size_control_ = caps.max_subgroup_size > 0;
  store->layouts_.resize(kShaderCount);

  store->key_ = pipeline_cache_key(caps);
  std::vector<std::byte> blob;
  if (!store->options_.cache_dir.empty()) {
    char name[64];
    std::snprintf(name, sizeof(name), "/pipelines-%016llx", static_cast<unsigned long long>(store->key_));
    store->path_ = store->options_.cache_dir + name + ".bin";
    store->list_path_ = store->options_.cache_dir + name + ".list";
    blob = read_pipeline_file(store->path_, store->key_);
    if (!blob.empty())
      store->lists_ = unpack_pipeline_lists(read_pipeline_file(store->list_path_, store->key_));
    for (const auto& [tag, keys] : store->lists_)
      store->in_blob_.insert(keys.begin(), keys.end());
  }
  store->warm_ = !blob.empty();
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  info.initialDataSize = blob.size();
  info.pInitialData = blob.data();
  VL2_VK(vkCreatePipelineCache(device, &info, nullptr, &store->cache_));
  return store;
}

std::unique_ptr<PipelineStore> PipelineStore::rehearsal() {
  return std::unique_ptr<PipelineStore>(new PipelineStore);
}

PipelineStore::~PipelineStore() {
  if (device_ == VK_NULL_HANDLE)
    return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    queue_.clear();
  }
  for (std::thread& worker : workers_)
    worker.join();
  save();
  for (const auto& [key, entry] : entries_)
    vkDestroyPipeline(device_, entry.pipeline.handle, nullptr);
  for (const Pipeline& layout : layouts_) {
    vkDestroyPipelineLayout(device_, layout.layout, nullptr);
    vkDestroyDescriptorSetLayout(device_, layout.set_layout, nullptr);
  }
  if (cache_ != VK_NULL_HANDLE)
    vkDestroyPipelineCache(device_, cache_, nullptr);
}

void PipelineStore::save() {
  const std::lock_guard lock(mutex_);
  if (path_.empty())
    return;
  std::set<PipelineKey>& list = lists_[tag_];
  bool changed = false;
  for (const auto& [key, entry] : entries_)
    if (entry.state == State::Ready && entry.wanted && list.size() < kMaxPipelinesOfAList && list.insert(key).second)
      changed = true;
  const bool fresh = std::any_of(list.begin(), list.end(), [&](const PipelineKey& key) { return in_blob_.count(key) == 0; });
  while (lists_.size() > kMaxPipelineLists)
    lists_.erase(lists_.begin()->first == tag_ ? std::next(lists_.begin()) : lists_.begin());
  if (!changed)
    return;
  size_t bytes = 0;
  std::vector<std::byte> blob;
  // A cache that cannot be written costs the next start some time, nothing else.
  if (fresh && vkGetPipelineCacheData(device_, cache_, &bytes, nullptr) == VK_SUCCESS) {
    blob.resize(bytes);
    if (vkGetPipelineCacheData(device_, cache_, &bytes, blob.data()) == VK_SUCCESS)
      static_cast<void>(write_pipeline_file(path_, key_, blob));
  }
  static_cast<void>(write_pipeline_file(list_path_, key_, pack_pipeline_lists(lists_)));
  in_blob_.insert(list.begin(), list.end());
}

Result<const Pipeline*> PipelineStore::get(ShaderId shader, std::span<const uint32_t> constants) {
  std::unique_lock lock(mutex_);
  const auto [place, inserted] = entries_.try_emplace({shader, {constants.begin(), constants.end()}});
  Entry& entry = place->second;
  entry.wanted = true;
  if (device_ == VK_NULL_HANDLE)
    return &entry.pipeline;
  if (entry.state == State::Queued) {  // by a worker that has not come to it, or by nobody
    std::erase(queue_, &*place);
    ++made_in_get_;
    build(lock, *place);
  }
  built_.wait(lock, [&] { return entry.state != State::Building; });
  if (entry.state == State::Failed)
    return entry.status;
  return &entry.pipeline;
}

// Makes one pipeline with the lock released meanwhile.
void PipelineStore::build(std::unique_lock<std::mutex>& lock, Entries::value_type& place) {
  const PipelineKey& key = place.first;
  Entry& entry = place.second;
  entry.state = State::Building;
  ++building_;
  Pipeline& layout = layouts_[static_cast<size_t>(key.shader)];
  Status status = layout.layout == VK_NULL_HANDLE ? make_layout(shader_code(key.shader), layout) : Status{};
  Pipeline pipeline = layout;
  lock.unlock();
  if (status.ok())
    status = make(key.shader, key.constants, pipeline);
  lock.lock();
  entry.pipeline = pipeline;
  entry.state = status.ok() ? State::Ready : State::Failed;
  entry.status = std::move(status);
  --building_;
  built_.notify_all();
}

void PipelineStore::work() {
  std::unique_lock lock(mutex_);
  while (!queue_.empty() && !stop_) {
    Entries::value_type& place = *queue_.back();
    queue_.pop_back();
    build(lock, place);
  }
}

void PipelineStore::prebuild(uint64_t tag) {
  std::set<PipelineKey> keys;
  {
    const std::lock_guard lock(mutex_);
    tag_ = tag;
    const auto found = lists_.find(tag);
    if (found != lists_.end())
      keys = found->second;
  }
  prebuild(keys);
}

void PipelineStore::prebuild(const std::set<PipelineKey>& keys) {
  constexpr size_t kMaxThreads = 16;
  const std::lock_guard lock(mutex_);
  for (const PipelineKey& key : keys)
    if (const auto [place, inserted] = entries_.try_emplace(key); inserted)
      queue_.push_back(&*place);
  const size_t wanted = std::min<size_t>({queue_.size(), std::max(std::thread::hardware_concurrency(), 1u), kMaxThreads});
  while (workers_.size() < wanted)
    workers_.emplace_back([this] { work(); });
}

size_t PipelineStore::wait_for_prebuilt() {
  std::unique_lock lock(mutex_);
  built_.wait(lock, [&] { return queue_.empty() && building_ == 0; });
  return entries_.size();
}

size_t PipelineStore::count() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

uint64_t PipelineStore::made_in_get() const {
  const std::lock_guard lock(mutex_);
  return made_in_get_;
}

Status PipelineStore::make_layout(const ShaderCode& code, Pipeline& layout) {
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (const ShaderBinding& binding : code.bindings)
    bindings.push_back({binding.binding, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, binding.count, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  VkDescriptorSetLayoutCreateInfo set_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  set_info.bindingCount = static_cast<uint32_t>(bindings.size());
  set_info.pBindings = bindings.data();
  VL2_VK(vkCreateDescriptorSetLayout(device_, &set_info, nullptr, &layout.set_layout));

  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, code.push_constant_bytes};
  VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = 1;
  info.pSetLayouts = &layout.set_layout;
  info.pushConstantRangeCount = code.push_constant_bytes > 0 ? 1 : 0;
  info.pPushConstantRanges = &range;
  return vk_status(vkCreatePipelineLayout(device_, &info, nullptr, &layout.layout), "vkCreatePipelineLayout");
}

// Fills in the handle of a pipeline whose layout is set. Any thread: the driver guards its own cache.
Status PipelineStore::make(ShaderId shader, std::span<const uint32_t> constants, Pipeline& pipeline) {
  const ShaderCode& code = shader_code(shader);

  std::vector<uint32_t> values(constants.begin(), constants.end());
  std::vector<VkSpecializationMapEntry> entries;
  for (uint32_t i = 0; i < values.size(); ++i)
    entries.push_back({i, i * 4, 4});
  entries.push_back({kSaturation, static_cast<uint32_t>(values.size() * 4), 4});
  values.push_back(options_.count_saturation ? VK_TRUE : VK_FALSE);
  entries.push_back({kSubgroupSize, static_cast<uint32_t>(values.size() * 4), 4});
  values.push_back(matrix_subgroup_size_);
  const VkSpecializationInfo specialization{static_cast<uint32_t>(entries.size()), entries.data(), values.size() * 4,
                                            values.data()};

  VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module_info.codeSize = code.words.size_bytes();
  module_info.pCode = code.words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  VL2_VK(vkCreateShaderModule(device_, &module_info, nullptr, &module));

  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                nullptr,
                0,
                VK_SHADER_STAGE_COMPUTE_BIT,
                module,
                "main",
                &specialization};
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size_info{
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  size_info.requiredSubgroupSize = matrix_subgroup_size_;
  if (code.matrix && subgroup_size_control_) {
    info.stage.pNext = &size_info;
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  }
  info.layout = pipeline.layout;
  if (options_.statistics)
    info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
  const VkResult result = vkCreateComputePipelines(device_, cache_, 1, &info, nullptr, &pipeline.handle);
  vkDestroyShaderModule(device_, module, nullptr);
  if (result != VK_SUCCESS)
    return fail(Code::VulkanError, "pipeline ", code.name, ": ", vk_result_name(result));
  instance_->name_object(device_, VK_OBJECT_TYPE_PIPELINE, reinterpret_cast<uint64_t>(pipeline.handle), code.name);
  return {};
}

Result<std::vector<PipelineStatistics>> PipelineStore::statistics() {
  const std::lock_guard lock(mutex_);
  std::vector<PipelineStatistics> all;
  for (const auto& [key, entry] : entries_) {
    if (entry.state != State::Ready)
      continue;
    PipelineStatistics result{key, {}};
    VkPipelineExecutableInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR};
    info.pipeline = entry.pipeline.handle;  // a compute pipeline has one executable: index 0
    uint32_t count = 0;
    VL2_VK(vkGetPipelineExecutableStatisticsKHR(device_, &info, &count, nullptr));
    std::vector<VkPipelineExecutableStatisticKHR> values(count, {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR});
    VL2_VK(vkGetPipelineExecutableStatisticsKHR(device_, &info, &count, values.data()));
    for (const VkPipelineExecutableStatisticKHR& value : values)
      result.values.emplace_back(value.name, statistic_value(value));
    all.push_back(std::move(result));
  }
  return all;
}

}  // namespace vl2
