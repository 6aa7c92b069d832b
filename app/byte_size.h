// Sizes as people type them: "8G".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace vl2 {

/// A count of bytes with an optional fraction and unit: K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024, as cards are sold;
/// KB, MB, GB, TB are powers of 1000; none or B is bytes. Any case, a space before the unit or not. Rounded down to whole bytes.
///
/// where   how messages name it: "--vram"
/// Errors  BadArgument: anything else, 0, or 2^60 bytes and more
Result<uint64_t> parse_byte_size(std::string_view text, const std::string& where);

}  // namespace vl2
