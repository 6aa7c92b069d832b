#include "model/checkpoint.h"

#include <cstring>
#include <doctest/doctest.h>
#include <fstream>

#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

const char* const kTwoTensors = R"({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
                                    "b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}})";

// Opens a folder with one file of this header and data; expects an error that contains `part`.
void check_refused(const std::string& header, const std::string& data, const std::string& part) {
  const TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", header, data);
  const auto opened = Checkpoint::open(folder.path());
  REQUIRE(!opened.ok());
  CHECK(opened.code() == Code::BadFile);
  CHECK_MESSAGE(opened.message().find(part) != std::string::npos, opened.message());
  CHECK(opened.message().find('\n') == std::string::npos);
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("checkpoint: lists tensors and reads their bytes") {
    const TemporaryFolder folder;
    write_safetensors(folder / "model.safetensors", kTwoTensors, "abcdefghijklWXYZ");
    const auto opened = Checkpoint::open(folder.path());
    REQUIRE_MESSAGE(opened.ok(), opened.message());
    const Checkpoint& checkpoint = **opened;
    REQUIRE(checkpoint.tensors().size() == 2);
    const CheckpointTensor& b = checkpoint.tensors().at("b");
    CHECK(b.shape == std::vector<uint64_t>{1});
    char bytes[4];
    REQUIRE(checkpoint.read(b, 0, std::as_writable_bytes(std::span(bytes))).ok());
    CHECK(std::string(bytes, 4) == "WXYZ");
    CHECK(checkpoint.read(b, 1, std::as_writable_bytes(std::span(bytes))).code() == Code::BadArgument);
  }

  TEST_CASE("checkpoint: an index names shards; each must hold what it says") {
    const TemporaryFolder folder;
    write_safetensors(folder / "one.safetensors", R"({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}})", "ab");
    write_safetensors(folder / "two.safetensors", R"({"b": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}})", "cd");
    const auto with_index = [&](const std::string& index) {
      std::ofstream(folder / "model.safetensors.index.json") << index;
      return Checkpoint::open(folder.path());
    };
    CHECK(with_index(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})").ok());
    CHECK(with_index(R"({"weight_map": {"a": "two.safetensors", "b": "two.safetensors"}})").code() == Code::BadFile);
    CHECK(with_index(R"({"weight_map": {"a": "one.safetensors", "c": "one.safetensors"}})").code() == Code::BadFile);
    CHECK(with_index(R"({"weight_map": {"a": "missing.safetensors"}})").code() == Code::NotFound);
    CHECK(with_index(R"({"weight_map": {"a": "../one.safetensors"}})").code() == Code::BadFile);
    CHECK(with_index(R"({"weight_map": [1, 2]})").code() == Code::BadFile);
    CHECK(with_index("{").code() == Code::BadFile);
  }

  TEST_CASE("checkpoint: a tensor in two files is refused") {
    const TemporaryFolder folder;
    for (const char* name : {"one.safetensors", "two.safetensors"})
      write_safetensors(folder / name, R"({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}})", "ab");
    CHECK(Checkpoint::open(folder.path()).code() == Code::BadFile);
  }

  TEST_CASE("checkpoint: no folder, no weights") {
    const TemporaryFolder folder;
    CHECK(Checkpoint::open(folder / "nowhere").code() == Code::NotFound);
    CHECK(Checkpoint::open(folder.path()).code() == Code::NotFound);
  }

  TEST_CASE("checkpoint: every cut of a file is refused") {
    const TemporaryFolder folder;
    const std::string path = folder / "model.safetensors";
    write_safetensors(path, kTwoTensors, "abcdefghijklWXYZ");
    const auto whole = std::filesystem::file_size(path);
    for (uint64_t bytes = 0; bytes < whole; ++bytes) {
      write_safetensors(path, kTwoTensors, "abcdefghijklWXYZ");
      std::filesystem::resize_file(path, bytes);
      REQUIRE_MESSAGE(Checkpoint::open(folder.path()).code() == Code::BadFile, bytes);
    }
  }

  TEST_CASE("checkpoint: hostile headers") {
    check_refused("[]", "", "not a JSON object");
    check_refused("{", "", "its header");
    check_refused(R"({"a": 1})", "", "a: wanted an object");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [1]}})", "ab", "wanted an object with dtype, shape and two data_offsets");
    check_refused(R"({"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 2]}})", "ab", "unknown dtype");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [-1], "data_offsets": [0, 2]}})", "ab", "is no count");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [1.5], "data_offsets": [0, 2]}})", "ab", "is no count");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [4294967296, 4294967296], "data_offsets": [0, 2]}})", "ab",
                  "needs more than");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [18446744073709551615], "data_offsets": [0, 2]}})", "ab",
                  "needs more than");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 4]}})", "ab", "outside");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [2, 0]}})", "ab", "outside");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 2]}})", "abcd", "hold 2 bytes");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [1,1,1,1,1,1,1,1,1], "data_offsets": [0, 2]}})", "ab", "dimensions");
    check_refused(R"({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                      "b": {"dtype": "BF16", "shape": [2], "data_offsets": [2, 6]}})",
                  "abcdef", "overlap");
  }

  TEST_CASE("checkpoint: a header length beyond the file allocates nothing") {
    const TemporaryFolder folder;
    std::ofstream file(folder / "model.safetensors", std::ios::binary);
    const uint64_t huge = UINT64_MAX;
    file.write(reinterpret_cast<const char*>(&huge), 8);
    file << "{}";
    file.close();
    const auto opened = Checkpoint::open(folder.path());
    CHECK(opened.code() == Code::BadFile);
    CHECK(opened.message().find("claims 18446744073709551615 bytes") != std::string::npos);
  }
}
