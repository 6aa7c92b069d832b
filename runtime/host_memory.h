// What the machine's own memory has left.
#pragma once

#include <cstdint>
#include <string>

namespace vl2 {

/// Bytes that may be taken without making the machine swap: what Linux calls available, less a sixteenth of all there is, for
/// what others will want. The most there can be where the system does not say.
uint64_t spare_host_bytes();

/// The same of the text of /proc/meminfo. Pure.
uint64_t spare_host_bytes(const std::string& meminfo);

}  // namespace vl2
