// Where the checkout, the build folder and the program are.
#pragma once

#include <string>

namespace vl2 {

/// The checkout; the environment's VL2_SOURCE_DIR where the tests run on another machine than the one that built them.
std::string source_dir();
std::string binary_dir();
std::string program_path();

}  // namespace vl2
