#include "runtime/pipeline.h"

#include <cstdio>

#include "runtime/device_caps.h"
#include "runtime/pipeline_file.h"

namespace vl2 {

namespace {
constexpr uint32_t kSaturation = 31;    // binding and constant_id, see shaders/common/act_type.glsl
constexpr uint32_t kSubgroupSize = 30;  // constant_id of shaders on matrix units
}

Result<std::unique_ptr<PipelineStore>> PipelineStore::create(VkDevice device, const DeviceCaps& caps, Options options) {
  std::unique_ptr<PipelineStore> store(new PipelineStore);
  store->device_ = device;
  store->options_ = std::move(options);
  store->matrix_subgroup_size_ = matrix_subgroup_size(caps);
  store->subgroup_size_control_ = caps.max_subgroup_size > 0;
  store->layouts_.resize(kShaderCount);

  store->key_ = pipeline_cache_key(caps);
  std::vector<std::byte> blob;
  if (!store->options_.cache_dir.empty()) {
    char name[64];
    std::snprintf(name, sizeof(name), "/pipelines-%016llx.bin", static_cast<unsigned long long>(store->key_));
    store->path_ = store->options_.cache_dir + name;
    blob = read_pipeline_file(store->path_, store->key_);
  }
  store->warm_ = !blob.empty();
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  info.initialDataSize = blob.size();
  info.pInitialData = blob.data();
  VL2_VK(vkCreatePipelineCache(device, &info, nullptr, &store->cache_));
  return store;
}

PipelineStore::~PipelineStore() {
  if (changed_ && !path_.empty()) {
    size_t bytes = 0;
    std::vector<std::byte> blob;
    if (vkGetPipelineCacheData(device_, cache_, &bytes, nullptr) == VK_SUCCESS) {
      blob.resize(bytes);
      // A cache that cannot be written costs the next start some time, nothing else.
      if (vkGetPipelineCacheData(device_, cache_, &bytes, blob.data()) == VK_SUCCESS)
        static_cast<void>(write_pipeline_file(path_, key_, blob));
    }
  }
  for (const auto& [key, pipeline] : pipelines_)
    vkDestroyPipeline(device_, pipeline.handle, nullptr);
  for (const Pipeline& layout : layouts_) {
    vkDestroyPipelineLayout(device_, layout.layout, nullptr);
    vkDestroyDescriptorSetLayout(device_, layout.set_layout, nullptr);
  }
  if (cache_ != VK_NULL_HANDLE)
    vkDestroyPipelineCache(device_, cache_, nullptr);
}

Result<const Pipeline*> PipelineStore::get(ShaderId shader, std::span<const uint32_t> constants) {
  const auto found = pipelines_.find({shader, {constants.begin(), constants.end()}});
  if (found != pipelines_.end())
    return &found->second;
  return make(shader, constants);
}

Status PipelineStore::make_layout(const ShaderCode& code, Pipeline& layout) {
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (const ShaderBinding& binding : code.bindings)
    bindings.push_back({binding.binding, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
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

Result<const Pipeline*> PipelineStore::make(ShaderId shader, std::span<const uint32_t> constants) {
  const ShaderCode& code = shader_code(shader);
  Pipeline& layout = layouts_[static_cast<size_t>(shader)];
  if (layout.layout == VK_NULL_HANDLE)
    VL2_TRY(make_layout(code, layout));

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
  info.layout = layout.layout;
  Pipeline pipeline = layout;
  const VkResult result = vkCreateComputePipelines(device_, cache_, 1, &info, nullptr, &pipeline.handle);
  vkDestroyShaderModule(device_, module, nullptr);
  if (result != VK_SUCCESS)
    return fail(Code::VulkanError, "pipeline ", code.name, ": ", vk_result_name(result));
  if (vkSetDebugUtilsObjectNameEXT != nullptr) {
    VkDebugUtilsObjectNameInfoEXT label{VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
    label.objectType = VK_OBJECT_TYPE_PIPELINE;
    label.objectHandle = reinterpret_cast<uint64_t>(pipeline.handle);
    label.pObjectName = code.name;
    vkSetDebugUtilsObjectNameEXT(device_, &label);
  }
  changed_ = true;
  const auto [place, inserted] =
      pipelines_.emplace(std::make_pair(shader, std::vector<uint32_t>(constants.begin(), constants.end())), pipeline);
  return &place->second;
}

}  // namespace vl2
