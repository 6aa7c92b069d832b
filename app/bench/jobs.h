// What `vl2 bench` times: pieces of work on one session, and the order in which they run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/bench/report.h"
#include "app/commands/commands.h"
#include "model/engine.h"
#include "model/session.h"
#include "runtime/status.h"

namespace vl2 {

/// One row to be measured.
struct BenchJob {
  std::string name, unit;
  double units = 0;
  std::string phase;                ///< of --ops
  Recorder* recorder = nullptr;     ///< that it records with; null: the session's
  std::function<Status()> set_up;   ///< before a series of runs; not timed
  std::function<Status()> prepare;  ///< before each run; not timed
  std::function<Status()> run;
};

/// The tokens that a job of these options takes at most; the first-token row's picture included. Pure.
uint64_t bench_context(const BenchOptions& options, const Config& config);

/// Of the pictures that the jobs show, the one that takes most memory. Pure.
std::vector<PictureSize> bench_pictures(const BenchOptions& options, const Config& config);

/// The jobs that `options` ask for, in the order of the report. They use the session.
///
/// Errors  of making sessions to be decoded together
Result<std::vector<BenchJob>> bench_jobs(Session& session, Engine& engine, const BenchOptions& options);

/// Runs every job `repeats` times in all: one half of the runs in order, the other in reverse order, so that neither the place of
/// a job nor a card that gets warm decides. Before each series a job runs untimed until the clocks have been up for half a
/// second.
Result<std::vector<BenchRow>> measure_jobs(std::vector<BenchJob>& jobs, uint32_t repeats, bool clocks_vary);

/// Runs each phase's first job (of vision, the last: most views) once with every dispatch timed.
///
/// by_shape  one row for each cost that a shader's dispatches have, not one a shader
Result<std::vector<OpRow>> measure_ops(std::vector<BenchJob>& jobs, Recorder& recorder, bool by_shape);

/// What this device does at its best: reading a weight that no cache holds for one row, and a large product of matrices.
Result<BenchFloor> measure_floor(Device& device);

}  // namespace vl2
