// The test program: doctest's runner, and at the end the verdict of the validation layers.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/support/gpu_test.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (context.shouldExit())
    return failed;
  return vl2::report_validation_messages() ? 1 : failed;
}
