#include "runtime/tuning_file.h"

#include <doctest/doctest.h>
#include <filesystem>

#include "runtime/pipeline_file.h"
#include "tests/support/program.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

DeviceCaps some_device() {
  DeviceCaps caps;
  caps.name = "some device";
  caps.uuid = "00112233445566778899aabbccddeeff";
  caps.driver_version = 77;
  caps.subgroup_size = caps.min_subgroup_size = caps.max_subgroup_size = 32;
  caps.max_workgroup_invocations = 256;
  caps.max_shared_bytes = 49152;
  caps.matrix_shapes = {{16, 16, 16, true}, {16, 8, 16, true}};
  return caps;
}

// Nothing in it is a default, and no number is short in decimal.
DeviceTuning some_tuning(const DeviceCaps& caps) {
  DeviceTuning tuning{.cores = 13,
                      .dispatch_us = 1.0 / 3,
                      .cache_bytes_per_us = 1e5 / 7,
                      .gemm_tile = GemmTile{8, 8, 8, 4, 32},
                      .dot_tile = GemmTile{16, 8, 4, 4, 128},
                      .dots = false,
                      .gemv_group = GemvGroup{128, 8, 1}};
  double rate = 100;
  for (const MatrixShape& shape : gemm_shapes(caps))
    for (const MatrixTile& tile : matrix_tiles(caps, shape))
      tuning.matrix_tiles.push_back({tile, 1 + tile.stages, rate /= 1.3});
  tuning.matrix_tiles[2].tflop_s = 0;
  return tuning;
}

// The text with its checksum made right again.
std::string signed_again(std::string text) {
  text.resize(text.rfind("sum "));
  char sum[24];
  std::snprintf(sum, sizeof(sum), "sum %016llx\n", static_cast<unsigned long long>(fnv1a64(text.data(), text.size())));
  return text + sum;
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return signed_again(text.replace(at, from.size(), to));
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("tuning file: gives back every number that was written") {
    const TemporaryFolder folder;
    const DeviceCaps caps = some_device();
    const DeviceTuning tuning = some_tuning(caps);
    const std::string path = tuning_path(folder / "sub", caps);
    REQUIRE(write_tuning(path, caps, tuning).ok());
    CHECK(!std::filesystem::exists(path + ".new"));
    const ReadTuning read = read_tuning(path, caps);
    CHECK(read.state == TuningState::Used);
    CHECK(read.notice.empty());
    CHECK(read.tuning == tuning);
    const ReadTuning few = parse_tuning(format_tuning(caps, {}), caps);  // nothing measured but figures
    CHECK(few.state == TuningState::Used);
    CHECK(few.tuning == DeviceTuning{});
    CHECK(read_tuning(folder / "none.txt", caps).state == TuningState::None);
  }

  TEST_CASE("tuning file: cut anywhere, or with a byte changed, it is refused with one line, and the defaults stay") {
    DeviceCaps caps = some_device();
    const std::string text = format_tuning(caps, some_tuning(caps));
    caps.cores = 7;
    REQUIRE(parse_tuning(text, caps).state == TuningState::Used);
    for (size_t length = 0; length < text.size(); ++length) {
      CAPTURE(length);
      const ReadTuning read = parse_tuning(std::string_view(text).substr(0, length), caps);
      CHECK(read.state == TuningState::Damaged);
      CHECK(read.tuning == known_tuning(caps));
    }
    for (size_t at = 0; at < text.size(); ++at)
      for (const int bit : {0, 4}) {
        std::string flipped = text;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        CAPTURE(at);
        CHECK(parse_tuning(flipped, caps).state == TuningState::Damaged);
      }
    const TemporaryFolder folder;
    const std::string path = folder / "damaged.txt";
    write_file(path, text + "more");
    const ReadTuning read = read_tuning(path, caps);
    CHECK(read.state == TuningState::Damaged);
    CHECK(read.notice == path + ": is damaged and not used; `vl2 tune` writes it anew");
    CHECK(read.tuning == known_tuning(caps));
  }

  TEST_CASE("tuning file: one of another device, driver, version or kernels is ignored without a word") {
    DeviceCaps caps = some_device();
    const std::string text = format_tuning(caps, some_tuning(caps));
    const auto foreign = [](const ReadTuning& read) {
      return read.state == TuningState::Foreign && read.notice.empty() && read.tuning == DeviceTuning{};
    };
    caps.driver_version = 78;
    CHECK(foreign(parse_tuning(text, caps)));
    caps = some_device();
    caps.uuid[3] = 'f';
    CHECK(foreign(parse_tuning(text, caps)));
    CHECK(tuning_path("a", caps) != tuning_path("a", some_device()));
    caps = some_device();
    CHECK(foreign(parse_tuning(with(text, "vl2 tuning 1", "vl2 tuning 2"), caps)));
    const size_t kernels = text.find("kernels ") + 8;
    CHECK(foreign(parse_tuning(with(text, text.substr(kernels, 16), "0123456789abcdef"), caps)));
    CHECK(parse_tuning(with(text, "cores 13", "cores 14"), caps).tuning.cores == 14);  // signed_again() does sign
  }

  TEST_CASE("tuning file: figures that no device has, and tiles that this one cannot run, are refused") {
    const DeviceCaps caps = some_device();
    const std::string text = format_tuning(caps, some_tuning(caps));
    for (const auto& [from, to] : {std::pair{"cores 13", "cores 0"},
                                   {"cores 13", "cores -13"},
                                   {"cores 13", "cores nan"},
                                   {"cores 13", "cores inf"},
                                   {"cores 13", "cores"},
                                   {"cores 13", "cores 13 13"},
                                   {"cores 13", "cores 13x"},
                                   {"cores 13", "kernels 13"},
                                   {"cores 13", ""},
                                   {"gemm_tile 8 8 8 4 32", "gemm_tile 8 8 8 4 31"},
                                   {"gemm_tile 8 8 8 4 32", "gemm_tile 0 8 8 4 32"},
                                   {"gemm_tile 8 8 8 4 32", "gemm_tile 32 32 4 4 32"},
                                   {"gemm_tile 8 8 8 4 32", "gemm_tile 8 8 8 4"},
                                   {"gemm_tile 8 8 8 4 32", "gemm_tile 8 8 8 4 4294967296"},
                                   {"gemv_group 128 8", "gemv_group 512 8"},
                                   {"gemv_group 128 8", "gemv_group 128 0"},
                                   {"matrix_tile 128 128 64 64", "matrix_tile 128 128 0 64"},
                                   {"matrix_tile 128 128 64 64", "matrix_tile 128 128 48 64"},
                                   {"matrix_tile 128 128 64 64", "matrix_tile 0 128 64 64"},
                                   {"matrix_tile 128 128 64 64", "matrix_tile 1048576 128 64 64"},
                                   {"16 16 16 32", "8 8 8 32"},
                                   {"16 16 16 32", "16 16 16 64"},
                                   {"16 16 16 32", "0 0 0 0"}}) {
      CAPTURE(to);
      CHECK(parse_tuning(with(text, from, to), caps).state == TuningState::Damaged);
    }
  }
}
