#include "runtime/pipeline_file.h"

#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>

#include "runtime/device_caps.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

TEST_SUITE("cpu") {
  TEST_CASE("pipeline file: gives back what was written, and nothing for another key") {
    const TemporaryFolder folder;
    const std::string path = folder / "sub/pipelines.bin";
    const std::vector<std::byte> blob(1000, std::byte{7});
    REQUIRE(write_pipeline_file(path, 42, blob).ok());
    CHECK(read_pipeline_file(path, 42) == blob);
    CHECK(read_pipeline_file(path, 43).empty());
    CHECK(read_pipeline_file(folder / "none.bin", 42).empty());
    CHECK(!std::filesystem::exists(path + ".new"));
  }

  TEST_CASE("pipeline file: a torn, damaged or longer file counts as none") {
    const TemporaryFolder folder;
    const std::string path = folder / "pipelines.bin";
    const std::vector<std::byte> blob(1000, std::byte{7});
    REQUIRE(write_pipeline_file(path, 42, blob).ok());
    std::filesystem::resize_file(path, 900);
    CHECK(read_pipeline_file(path, 42).empty());
    REQUIRE(write_pipeline_file(path, 42, blob).ok());
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(500);
      file.put(8);
    }
    CHECK(read_pipeline_file(path, 42).empty());
    REQUIRE(write_pipeline_file(path, 42, blob).ok());
    std::ofstream(path, std::ios::app | std::ios::binary) << "more";
    CHECK(read_pipeline_file(path, 42).empty());
    std::filesystem::resize_file(path, 5);
    CHECK(read_pipeline_file(path, 42).empty());
  }

  TEST_CASE("pipeline file: the key changes with device and driver") {
    DeviceCaps caps;
    caps.name = "one";
    const uint64_t key = pipeline_cache_key(caps);
    caps.driver_version = 1;
    CHECK(pipeline_cache_key(caps) != key);
    caps.driver_version = 0;
    caps.name = "two";
    CHECK(pipeline_cache_key(caps) != key);
  }
}
