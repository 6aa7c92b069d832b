// `vl2 selftest`: right on the device at hand, and blind to no fault.
#include "app/selftest/selftest.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "model/model_files.h"
#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

TEST_CASE_FIXTURE(GpuTest, "selftest: each operator computes what it should on this device") {
  const auto rows = check_operators(device);
  REQUIRE_MESSAGE(rows.ok(), rows.message());
  CHECK(rows->size() > 25);
  for (const CheckRow& row : *rows)
    CHECK_MESSAGE(row.ok(), row.name << ": error " << row.error << ", limit " << row.limit << " " << row.problem);
}

TEST_CASE_FIXTURE(GpuTest, "selftest: a fault in one result of any operator shows, as do a NaN and a missing one") {
  int fault = 0;
  const auto rows = check_operators(device, {}, [&](const std::string&, std::vector<float>& got) {
    double squares = 0;
    for (const float value : got)
      squares += static_cast<double>(value) * static_cast<double>(value);
    const auto mean = static_cast<float>(std::sqrt(squares / static_cast<double>(got.size())));
    float& one = got[got.size() / 3];
    switch (fault++ % 4) {
      case 0: one += 0.1f * mean + (mean > 20 ? 1 : 0); break;  // whole numbers of which some are large are ids
      case 1: one = std::numeric_limits<float>::quiet_NaN(); break;
      case 2: got.pop_back(); break;
      case 3: got.back() -= 0.1f * mean; break;
    }
  });
  REQUIRE(rows.ok());
  for (const CheckRow& row : *rows)
    CHECK_MESSAGE(!row.ok(), row.name << ": error " << row.error << ", limit " << row.limit);
}

TEST_CASE("selftest: the demo model answers alike by both plans, and another answer shows") {
  auto options = device_options_from_environment();
  REQUIRE(options.ok());
  EngineOptions engine_options;
  engine_options.device = options.take();
  engine_options.context = 600;
  const std::string pico = source_dir() + "/app/demo/pico";
  auto engine = Engine::load(pico, engine_options);
  REQUIRE_MESSAGE(engine.ok(), engine.message());
  const auto tokenizer = load_tokenizer(pico);
  REQUIRE(tokenizer.ok());
  const CheckRow row = check_plans(**engine, *tokenizer);
  CHECK_MESSAGE(row.ok(), row.problem << " " << row.note);
  CHECK(row.note.find("tokens equal; the answer: \"") != std::string::npos);
  const CheckRow spoilt = check_plans(**engine, *tokenizer, [](const std::string&, std::vector<float>& ids) { ids[0] = 1; });
  CHECK_FALSE(spoilt.ok());
  CHECK(spoilt.note.starts_with("0 of "));
}

TEST_SUITE("program") {
  TEST_CASE("vl2 selftest: a table and an exit status, and the same as JSON") {
    const ProgramResult text = run_program({"selftest"});
    CHECK_MESSAGE(text.exit_status == 0, text.out << text.err);
    CHECK(text.out.find("\nmatmul ") != std::string::npos);
    CHECK(text.out.find(" checks, all ok; ") != std::string::npos);
    CHECK(text.out.find("FAIL") == std::string::npos);
    const ProgramResult result = run_program({"selftest", "--json"});
    CHECK(result.exit_status == 0);
    const json out = json::parse(result.out);
    CHECK(out["ok"] == true);
    CHECK(out["checks"].size() > 25);
    CHECK_FALSE(out["driver"].get<std::string>().empty());
    for (const json& check : out["checks"])
      CHECK_MESSAGE(check["error"] <= check["limit"], check.dump());
    const ProgramResult missing = run_program({"selftest", "-m", "/nowhere"});
    CHECK(missing.exit_status == 2);
    CHECK(missing.out.empty());
    CHECK(missing.err.find("/nowhere") != std::string::npos);
  }
}
