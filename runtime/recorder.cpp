#include "runtime/recorder.h"

#include <algorithm>
#include <cstring>

#include "runtime/device.h"

// How submissions are bounded: every dispatch states its cost; finished submissions teach what a unit of work takes on this
// device (two timestamps each); a submission ends when its expected time passes kSubmissionNs. Watchdogs kill at 2 s.

namespace vl2 {

namespace {

constexpr size_t kFrames = 3;  // one recorded while two run
constexpr uint32_t kSetsPerPool = 256;
constexpr uint32_t kQueriesPerFrame = 8192;  // two a timed dispatch, two for the submission
constexpr uint32_t kSaturationBinding = 31;
constexpr size_t kMaxBindings = 32;
constexpr size_t kMaxBuffers = 64;  // of a dispatch, arrays and all
constexpr double kSubmissionNs = 50e6;
constexpr double kBytesToWork = 16;  // a byte takes about as long as 16 operations, from phones to data centres

constexpr double kHostBytesToWork = 32 * kBytesToWork;  // a bus brings a 20th to a 60th of what a card's own memory does

template <typename Access>
bool overlap(const Access& a, const Access& b) {
  return a.buffer == b.buffer && a.begin < b.end && b.begin < a.end;
}

double work_of(Cost cost) {
  return static_cast<double>(cost.flops) + kBytesToWork * static_cast<double>(cost.bytes) +
         kHostBytesToWork * static_cast<double>(cost.host_bytes);
}

}  // namespace

// Pools that grow: filled from the first on, all emptied together.
struct Recorder::Descriptors {
  VkDevice device = VK_NULL_HANDLE;
  std::vector<VkDescriptorPool> pools;
  size_t in_use = 0;

  ~Descriptors() {
    for (const VkDescriptorPool pool : pools)
      vkDestroyDescriptorPool(device, pool, nullptr);
  }

  Status reset() {
    for (const VkDescriptorPool pool : pools)
      VL2_VK(vkResetDescriptorPool(device, pool, 0));
    in_use = 0;
    return {};
  }

  Result<VkDescriptorSet> allocate(VkDescriptorSetLayout layout) {
    for (;; ++in_use) {
      const bool fresh = in_use == pools.size();
      if (fresh) {
        const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kSetsPerPool * 8};
        const VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, kSetsPerPool, 1, &size};
        VkDescriptorPool pool = VK_NULL_HANDLE;
        VL2_VK(vkCreateDescriptorPool(device, &info, nullptr, &pool));
        pools.push_back(pool);
      }
      VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
      info.descriptorPool = pools[in_use];
      info.descriptorSetCount = 1;
      info.pSetLayouts = &layout;
      VkDescriptorSet set = VK_NULL_HANDLE;
      const VkResult result = vkAllocateDescriptorSets(device, &info, &set);
      if (result == VK_SUCCESS)
        return set;
      if (fresh || (result != VK_ERROR_OUT_OF_POOL_MEMORY && result != VK_ERROR_FRAGMENTED_POOL))
        return vk_status(result, "vkAllocateDescriptorSets");
    }
  }
};

struct Recorder::Frame {
  VkDevice device = VK_NULL_HANDLE;
  VkCommandPool pool = VK_NULL_HANDLE;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VkFence fence = VK_NULL_HANDLE;
  VkQueryPool queries = VK_NULL_HANDLE;
  Descriptors descriptors;
  bool in_flight = false;
  double work = 0;
  uint32_t query_count = 0;
  std::vector<std::pair<ShaderId, Cost>> timed;  // the dispatches whose queries start at 2

  ~Frame() {
    if (queries != VK_NULL_HANDLE)
      vkDestroyQueryPool(device, queries, nullptr);
    if (fence != VK_NULL_HANDLE)
      vkDestroyFence(device, fence, nullptr);
    if (pool != VK_NULL_HANDLE)
      vkDestroyCommandPool(device, pool, nullptr);
  }

  Status create(Device& owner) {
    device = descriptors.device = owner.handle();
    const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, owner.queue_family()};
    VL2_VK(vkCreateCommandPool(device, &pool_info, nullptr, &pool));
    const VkCommandBufferAllocateInfo buffer_info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool,
                                                  VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VL2_VK(vkAllocateCommandBuffers(device, &buffer_info, &commands));
    const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr, 0};
    VL2_VK(vkCreateFence(device, &fence_info, nullptr, &fence));
    if (owner.caps().timestamp_period_ns > 0) {
      VkQueryPoolCreateInfo query_info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
      query_info.queryType = VK_QUERY_TYPE_TIMESTAMP;
      query_info.queryCount = kQueriesPerFrame;
      VL2_VK(vkCreateQueryPool(device, &query_info, nullptr, &queries));
    }
    return {};
  }

  Status begin() {
    VL2_VK(vkResetCommandPool(device, pool, 0));
    VL2_TRY(descriptors.reset());
    work = 0;
    query_count = 0;
    timed.clear();
    const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                        VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, nullptr};
    VL2_VK(vkBeginCommandBuffer(commands, &info));
    if (queries != VK_NULL_HANDLE) {
      vkCmdResetQueryPool(commands, queries, 0, kQueriesPerFrame);
      stamp();
      ++query_count;  // 1 is for the end
    }
    return {};
  }

  void stamp() { vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, queries, query_count++); }
};

// The command buffers of one run, in order; more than one where a run takes longer than a submission should.
struct Replay::Parts {
  struct Part {
    VkCommandBuffer commands;
    double work;
  };
  VkDevice device = VK_NULL_HANDLE;
  VkCommandPool pool = VK_NULL_HANDLE;
  std::vector<Part> parts;
  Recorder::Descriptors descriptors;
  VkQueue queue = VK_NULL_HANDLE;
  bool submitted = false;

  ~Parts() {
    if (submitted)
      vkQueueWaitIdle(queue);
    if (pool != VK_NULL_HANDLE)
      vkDestroyCommandPool(device, pool, nullptr);
  }

  Status create(Device& owner) {
    device = descriptors.device = owner.handle();
    queue = owner.queue();
    const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, owner.queue_family()};
    return vk_status(vkCreateCommandPool(device, &info, nullptr, &pool), "vkCreateCommandPool");
  }

  Status begin_part() {
    const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool,
                                           VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VL2_VK(vkAllocateCommandBuffers(device, &info, &commands));
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                         VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT, nullptr};
    VL2_VK(vkBeginCommandBuffer(commands, &begin));
    parts.push_back({commands, 0});
    return {};
  }
};

Replay::Replay(Device& device) : device_(device), parts_(std::make_unique<Parts>()) {}

Replay::~Replay() = default;

Recorder::Recorder(Device& device)
    : device_(device),
      max_binding_bytes_(device.caps().max_storage_buffer_bytes),
      ns_per_work_(device.caps().type == DeviceType::Cpu ? 0.1 : 1e-3) {}

Recorder::~Recorder() {
  for (const auto& frame : frames_)
    if (frame->in_flight)
      vkWaitForFences(device_.handle(), 1, &frame->fence, VK_TRUE, UINT64_MAX);
}

AlignedView Recorder::aligned(const TensorView& view) const {
  const uint64_t step = std::max<uint64_t>(device_.caps().storage_buffer_alignment / dtype_bytes(view.dtype), 1);
  AlignedView result{view, static_cast<uint32_t>(view.offset % step)};
  result.view.offset -= result.remainder;
  if (result.remainder == 0 || view.rank() == 0 || view.element_count() == 0)
    return result;
  // One dimension that covers the gap and everything the view touches; the operator indexes by its own strides.
  result.view.rank_ = 1;
  result.view.dims = {static_cast<uint32_t>(view.span_elements() + result.remainder)};
  result.view.strides = {1};
  return result;
}

Status Recorder::describe(Status status) const {
  if (status.code() != Code::DeviceLost)
    return status;
  return fail(Code::DeviceLost, status.message(), "; the last dispatch recorded was ", last_label_);
}

VkCommandBuffer Recorder::commands() const {
  return capture_ != nullptr ? capture_->parts_->parts.back().commands : current_->commands;
}

Status Recorder::begin_if_needed() {
  if (current_ != nullptr || capture_ != nullptr)
    return {};
  if (frames_.size() < kFrames) {
    auto frame = std::make_unique<Frame>();
    VL2_TRY(frame->create(device_));
    next_frame_ = frames_.size();
    frames_.push_back(std::move(frame));
  }
  Frame& frame = *frames_[next_frame_];
  next_frame_ = (next_frame_ + 1) % kFrames;
  VL2_TRY(retire(frame));
  VL2_TRY(frame.begin());
  current_ = &frame;
  return {};
}

Status Recorder::retire(Frame& frame) {
  if (!frame.in_flight)
    return {};
  VL2_TRY(describe(vk_status(vkWaitForFences(device_.handle(), 1, &frame.fence, VK_TRUE, UINT64_MAX), "vkWaitForFences")));
  VL2_VK(vkResetFences(device_.handle(), 1, &frame.fence));
  frame.in_flight = false;
  if (frame.queries == VK_NULL_HANDLE)
    return {};
  std::vector<uint64_t> ticks(frame.query_count);
  VL2_VK(vkGetQueryPoolResults(device_.handle(), frame.queries, 0, frame.query_count, ticks.size() * 8, ticks.data(), 8,
                               VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  const double period = device_.caps().timestamp_period_ns;
  const auto elapsed = [&](size_t from, size_t to) {
    return ticks[to] > ticks[from] ? static_cast<double>(ticks[to] - ticks[from]) * period : 0.0;
  };
  if (frame.work > 1e6)
    ns_per_work_ = 0.5 * (ns_per_work_ + elapsed(0, 1) / frame.work);
  for (size_t i = 0; i < frame.timed.size(); ++i)
    times_.push_back({frame.timed[i].first, frame.timed[i].second, elapsed(2 + 2 * i, 3 + 2 * i)});
  return {};
}

Status Recorder::submit() {
  assert(capture_ == nullptr);
  if (current_ == nullptr)
    return {};
  Frame& frame = *current_;
  current_ = nullptr;
  if (frame.queries != VK_NULL_HANDLE)
    vkCmdWriteTimestamp(frame.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, frame.queries, 1);
  VL2_VK(vkEndCommandBuffer(frame.commands));
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &frame.commands;
  VL2_TRY(describe(vk_status(vkQueueSubmit(device_.queue(), 1, &info, frame.fence), "vkQueueSubmit")));
  frame.in_flight = true;
  return {};
}

Status Recorder::finish() {
  VL2_TRY(submit());
  // From the oldest on, so that the times are in order.
  for (size_t i = 0; i < frames_.size(); ++i)
    VL2_TRY(retire(*frames_[(next_frame_ + i) % frames_.size()]));
  return {};
}

Status Recorder::begin_capture() {
  assert(capture_ == nullptr);
  VL2_TRY(submit());
  std::unique_ptr<Replay> capture(new Replay(device_));
  VL2_TRY(capture->parts_->create(device_));
  VL2_TRY(capture->parts_->begin_part());
  capture_ = std::move(capture);
  commands_.clear();
  capture_->dispatch_count_ = dispatch_count_;
  capture_->barrier_count_ = barrier_count_;
  pending_transfer_ = false;
  // Orders a run after the one before, or after whatever replay() closed with a barrier of its own.
  barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
  after_replay_ = false;
  return {};
}

Status Recorder::next_capture_part() {
  VL2_VK(vkEndCommandBuffer(capture_->parts_->parts.back().commands));
  return capture_->parts_->begin_part();
}

Result<std::unique_ptr<Replay>> Recorder::end_capture() {
  assert(capture_ != nullptr);
  std::unique_ptr<Replay> replay = std::move(capture_);
  VL2_VK(vkEndCommandBuffer(replay->parts_->parts.back().commands));
  replay->dispatch_count_ = dispatch_count_ - replay->dispatch_count_;
  replay->barrier_count_ = barrier_count_ - replay->barrier_count_;
  pending_.clear();
  commands_.clear();
  pending_transfer_ = transferred_;
  after_replay_ = true;  // what was recorded before it is no longer known either
  return replay;
}

Status Recorder::replay(Replay& replay, uint32_t times) {
  assert(capture_ == nullptr);
  if (times == 0)
    return {};
  if (current_ != nullptr ||
      transferred_) {  // copies and fills too must be over before the narrow barrier that a run begins with
    VL2_TRY(begin_if_needed());
    pending_transfer_ |= transferred_;
    barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
    VL2_TRY(submit());
  }
  std::vector<VkCommandBuffer> batch;
  double work = 0;
  const auto flush = [&]() -> Status {
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.commandBufferCount = static_cast<uint32_t>(batch.size());
    info.pCommandBuffers = batch.data();
    VL2_TRY(describe(vk_status(vkQueueSubmit(device_.queue(), 1, &info, VK_NULL_HANDLE), "vkQueueSubmit")));
    replay.parts_->submitted = true;
    batch.clear();
    work = 0;
    return {};
  };
  for (uint32_t i = 0; i < times; ++i)
    for (const Replay::Parts::Part& part : replay.parts_->parts) {
      if (!batch.empty() && (work + part.work) * ns_per_work_ > kSubmissionNs)
        VL2_TRY(flush());
      batch.push_back(part.commands);
      work += part.work;
    }
  after_replay_ = true;
  commands_.clear();
  dispatch_count_ += replay.dispatch_count_ * times;
  return flush();
}

void Recorder::enable_timing(bool on) {
  timing_ = on && device_.caps().timestamp_period_ns > 0;
}

std::vector<DispatchTime> Recorder::take_times() {
  return std::exchange(times_, {});
}

void Recorder::barrier(VkPipelineStageFlags to_stages, VkAccessFlags to_access) {
  VkMemoryBarrier memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_SHADER_WRITE_BIT, to_access};
  VkPipelineStageFlags from_stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
  if (pending_transfer_) {
    memory.srcAccessMask |= VK_ACCESS_TRANSFER_WRITE_BIT;
    from_stages |= VK_PIPELINE_STAGE_TRANSFER_BIT;
  }
  vkCmdPipelineBarrier(commands(), from_stages, to_stages, 0, 1, &memory, 0, nullptr, 0, nullptr);
  ++barrier_count_;
  pending_.clear();
  pending_transfer_ = false;
  after_replay_ = false;
}

// What is written is no longer what indirect dispatches were shown.
void Recorder::forget_commands(std::span<const Access> accesses) {
  std::erase_if(commands_, [&](const Access& command) {
    return std::any_of(accesses.begin(), accesses.end(), [&](const Access& a) { return a.write && overlap(a, command); });
  });
}

// Before a dispatch: a narrow barrier when one of its accesses overlaps an earlier one and either of the two writes. The barriers
// so far may not have reached the stage that reads the number of groups: the first dispatch that reads one has its own, or one
// that does both.
void Recorder::order_dispatch(std::span<const Access> accesses, const Access* command) {
  const auto conflicts = [&](const Access& a) {
    return std::any_of(pending_.begin(), pending_.end(), [&](const Access& b) { return (a.write || b.write) && overlap(a, b); });
  };
  const bool shown = command == nullptr || std::any_of(commands_.begin(), commands_.end(), [&](const Access& seen) {
                       return seen.buffer == command->buffer && seen.begin <= command->begin && command->end <= seen.end;
                     });
  if (!shown) {
    pending_transfer_ |= transferred_;
    barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_INDIRECT_COMMAND_READ_BIT);
    commands_.push_back({command->buffer, 0, UINT64_MAX, false});  // all that was written before
  } else if (after_replay_ || std::any_of(accesses.begin(), accesses.end(), conflicts)) {
    barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
  }
  forget_commands(accesses);
  pending_.insert(pending_.end(), accesses.begin(), accesses.end());
  if (command != nullptr)
    pending_.push_back(*command);  // a barrier waits for the stages before a shader's too, so that it may be written after it
}

// Before a copy or fill: always a barrier, since the narrow ones between dispatches held back dispatches only. Copies are rare.
void Recorder::order_transfer(std::span<const Access> accesses) {
  pending_transfer_ |= transferred_;
  barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
          VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
  forget_commands(accesses);
  pending_.assign(accesses.begin(), accesses.end());
  pending_transfer_ = transferred_ = true;
}

Status Recorder::check_bindings(ShaderId shader, std::span<const Binding> tensors, Groups groups) const {
  const ShaderCode& code = shader_code(shader);
  const auto& limit = device_.caps().max_groups;
  if (groups.x > limit[0] || groups.y > limit[1] || groups.z > limit[2])
    return fail(Code::BadShape, code.name, ": ", groups.x, " x ", groups.y, " x ", groups.z, " workgroups, this device takes ",
                limit[0], " x ", limit[1], " x ", limit[2]);
  if (const TensorView& command = groups.command; command.buffer != nullptr) {
    if (command.dtype != DType::U32 || command.element_count() != 3 || !command.contiguous() ||
        command.offset_bytes() + 12 > command.buffer->bytes())
      return fail(Code::BadShape, code.name, ": the number of groups ", command, " must be three adjacent u32 within its buffer");
  }
  size_t buffers = 0;
  for (const ShaderBinding& binding : code.bindings) {
    buffers += binding.count;
    if (binding.binding == kSaturationBinding)
      continue;
    if (binding.binding >= tensors.size() || tensors[binding.binding].size() == 0)
      return fail(Code::BadArgument, code.name, ": no tensor for binding ", int{binding.binding});
    const Binding& bound = tensors[binding.binding];
    if (bound.size() > binding.count)
      return fail(Code::BadArgument, code.name, ": ", bound.size(), " tensors for binding ", int{binding.binding}, ", it takes ",
                  int{binding.count});
    for (const TensorView& view : bound.views())
      VL2_TRY(check_view(code, binding.binding, view));
  }
  if (buffers > kMaxBuffers)
    return fail(Code::Unsupported, code.name, ": ", buffers, " buffers, wanted at most ", kMaxBuffers);
  return {};
}

Status Recorder::check_view(const ShaderCode& code, uint32_t binding, const TensorView& view) const {
  if (view.buffer == nullptr)
    return {};  // an optional input: the shader's params say that it is not read
  if (view.offset_bytes() % device_.caps().storage_buffer_alignment != 0)
    return fail(Code::BadShape, code.name, ": binding ", binding, " starts at byte ", view.offset_bytes(),
                ", wanted a multiple of ", device_.caps().storage_buffer_alignment);
  if (view.span_bytes() > max_binding_bytes_)
    return fail(Code::BadShape, code.name, ": binding ", binding, " ", view, " has ", view.span_bytes(),
                " bytes, one binding takes ", max_binding_bytes_);
  if (view.offset_bytes() + view.span_bytes() > view.buffer->bytes())
    return fail(Code::BadShape, code.name, ": binding ", binding, " ", view, " reaches past its buffer of ", view.buffer->bytes(),
                " bytes");
  return {};
}

Status Recorder::write_descriptors(const Pipeline& pipeline, const ShaderCode& code, std::span<const Binding> tensors,
                                   VkDescriptorSet& set) {
  Descriptors& descriptors = capture_ != nullptr ? capture_->parts_->descriptors : current_->descriptors;
  VL2_ASSIGN(set, descriptors.allocate(pipeline.set_layout));
  std::array<VkDescriptorBufferInfo, kMaxBuffers> infos;
  std::array<VkWriteDescriptorSet, kMaxBindings> writes;
  uint32_t count = 0, write_count = 0;
  for (const ShaderBinding& binding : code.bindings) {
    VkDescriptorBufferInfo* const first = &infos[count];
    for (uint32_t i = 0; i < binding.count; ++i, ++count) {
      // What an array has no view for is never read: the first again, since not every device takes descriptors of nothing.
      const Binding* const bound = binding.binding == kSaturationBinding ? nullptr : &tensors[binding.binding];
      const TensorView* const view = bound == nullptr ? nullptr : &(*bound)[i < bound->size() ? i : 0];
      if (view != nullptr && view->buffer != nullptr) {
        // Whole words: shaders read 16-bit and 8-bit data as words too.
        infos[count] = {view->buffer->handle(), view->offset_bytes(), std::max<uint64_t>((view->span_bytes() + 3) / 4 * 4, 4)};
      } else {
        // The counter of saturated stores, or a stand-in for an optional input.
        const uint64_t turn = dispatch_count_ % Device::kSaturationCounters;
        infos[count] = {device_.saturation_buffer().handle(), turn * Device::kSaturationStride, 4};
      }
    }
    writes[write_count++] = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, set,   binding.binding, 0, binding.count,
                             VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, first, nullptr};
  }
  vkUpdateDescriptorSets(device_.handle(), write_count, writes.data(), 0, nullptr);
  return {};
}

Status Recorder::dispatch_bytes(ShaderId shader, std::span<const Binding> tensors, const void* params, uint32_t params_bytes,
                                Groups groups, Cost cost, std::span<const uint32_t> constants) {
  if (groups.x == 0 || groups.y == 0 || groups.z == 0)
    return {};
  VL2_TRY(check_bindings(shader, tensors, groups));
  const ShaderCode& code = shader_code(shader);
  assert(code.push_constant_bytes == params_bytes && "the params struct and the shader's push constants differ");
  VL2_ASSIGN(const Pipeline* pipeline, device_.pipelines().get(shader, constants));
  if (!device_.executes())
    return {};
  VL2_TRY(begin_if_needed());
  VkDescriptorSet set = VK_NULL_HANDLE;
  VL2_TRY(write_descriptors(*pipeline, code, tensors, set));

  std::array<Access, kMaxBuffers> accesses;
  size_t access_count = 0;
  for (const ShaderBinding& binding : code.bindings) {
    if (binding.binding == kSaturationBinding)
      continue;
    for (const TensorView& view : tensors[binding.binding].views())
      if (view.buffer != nullptr)
        accesses[access_count++] = {view.buffer, view.offset_bytes(), view.offset_bytes() + view.span_bytes(), binding.writes};
  }
  const TensorView& command = groups.command;
  const bool indirect = command.buffer != nullptr;
  const Access command_access{command.buffer, command.offset_bytes(), command.offset_bytes() + 12, false};
  order_dispatch({accesses.data(), access_count}, indirect ? &command_access : nullptr);

  last_label_ = code.name;
  vkCmdBindPipeline(commands(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
  vkCmdBindDescriptorSets(commands(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->layout, 0, 1, &set, 0, nullptr);
  if (params_bytes > 0)
    vkCmdPushConstants(commands(), pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, params_bytes, params);
  const bool timed = timing_ && capture_ == nullptr && current_->queries != VK_NULL_HANDLE;
  if (timed) {
    current_->timed.emplace_back(shader, cost);
    current_->stamp();
  }
  if (indirect)
    vkCmdDispatchIndirect(commands(), command.buffer->handle(), command.offset_bytes());
  else
    vkCmdDispatch(commands(), groups.x, groups.y, groups.z);
  if (timed)
    current_->stamp();
  ++dispatch_count_;
  return account(cost);
}

Status Recorder::account(Cost cost) {
  if (capture_ != nullptr) {
    double& work = capture_->parts_->parts.back().work;
    work += work_of(cost);
    return work * ns_per_work_ > kSubmissionNs ? next_capture_part() : Status{};
  }
  current_->work += work_of(cost);
  const bool long_enough = current_->work * ns_per_work_ > kSubmissionNs;
  const bool queries_used_up = current_->query_count + 2 > kQueriesPerFrame;
  return long_enough || queries_used_up ? submit() : Status{};
}

Status Recorder::copy(const TensorView& source, const TensorView& target) {
  if (!source.contiguous() || !target.contiguous() || source.span_bytes() != target.span_bytes())
    return fail(Code::BadShape, "copy: source ", source, " and target ", target, " must be contiguous and of one size");
  if (source.span_bytes() == 0 || !device_.executes())
    return {};
  VL2_TRY(begin_if_needed());
  const Access accesses[] = {{source.buffer, source.offset_bytes(), source.offset_bytes() + source.span_bytes(), false},
                             {target.buffer, target.offset_bytes(), target.offset_bytes() + target.span_bytes(), true}};
  order_transfer(accesses);
  const VkBufferCopy region{source.offset_bytes(), target.offset_bytes(), source.span_bytes()};
  vkCmdCopyBuffer(current_->commands, source.buffer->handle(), target.buffer->handle(), 1, &region);
  last_label_ = "copy";
  return account({.bytes = 2 * source.span_bytes(), .flops = 0});
}

Status Recorder::fill(const TensorView& target, uint32_t word) {
  if (!target.contiguous() || target.offset_bytes() % 4 != 0)
    return fail(Code::BadShape, "fill: target ", target, " must be contiguous and start at a whole word");
  if (target.span_bytes() == 0 || !device_.executes())
    return {};
  VL2_TRY(begin_if_needed());
  const Access access{target.buffer, target.offset_bytes(), target.offset_bytes() + target.span_bytes(), true};
  order_transfer({&access, 1});
  vkCmdFillBuffer(current_->commands, target.buffer->handle(), target.offset_bytes(), (target.span_bytes() + 3) / 4 * 4, word);
  last_label_ = "fill";
  return account({.bytes = target.span_bytes(), .flops = 0});
}

Status Recorder::download(const TensorView& source, std::span<std::byte> target) {
  if (!source.contiguous() || source.span_bytes() != target.size())
    return fail(Code::BadShape, "download: source ", source, " must be contiguous and fill ", target.size(), " bytes");
  if (!device_.executes())
    std::memset(target.data(), 0, target.size());
  if (target.empty() || !device_.executes())
    return {};
  VL2_ASSIGN(const auto buffer, device_.memory().allocate(target.size(), MemoryKind::Readback, "download"));
  const TensorView bytes = make_view(*buffer, source.dtype, {static_cast<uint32_t>(source.span_elements())});
  VL2_TRY(copy(source, bytes));
  VL2_TRY(begin_if_needed());
  const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_TRANSFER_WRITE_BIT, VK_ACCESS_HOST_READ_BIT};
  vkCmdPipelineBarrier(current_->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr,
                       0, nullptr);
  VL2_TRY(finish());
  VL2_TRY(buffer->invalidate(0, target.size()));
  std::memcpy(target.data(), buffer->mapped(), target.size());
  // The buffer goes away: forget it, or a later one at its address would seem to be in use.
  std::erase_if(pending_, [&](const Access& access) { return access.buffer == buffer.get(); });
  return {};
}

}  // namespace vl2
