// What a driver gets wrong or does badly. The only file that names a vendor is quirks.cpp.
#pragma once

#include <string_view>

#include "runtime/status.h"

namespace vl2 {

struct DeviceCaps;

/// One field a defect, named for the defect.
struct Quirks {
  bool f16_is_slow = false;  ///< f16 storage and conversion cost more than they save: stay in tier 0 unless asked
  bool barriers_are_slow =
      false;  ///< barriers in a workgroup cost more than shared memory saves: one subgroup a workgroup, no tiles in it
  bool byte_products_are_slow = false;  ///< dot products of bytes are slower than the driver says: prompts go by floats
};

/// The quirks of a device, then `overrides` ("+name,-name", as in VL2_QUIRKS) applied.
///
/// Errors  BadArgument: an override without sign, or of an unknown name
Result<Quirks> find_quirks(const DeviceCaps& caps, std::string_view overrides);

}  // namespace vl2
