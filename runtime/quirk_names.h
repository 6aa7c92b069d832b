// What is in force of quirks.h, in words.
#pragma once

#include <string>

#include "runtime/quirks.h"

namespace vl2 {

/// "f16_is_slow, barriers_are_slow"; empty for none.
std::string quirk_names(const Quirks& quirks);

}  // namespace vl2
