// Recorder: dispatches with their limits checked and their times taken; barriers come from the shaders' own access qualifiers.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/pipeline.h"
#include "runtime/shader.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

class Device;

/// Workgroups of a dispatch.
struct Groups {
  uint32_t x = 1, y = 1, z = 1;
  /// Three u32 on the device that say how many there are: then x, y, z are the most there can be. Empty: x, y, z are the number.
  TensorView command{};
};

/// What a dispatch moves and computes: shares of the floor in `vl2 bench --ops`, and the measure by which submissions are split.
struct Cost {
  uint64_t bytes = 0;
  uint64_t flops = 0;
  uint64_t host_bytes = 0;  ///< of the bytes, those that come from host memory
};

/// One timed dispatch.
struct DispatchTime {
  ShaderId shader;
  Cost cost;
  double ns;
};

/// Specialisation constants by constant_id 0, 1, 2, ...
using SpecConstants = std::initializer_list<uint32_t>;

/// What a dispatch binds at one binding: a view, or, where the shader has an array of buffers there, a view for each of the first
/// of them; the others are never read. Refers to what it was made of, and is a parameter alone.
class Binding {
 public:
  Binding() : Binding(kNothing) {}  // an optional input that is left out: an empty view
  Binding(const TensorView& view) : views_(&view, 1) {}
  Binding(std::span<const TensorView> views) : views_(views) {}
  Binding(const std::vector<TensorView>& views) : views_(views) {}

  std::span<const TensorView> views() const { return views_; }
  size_t size() const { return views_.size(); }
  const TensorView& operator[](size_t index) const { return views_[index]; }

 private:
  static constexpr TensorView kNothing{};
  std::span<const TensorView> views_;
};

/// A view moved down to the device's storage buffer alignment, and how many elements it was moved by.
struct AlignedView {
  TensorView view;     ///< starts at a bindable offset and reaches the end of the original
  uint32_t remainder;  ///< elements from its start to the original's first element
};

/// Dispatches recorded once, to be submitted any number of times: Recorder::begin_capture() .. replay(). Barriers, descriptors
/// and push constants are fixed; what changes from one run to the next is in buffers that its own shaders move on. The recorder
/// that made it outlives it, and so do the buffers it binds.
class Replay {
 public:
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  uint64_t dispatch_count() const { return dispatch_count_; }
  /// Barriers of one run, the one that orders it after the run before included: its levels.
  uint64_t barrier_count() const { return barrier_count_; }

 private:
  friend class Recorder;
  struct Parts;  // command buffers and descriptors
  explicit Replay(Device& device);

  Device& device_;
  std::unique_ptr<Parts> parts_;
  uint64_t dispatch_count_ = 0;
  uint64_t barrier_count_ = 0;
};

/// Records work for one device, in order, and submits it. Every operator takes one. One thread at a time.
///
/// A dispatch sees what every earlier dispatch of this recorder wrote: where a binding overlaps one that was written (or writes
/// one that was read) since the last barrier, one narrow compute barrier goes in front. No operator writes a barrier. Copies and
/// fills are ordered with everything before and after them. Long work is split into submissions by the measured cost of earlier
/// ones, so that no driver's watchdog sees a long one.
class Recorder {
 public:
  explicit Recorder(Device& device);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  Device& device() const { return device_; }

  /// Records one dispatch of `shader`.
  ///
  /// tensors  one a binding, in binding order; each view's offset is a multiple of the device's storage buffer alignment
  /// params   the shader's push constants: 4-byte members only, at most 128 bytes
  /// groups   those that a dispatch, copy or fill wrote count when the device comes here
  /// Errors   BadShape (too many groups, misaligned or too large a view), BadArgument (no view for a binding, or more than its array has
  ///          buffers): nothing recorded; VulkanError, OutOfMemory, DeviceLost
  template <typename Params>
  Status dispatch(ShaderId shader, std::initializer_list<Binding> tensors, const Params& params, Groups groups, Cost cost = {},
                  SpecConstants constants = {}) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= 128 && sizeof(Params) % 4 == 0);
    return dispatch_bytes(shader, {tensors.begin(), tensors.size()}, &params, sizeof(Params), groups, cost,
                          {constants.begin(), constants.size()});
  }

  /// For operators that take views at any offset: bind `.view`, and hand `.remainder` to the shader in its params.
  AlignedView aligned(const TensorView& view) const;

  /// Copies all elements of `source` to `target`: contiguous views of one size in bytes.
  Status copy(const TensorView& source, const TensorView& target);

  /// Fills a contiguous view with a repeated 32-bit word.
  Status fill(const TensorView& target, uint32_t word);

  /// Submits what is recorded without waiting.
  Status submit();

  /// Submits what is recorded and waits for all of it.
  Status finish();

  /// Copies `source` (contiguous) to `target` after everything recorded so far, and waits.
  Status download(const TensorView& source, std::span<std::byte> target);

  /// Largest number of bytes one binding may have here; operators cut larger weights by rows. Tests set it low.
  uint64_t max_binding_bytes() const { return max_binding_bytes_; }
  void set_max_binding_bytes(uint64_t bytes) { max_binding_bytes_ = bytes; }

  /// From here to end_capture(), dispatches go into a Replay instead of running; no copies, fills or finish() in between.
  /// What was recorded before is submitted.
  Status begin_capture();
  Result<std::unique_ptr<Replay>> end_capture();

  /// Submits `replay` `times` times without waiting, after everything recorded so far and before everything recorded later; split
  /// into submissions by the measured cost of earlier work.
  Status replay(Replay& replay, uint32_t times);

  /// Times every dispatch from now on; `take_times` gives and forgets them, after finish().
  void enable_timing(bool on);
  std::vector<DispatchTime> take_times();
  bool timing() const { return timing_; }

  /// Dispatches and barriers recorded since construction, for tests.
  uint64_t dispatch_count() const { return dispatch_count_; }
  uint64_t barrier_count() const { return barrier_count_; }

 private:
  struct Access {
    const Buffer* buffer;
    uint64_t begin, end;
    bool write;
  };
  struct Descriptors;
  struct Frame;  // one command buffer with its descriptors, fence and queries
  friend class Replay;

  Status dispatch_bytes(ShaderId shader, std::span<const Binding> tensors, const void* params, uint32_t params_bytes,
                        Groups groups, Cost cost, std::span<const uint32_t> constants);
  Status check_bindings(ShaderId shader, std::span<const Binding> tensors, Groups groups) const;
  Status check_view(const ShaderCode& code, uint32_t binding, const TensorView& view) const;
  Status begin_if_needed();
  Status retire(Frame& frame);
  Status write_descriptors(const Pipeline& pipeline, const ShaderCode& code, std::span<const Binding> tensors,
                           VkDescriptorSet& set);
  VkCommandBuffer commands() const;
  Status next_capture_part();
  void barrier(VkPipelineStageFlags to_stages, VkAccessFlags to_access);
  void order_dispatch(std::span<const Access> accesses, const Access* command);
  void forget_commands(std::span<const Access> accesses);
  void order_transfer(std::span<const Access> accesses);
  Status account(Cost cost);
  Status describe(Status status) const;

  Device& device_;
  uint64_t max_binding_bytes_;
  std::vector<std::unique_ptr<Frame>> frames_;  // a ring
  size_t next_frame_ = 0;
  Frame* current_ = nullptr;
  std::unique_ptr<Replay> capture_;  // what is recorded goes there
  bool after_replay_ = false;        // nothing recorded here is ordered after it yet
  std::vector<Access> pending_;      // since the last barrier
  bool pending_transfer_ = false;    // whether any of them was a copy
  std::vector<Access> commands_;     // Groups::command that barriers showed to indirect dispatches, and nothing wrote since
  bool transferred_ = false;         // whether there ever was one
  bool timing_ = false;
  std::vector<DispatchTime> times_;
  double ns_per_work_;                  // learned from finished submissions
  const char* last_label_ = "nothing";  // for the message of a lost device
  uint64_t dispatch_count_ = 0;
  uint64_t barrier_count_ = 0;
};

}  // namespace vl2
