// Which pipelines each model used in earlier runs, as bytes for the file beside the driver's blob.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "runtime/shader.h"

namespace vl2 {

/// A shader and the values of its constants 0, 1, 2, ...
struct PipelineKey {
  ShaderId shader{};
  std::vector<uint32_t> constants;
  auto operator<=>(const PipelineKey&) const = default;
};

/// Pipelines by the tag of the model that used them.
using PipelineLists = std::map<uint64_t, std::set<PipelineKey>>;

inline constexpr size_t kMaxPipelineLists = 16;       ///< models that a device remembers
inline constexpr size_t kMaxPipelinesOfAList = 1024;  ///< of each

std::vector<std::byte> pack_pipeline_lists(const PipelineLists& lists);

/// Nothing when the bytes are not such lists, or name a shader that this program does not have.
PipelineLists unpack_pipeline_lists(std::span<const std::byte> bytes);

}  // namespace vl2
