// What tests load small engines with.
#pragma once

#include <cstdint>

#include "model/engine.h"

namespace vl2 {

/// The environment's device options, and for text alone unless pictures are set. Pipelines are kept for the engines of this run, as
/// CPU drivers take seconds to make those of each.
///
/// tier  the highest; -1: the environment's
EngineOptions test_engine_options(uint32_t context, int tier = -1);

}  // namespace vl2
