#include "tests/support/paths.h"

#include <cstdlib>

// The only file whose compilation depends on where the checkout is: a compiler cache serves all others to every checkout.

namespace vl2 {

std::string source_dir() {
  const char* given = std::getenv("VL2_SOURCE_DIR");
  return given != nullptr ? given : VL2_SOURCE_DIR;
}

std::string binary_dir() {
  return VL2_BINARY_DIR;
}

std::string program_path() {
  return VL2_PROGRAM;
}

}  // namespace vl2
