// What `vl2 bench` found out, and its three forms. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vl2 {

/// One measured thing: the times of all its runs.
struct BenchRow {
  std::string name;             ///< "pp512", "tg128 @ d4000", "vision 10 views", "first token 1152x1152", "load", "start"
  std::string unit;             ///< of the rate: "tok/s"; empty: only the time matters
  double units = 0;             ///< what a run gets through: tokens, views, gigabytes
  std::vector<double> seconds;  ///< of each run, in the order of the runs; not empty
};

/// The middle of three or more; of an even count, the mean of the two in the middle.
double median(std::vector<double> values);

/// All dispatches of one kind in one run of a phase.
struct OpRow {
  std::string phase;  ///< "prefill", "decode", "vision"
  std::string name;   ///< of the shader; with --shapes followed by what a dispatch costs
  uint64_t count = 0;
  double ns = 0;
  double bytes = 0, flops = 0;
};

/// What the device does at its best, to compare operators with; zeros: not measured.
struct BenchFloor {
  double read_gb_s = 0;  ///< bytes a second of a weight multiplied with one row
  double gflop_s = 0;    ///< of a large product of matrices
};

struct BenchReport {
  std::string model, device, driver;
  uint32_t tier = 0;
  double weight_gb = 0;
  double load_seconds = 0;  ///< of a checkpoint; 0: the weights were made up
  /// Where load and start went, in ms: "load.device", "start.pipelines"
  std::vector<std::pair<std::string, double>> breakdown;
  std::vector<BenchRow> rows;
  double peak_gb = 0, cache_gb = 0;  ///< device memory
  double plan_gb = 0;                ///< what the plan made of the peak before anything was loaded, for a session alone
  uint32_t context = 0;
  uint32_t expert_slots = 0, experts = 0;       ///< slots a layer that experts in host memory are cached in; 0: they are not
  double file_gb = 0;                           ///< not 0: of experts that are in the file, behind a window of host_gb
  uint64_t expert_reads = 0, window_hits = 0;   ///< then: experts read from it, and those that were in the window
  double read_gb = 0;                           ///< what those reads gave
  double host_gb = 0;                           ///< of those experts
  uint64_t expert_hits = 0, expert_misses = 0;  ///< choices of decoded tokens, warming up included

  double expert_hit_rate() const {
    const uint64_t choices = expert_hits + expert_misses;
    return choices == 0 ? 0 : static_cast<double>(expert_hits) / static_cast<double>(choices);
  }
  BenchFloor floor;
  std::vector<OpRow> ops;
};

enum class ReportForm { Markdown, Json, Csv };

/// Markdown: tables to read. Json: one object. Csv: a line a row under a line of names; operators follow after an empty line.
std::string format_report(const BenchReport& report, ReportForm form);

}  // namespace vl2
