// What the published models look like, written by hand: for tests, and for benchmarks that make up their weights.
#pragma once

#include <span>

#include "model/config.h"

namespace vl2 {

struct Variant {
  const char* name;  ///< "tiny", "small", "base"
  Config config;
};

/// Tiny, Small and Base, in this order.
std::span<const Variant> variants();

/// The variant of that name, or nullptr.
const Variant* find_variant(const std::string& name);

}  // namespace vl2
