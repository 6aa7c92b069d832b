// How long a process needs from its start to the end of its first dispatch, pipelines of an earlier run on disk.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "app/commands/commands.h"
#include "model/config.h"
#include "runtime/status.h"

namespace vl2 {

/// What the probe process does: device, all pipelines that `config` used before, one dispatch. Prints the milliseconds of each.
Status run_start_probe(const ModelOptions& options, const Config& config);

struct StartTimes {
  std::vector<double> seconds;                            ///< of each process, up to the end of its dispatch
  std::vector<std::pair<std::string, double>> breakdown;  ///< of the last one: "start.device" ms, ...
};

/// Runs this program again as `repeats` probes, one after the other, with `arguments`, after one that is not counted.
///
/// Errors  IoError: it cannot be started, or fails
Result<StartTimes> measure_start(const std::vector<std::string>& arguments, uint32_t repeats);

}  // namespace vl2
