// A measurement, not a test: what a dispatch costs beside the work in it, by what is bound anew before it. Run by hand:
//   VL2_CACHE_DIR= vl2_tests --no-skip -tc="measure: what a dispatch costs"
// It talks to Vulkan itself, since a Recorder always binds everything.
#include <algorithm>
#include <cstdio>
#include <doctest/doctest.h>
#include <vector>

#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/vulkan.h"
#include "shaders/interface/rms_norm.h"

using namespace vl2;

namespace {

constexpr uint32_t kDispatches = 512, kWidth = 256;

// What orders a dispatch behind the one before.
enum class Order { None, Execution, Memory, ReadMemory, BufferMemory, Event };

struct Bound {
  const char* what;
  Order order;
  bool sets, constants, pipelines;
};

void require(VkResult result) {
  REQUIRE(result == VK_SUCCESS);
}

}  // namespace

TEST_CASE("measure: what a dispatch costs" * doctest::skip()) {
  auto options = device_options_from_environment();
  REQUIRE(options.ok());
  auto made = Device::create(*options);
  REQUIRE_MESSAGE(made.ok(), made.message());
  Device& device = **made;
  const VkDevice handle = device.handle();
  auto buffer = device.memory().allocate(uint64_t{kDispatches} * kWidth * 4, MemoryKind::Device, "rows");
  REQUIRE(buffer.ok());
  std::vector<const Pipeline*> pipelines;
  for (const ShaderId shader : {ShaderId::rms_norm_f32, ShaderId::rms_norm_f16}) {
    const auto pipeline = device.pipelines().get(shader, {});
    REQUIRE_MESSAGE(pipeline.ok(), pipeline.message());
    pipelines.push_back(*pipeline);
  }

  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3 * kDispatches};
  const VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, kDispatches, 1, &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  require(vkCreateDescriptorPool(handle, &pool_info, nullptr, &pool));
  const std::vector<VkDescriptorSetLayout> layouts(kDispatches, pipelines[0]->set_layout);
  std::vector<VkDescriptorSet> sets(kDispatches);
  const VkDescriptorSetAllocateInfo set_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr, pool, kDispatches,
                                             layouts.data()};
  require(vkAllocateDescriptorSets(handle, &set_info, sets.data()));
  for (uint32_t i = 0; i < kDispatches; ++i) {
    const VkDescriptorBufferInfo row{(*buffer)->handle(), uint64_t{i} * kWidth * 4, kWidth * 4};
    const VkDescriptorBufferInfo rows[3] = {row, row, row};
    const VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, sets[i], 0,      0, 3,
                                     VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, rows,    nullptr};
    vkUpdateDescriptorSets(handle, 1, &write, 0, nullptr);
  }
  const VkCommandPoolCreateInfo commands_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, device.queue_family()};
  VkCommandPool command_pool = VK_NULL_HANDLE;
  require(vkCreateCommandPool(handle, &commands_info, nullptr, &command_pool));
  const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  require(vkCreateFence(handle, &fence_info, nullptr, &fence));

  std::vector<VkEvent> events(kDispatches);
  const VkEventCreateInfo event_info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  for (VkEvent& event : events)
    require(vkCreateEvent(handle, &event_info, nullptr, &event));
  const auto order = [&](VkCommandBuffer commands, Order kind, VkEvent event) {
    constexpr VkPipelineStageFlags kCompute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
    constexpr VkAccessFlags kRead = VK_ACCESS_SHADER_READ_BIT, kWrite = VK_ACCESS_SHADER_WRITE_BIT;
    const VkMemoryBarrier memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, kWrite,
                                 kind == Order::ReadMemory ? kRead : kRead | kWrite};
    const VkBufferMemoryBarrier of_buffer{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
                                          nullptr,
                                          kWrite,
                                          kRead | kWrite,
                                          VK_QUEUE_FAMILY_IGNORED,
                                          VK_QUEUE_FAMILY_IGNORED,
                                          (*buffer)->handle(),
                                          0,
                                          VK_WHOLE_SIZE};
    switch (kind) {
      case Order::None: break;
      case Order::Execution: vkCmdPipelineBarrier(commands, kCompute, kCompute, 0, 0, nullptr, 0, nullptr, 0, nullptr); break;
      case Order::Memory:
      case Order::ReadMemory: vkCmdPipelineBarrier(commands, kCompute, kCompute, 0, 1, &memory, 0, nullptr, 0, nullptr); break;
      case Order::BufferMemory:
        vkCmdPipelineBarrier(commands, kCompute, kCompute, 0, 0, nullptr, 1, &of_buffer, 0, nullptr);
        break;
      case Order::Event:
        vkCmdSetEvent(commands, event, kCompute);
        vkCmdWaitEvents(commands, 1, &event, kCompute, kCompute, 1, &memory, 0, nullptr, 0, nullptr);
        vkCmdResetEvent(commands, event, kCompute);
        break;
    }
  };
  const auto record = [&](const Bound& bound) {
    const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, command_pool,
                                           VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VkCommandBuffer commands = VK_NULL_HANDLE;
    require(vkAllocateCommandBuffers(handle, &info, &commands));
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                         VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
    require(vkBeginCommandBuffer(commands, &begin));
    for (uint32_t i = 0; i < kDispatches; ++i) {
      const Pipeline& pipeline = *pipelines[bound.pipelines ? i % 2 : 0];
      if (i == 0 || bound.pipelines)
        vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle);
      if (i == 0 || bound.sets)
        vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &sets[i], 0, nullptr);
      const RmsNormParams params{.width = kWidth,
                                 .x_row_stride = kWidth,
                                 .y_row_stride = kWidth,
                                 .x_offset = 0,
                                 .y_offset = 0,
                                 .eps = 1e-6f * static_cast<float>(i)};
      if (i == 0 || bound.constants)
        vkCmdPushConstants(commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(params), &params);
      vkCmdDispatch(commands, 1, 1, 1);
      order(commands, bound.order, events[i]);
    }
    require(vkEndCommandBuffer(commands));
    return commands;
  };
  constexpr Bound kBound[] = {{"barrier", Order::Memory, false, false, false},
                              {"barrier for reads", Order::ReadMemory, false, false, false},
                              {"barrier of the buffer", Order::BufferMemory, false, false, false},
                              {"execution barrier", Order::Execution, false, false, false},
                              {"event", Order::Event, false, false, false},
                              {"barrier, set", Order::Memory, true, false, false},
                              {"barrier, constants", Order::Memory, false, true, false},
                              {"barrier, pipeline", Order::Memory, false, false, true},
                              {"barrier, set, constants", Order::Memory, true, true, false},
                              {"barrier, set, constants, pipeline", Order::Memory, true, true, true},
                              {"execution, set, constants, pipeline", Order::Execution, true, true, true},
                              {"set, constants, pipeline", Order::None, true, true, true},
                              {"nothing", Order::None, false, false, false}};
  for (const Bound& bound : kBound) {
    const VkCommandBuffer commands = record(bound);
    const std::vector<VkCommandBuffer> eight(8, commands);
    std::vector<double> us;
    double warm = 0;
    while (warm < 0.3 || us.size() < 5) {
      const VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO, nullptr, 0, nullptr, nullptr, 8, eight.data(), 0, nullptr};
      const auto start = Clock::now();
      require(vkQueueSubmit(device.queue(), 1, &submit, fence));
      require(vkWaitForFences(handle, 1, &fence, VK_TRUE, UINT64_MAX));
      us.push_back(1e6 * seconds_since(start) / (8 * kDispatches));
      warm += 1e-6 * us.back() * 8 * kDispatches;
      require(vkResetFences(handle, 1, &fence));
    }
    std::sort(us.end() - 5, us.end());
    std::printf("| %-36s | %7.3f us a dispatch |\n", bound.what, us[us.size() - 3]);
    std::fflush(stdout);
  }
  for (const VkEvent event : events)
    vkDestroyEvent(handle, event, nullptr);
  vkDestroyFence(handle, fence, nullptr);
  vkDestroyCommandPool(handle, command_pool, nullptr);
  vkDestroyDescriptorPool(handle, pool, nullptr);
}
