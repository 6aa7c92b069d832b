#include "runtime/host_memory.h"

#include <fstream>
#include <sstream>

namespace vl2 {

uint64_t spare_host_bytes() {
  std::ifstream file("/proc/meminfo");
  std::ostringstream text;
  text << file.rdbuf();
  return spare_host_bytes(text.str());
}

uint64_t spare_host_bytes(const std::string& meminfo) {
  uint64_t total = 0, available = UINT64_MAX;
  std::istringstream lines(meminfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kilobytes = 0;
    if (!(words >> name >> kilobytes))
      continue;
    if (name == "MemTotal:")
      total = kilobytes * 1024;
    else if (name == "MemAvailable:")
      available = kilobytes * 1024;
  }
  if (available == UINT64_MAX)
    return UINT64_MAX;
  return available > total / 16 ? available - total / 16 : 0;
}

}  // namespace vl2
