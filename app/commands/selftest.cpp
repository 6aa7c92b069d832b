// `vl2 selftest`: what to run first when answers are odd.
#include "app/selftest/selftest.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "model/model_files.h"
#include "runtime/clock.h"
#include "runtime/quirk_names.h"

namespace vl2 {

namespace {

using nlohmann::json;

constexpr int kFailed = 1;  // exit status

struct About {
  std::string name, driver, quirks, notice;
  uint32_t tier = 0, subgroup = 0;
};

About about(const Device& device) {
  const DeviceCaps& caps = device.caps();
  return {caps.name,
          caps.driver_name + " " + caps.driver_info,
          quirk_names(device.quirks()),
          device.tuning_notice(),
          device.tier(),
          caps.subgroup_size};
}

void print_head(const About& about) {
  std::printf("%s, %s\ntier %u, subgroups of %u, quirks: %s\n", about.name.c_str(), about.driver.c_str(), about.tier,
              about.subgroup, about.quirks.empty() ? "none" : about.quirks.c_str());
  if (!about.notice.empty())
    std::printf("%s\n", about.notice.c_str());
  std::printf("\n%-66s %9s %9s\n", "check", "error", "limit");
}

void print_row(const CheckRow& row) {
  std::printf("%-66s %9.1e %9.1e  %s%s%s\n", row.name.c_str(), row.error, row.limit, row.ok() ? "ok" : "FAIL",
              row.problem.empty() && row.note.empty() ? "" : ": ", (row.problem.empty() ? row.note : row.problem).c_str());
  std::fflush(stdout);
}

json json_of(const CheckRow& row) {
  json out = {{"name", row.name}, {"ok", row.ok()}, {"error", row.error}, {"limit", row.limit}, {"seconds", row.seconds}};
  if (!std::isfinite(row.error))
    out["error"] = nullptr;  // JSON has no word for it
  if (!row.problem.empty())
    out["problem"] = row.problem;
  if (!row.note.empty())
    out["note"] = row.note;
  return out;
}

Result<CheckRow> ask_model(const ModelOptions& options, const Tokenizer& tokenizer) {
  VL2_ASSIGN(const auto engine, load_engine(options, {}));
  return check_plans(*engine, tokenizer);
}

}  // namespace

Result<int> selftest_command(const SelfTestOptions& options) {
  const auto start = Clock::now();
  std::optional<Tokenizer> tokenizer;  // first: a wrong path is said before anything runs
  if (!options.model.model.empty()) {
    VL2_ASSIGN(tokenizer, load_tokenizer(options.model.model));
  }
  std::vector<CheckRow> rows;
  About head;
  {
    VL2_ASSIGN(const DeviceOptions wanted, device_options(options.model.device));
    VL2_ASSIGN(const auto device, Device::create(wanted));
    head = about(*device);
    if (!options.json)
      print_head(head);
    VL2_ASSIGN(rows, check_operators(*device, options.json ? OnCheck() : print_row));
  }
  if (tokenizer) {
    VL2_ASSIGN(const CheckRow row, ask_model(options.model, *tokenizer));
    if (!options.json)
      print_row(row);
    rows.push_back(row);
  }
  const auto failed = static_cast<size_t>(std::count_if(rows.begin(), rows.end(), [](const CheckRow& row) { return !row.ok(); }));
  if (options.json) {
    json list = json::array();
    for (const CheckRow& row : rows)
      list.push_back(json_of(row));
    const json out = {{"device", head.name},
                      {"driver", head.driver},
                      {"tier", head.tier},
                      {"subgroup_size", head.subgroup},
                      {"quirks", head.quirks},
                      {"notice", head.notice},
                      {"checks", list},
                      {"ok", failed == 0},
                      {"seconds", seconds_since(start)}};
    std::printf("%s\n", out.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  } else if (failed == 0) {
    std::printf("\n%zu checks, all ok; %.1f s\n", rows.size(), seconds_since(start));
  } else {
    std::printf(
        "\n%zu of %zu checks FAILED; %.1f s\nVL2_TIER=0 takes kernels that need least of a driver; VL2_CACHE_DIR= makes it "
        "compile them anew\n",
        failed, rows.size(), seconds_since(start));
  }
  return failed == 0 ? 0 : kFailed;
}

}  // namespace vl2
