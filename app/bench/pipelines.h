// The compiled pipelines of a model as the driver sees them, without running anything that counts.
#pragma once

#include <vector>

#include "app/bench/jobs.h"
#include "model/engine.h"
#include "runtime/status.h"

namespace vl2 {

/// Runs every job once and prints a JSON line a pipeline: {"shader", "constants", and each statistic by the driver's name}. On a
/// driver without hardware nothing executes, and the pipelines are all there is.
///
/// Errors  Unsupported: the driver tells nothing; a pipeline that does not compile
Status print_pipelines(std::vector<BenchJob>& jobs, Engine& engine);

}  // namespace vl2
