#include "app/bench/pipelines.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace vl2 {

Status print_pipelines(std::vector<BenchJob>& jobs, Engine& engine) {
  for (BenchJob& job : jobs) {
    VL2_TRY(job.set_up());
    VL2_TRY(job.prepare());
    VL2_TRY(job.run());
  }
  const DeviceCaps& caps = engine.device().caps();
  VL2_ASSIGN(const auto all, engine.device().pipelines().statistics());
  const nlohmann::json head = {
      {"device", caps.name}, {"driver", caps.driver_name + " " + caps.driver_info}, {"tier", engine.device().tier()}};
  std::printf("%s\n", head.dump().c_str());
  for (const PipelineStatistics& pipeline : all) {
    nlohmann::json line = {{"shader", shader_code(pipeline.key.shader).name}, {"constants", pipeline.key.constants}};
    for (const auto& [name, value] : pipeline.values)
      line["statistics"][name] = value;
    std::printf("%s\n", line.dump().c_str());
  }
  return {};
}

}  // namespace vl2
