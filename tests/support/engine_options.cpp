#include "tests/support/engine_options.h"

#include <doctest/doctest.h>

#include "tests/support/toy_checkpoint.h"

namespace vl2 {

EngineOptions test_engine_options(uint32_t context, int tier) {
  EngineOptions options;
  auto device = device_options_from_environment();
  REQUIRE(device.ok());
  options.device = device.take();
  static const TemporaryFolder pipelines;
  options.device.cache_dir = pipelines.path();
  if (tier >= 0)
    options.device.tier = tier;
  options.context = context;
  options.pictures.emplace();
  return options;
}

}  // namespace vl2
