// A golden model's random weights, loaded in one tier.
#pragma once

#include <doctest/doctest.h>
#include <filesystem>
#include <memory>
#include <string>

#include "model/session.h"
#include "tests/support/engine_options.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

namespace vl2 {

/// Ends with a failure for each message of the validation layers. Members fail the test instead of returning errors.
class ToyEngine {
 public:
  /// kind     a folder of tests/golden
  /// options  as test_engine_options() makes them, and changed
  ToyEngine(const std::string& kind, const EngineOptions& options) {
    write_toy_model(folder_.path(), source_dir() + "/tests/golden/" + kind);
    auto engine = Engine::load(folder_.path(), options);
    REQUIRE_MESSAGE(engine.ok(), engine.message());
    engine_ = engine.take();
  }
  ~ToyEngine() {
    for (const std::string& message : engine_->device().instance().validation_messages())
      FAIL_CHECK(message);
  }
  ToyEngine(const ToyEngine&) = delete;
  ToyEngine& operator=(const ToyEngine&) = delete;

  Engine& engine() const { return *engine_; }
  /// Cuts its file short.
  void spoil() const { std::filesystem::resize_file(folder_ / "model.safetensors", 4096); }
  uint32_t vocabulary() const { return engine_->config().language.vocab_size; }
  std::unique_ptr<Session> new_session(PlanChoice plan, uint32_t context = 0) const {
    auto session = Session::create(*engine_, plan, context);
    REQUIRE_MESSAGE(session.ok(), session.message());
    return session.take();
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace vl2
