#include "app/bench/report.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace vl2 {

namespace {

[[gnu::format(printf, 2, 3)]] void print(std::string& out, const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  out += line;
}

double rate(const BenchRow& row) {
  return row.units / median(row.seconds);
}

double least_ms(const BenchRow& row) {
  return 1e3 * *std::min_element(row.seconds.begin(), row.seconds.end());
}

double most_ms(const BenchRow& row) {
  return 1e3 * *std::max_element(row.seconds.begin(), row.seconds.end());
}

// The time that its bytes or its products alone would take, the longer of both, as a share of what it took.
double floor_share(const OpRow& op, const BenchFloor& floor) {
  if (floor.read_gb_s <= 0 || floor.gflop_s <= 0 || op.ns <= 0)
    return 0;
  return std::max(op.bytes / floor.read_gb_s, op.flops / floor.gflop_s) / op.ns;
}

std::map<std::string, double> phase_totals(const std::vector<OpRow>& ops) {
  std::map<std::string, double> totals;
  for (const OpRow& op : ops)
    totals[op.phase] += op.ns;
  return totals;
}

std::string markdown(const BenchReport& report) {
  std::string out;
  print(out, "%.100s on %.100s (%.150s), tier %u: ", report.model.c_str(), report.device.c_str(), report.driver.c_str(),
        report.tier);
  if (report.load_seconds > 0)
    print(out, "loaded %.2f GB in %.2f s\n\n", report.weight_gb, report.load_seconds);
  else
    print(out, "%.2f GB of made-up weights\n\n", report.weight_gb);
  out += "| what                      | rate                | median ms  | least ms   | most ms    | runs |\n";
  out += "| ------------------------- | ------------------- | ---------- | ---------- | ---------- | ---- |\n";
  for (const BenchRow& row : report.rows) {
    char speed[40] = "";
    if (!row.unit.empty())
      std::snprintf(speed, sizeof(speed), "%10.2f %-8s", rate(row), row.unit.c_str());
    print(out, "| %-25s | %19s | %10.3f | %10.3f | %10.3f | %4zu |\n", row.name.c_str(), speed, 1e3 * median(row.seconds),
          least_ms(row), most_ms(row), row.seconds.size());
  }
  out += "\n";
  for (const auto& [what, ms] : report.breakdown)
    print(out, "%s %.1f%s", what.c_str(), ms, &what == &report.breakdown.back().first ? " (ms)\n" : ", ");
  print(out, "device memory: peak %.3f GB, plan %.3f GB, weights %.3f GB, cache of %u tokens %.3f GB\n", report.peak_gb,
        report.plan_gb, report.weight_gb, report.context, report.cache_gb);
  if (report.expert_slots > 0) {
    if (report.file_gb > 0)
      print(out,
            "experts: %u slots a layer for %u in the file (%.3f GB) behind a window of %.3f GB: %llu found there, %llu read, "
            "%.3f GB",
            report.expert_slots, report.experts, report.file_gb, report.host_gb,
            static_cast<unsigned long long>(report.window_hits), static_cast<unsigned long long>(report.expert_reads),
            report.read_gb);
    else
      print(out, "experts: %u slots a layer for %u in host memory (%.3f GB)", report.expert_slots, report.experts,
            report.host_gb);
    if (const uint64_t choices = report.expert_hits + report.expert_misses; choices > 0)
      print(out, "; of %llu choices %.2f %% were in a slot", static_cast<unsigned long long>(choices),
            100 * report.expert_hit_rate());
    out += "\n";
  }
  if (report.floor.read_gb_s > 0)
    print(out, "floor: one row times a large weight reads %.1f GB/s, a large product does %.0f GFLOP/s\n", report.floor.read_gb_s,
          report.floor.gflop_s);
  const auto totals = phase_totals(report.ops);
  std::string phase;
  for (const OpRow& op : report.ops) {
    if (op.phase != phase) {
      phase = op.phase;
      print(out, "\n%s: %.3f ms in dispatches\n", phase.c_str(), totals.at(phase) * 1e-6);
      out +=
          "| operator                         |  count |         ms | share | us each |       MB |     GFLOP |   GB/s |  GFLOP/s "
          "| of floor |\n";
      out +=
          "| -------------------------------- | ------ | ---------- | ----- | ------- | -------- | --------- | ------ | -------- "
          "| -------- |\n";
    }
    print(out, "| %-32s | %6llu | %10.4f | %4.1f%% | %7.2f | %8.1f | %9.3f | %6.0f | %8.0f | %7.1f%% |\n", op.name.c_str(),
          static_cast<unsigned long long>(op.count), op.ns * 1e-6, 100 * op.ns / totals.at(phase),
          op.ns * 1e-3 / static_cast<double>(op.count), op.bytes * 1e-6, op.flops * 1e-9, op.bytes / op.ns, op.flops / op.ns,
          100 * floor_share(op, report.floor));
  }
  return out;
}

std::string json(const BenchReport& report) {
  nlohmann::json rows = nlohmann::json::array(), ops = nlohmann::json::array(), breakdown = nlohmann::json::object();
  for (const BenchRow& row : report.rows)
    rows.push_back({{"name", row.name},
                    {"unit", row.unit},
                    {"rate", row.unit.empty() ? nlohmann::json() : nlohmann::json(rate(row))},
                    {"median_ms", 1e3 * median(row.seconds)},
                    {"least_ms", least_ms(row)},
                    {"most_ms", most_ms(row)},
                    {"runs", row.seconds.size()}});
  for (const OpRow& op : report.ops)
    ops.push_back({{"phase", op.phase},
                   {"name", op.name},
                   {"count", op.count},
                   {"ms", op.ns * 1e-6},
                   {"bytes", op.bytes},
                   {"flop", op.flops},
                   {"gb_per_s", op.bytes / op.ns},
                   {"gflop_per_s", op.flops / op.ns},
                   {"floor_share", floor_share(op, report.floor)}});
  for (const auto& [what, ms] : report.breakdown)
    breakdown[what] = ms;
  const nlohmann::json all = {
      {"model", report.model},
      {"device", report.device},
      {"driver", report.driver},
      {"tier", report.tier},
      {"rows", rows},
      {"breakdown_ms", breakdown},
      {"memory_gb",
       {{"peak", report.peak_gb}, {"plan", report.plan_gb}, {"weights", report.weight_gb}, {"cache", report.cache_gb}}},
      {"context", report.context},
      {"expert_cache",
       {{"slots", report.expert_slots},
        {"experts", report.experts},
        {"host_gb", report.host_gb},
        {"file_gb", report.file_gb},
        {"window_hits", report.window_hits},
        {"reads", report.expert_reads},
        {"read_gb", report.read_gb},
        {"hits", report.expert_hits},
        {"misses", report.expert_misses},
        {"hit_rate", report.expert_hit_rate()}}},
      {"floor", {{"read_gb_per_s", report.floor.read_gb_s}, {"gflop_per_s", report.floor.gflop_s}}},
      {"ops", ops}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// Names come from shaders and from us: no quotes, no commas.
std::string csv(const BenchReport& report) {
  std::string out = "name,unit,rate,median_ms,least_ms,most_ms,runs\n";
  for (const BenchRow& row : report.rows) {
    char speed[40] = "";
    if (!row.unit.empty())
      std::snprintf(speed, sizeof(speed), "%.4f", rate(row));
    print(out, "%s,%s,%s,%.4f,%.4f,%.4f,%zu\n", row.name.c_str(), row.unit.c_str(), speed, 1e3 * median(row.seconds),
          least_ms(row), most_ms(row), row.seconds.size());
  }
  print(out, "peak memory,GB,%.4f,,,,1\nplanned memory,GB,%.4f,,,,1\n", report.peak_gb, report.plan_gb);
  if (report.expert_slots > 0)
    print(out, "expert hits,%%,%.4f,,,,1\n", 100 * report.expert_hit_rate());
  if (report.ops.empty())
    return out;
  out += "\nphase,name,count,ms,bytes,flop,gb_per_s,gflop_per_s,floor_share\n";
  for (const OpRow& op : report.ops)
    print(out, "%s,%s,%llu,%.6f,%.0f,%.0f,%.2f,%.2f,%.4f\n", op.phase.c_str(), op.name.c_str(),
          static_cast<unsigned long long>(op.count), op.ns * 1e-6, op.bytes, op.flops, op.bytes / op.ns, op.flops / op.ns,
          floor_share(op, report.floor));
  return out;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

std::string format_report(const BenchReport& report, ReportForm form) {
  switch (form) {
    case ReportForm::Markdown: return markdown(report);
    case ReportForm::Json: return json(report);
    case ReportForm::Csv: return csv(report);
  }
  return {};
}

}  // namespace vl2
