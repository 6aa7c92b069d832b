// Bad and odd checkpoints against a configuration: each is named, nothing stays allocated.
#include "model/weights.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

struct Entry {
  std::string name;
  std::vector<uint64_t> shape;
  std::string dtype = "BF16";
  std::vector<uint16_t> values;
};

// The toy MLA model's tensors, ready to be spoilt.
std::vector<Entry> toy_entries() {
  std::vector<Entry> entries;
  for (const ToyTensor& tensor : read_toy_tensors(source_dir() + "/tests/golden/mla_sigmoid/tensors.json"))
    entries.push_back({tensor.name, tensor.shape, "BF16", toy_values(tensor)});
  return entries;
}

Entry& find(std::vector<Entry>& entries, const std::string& name) {
  for (Entry& entry : entries)
    if (entry.name == name)
      return entry;
  FAIL("no tensor " << name);
  return entries.front();
}

class WeightsTest : public GpuTest {
 public:
  Result<std::unique_ptr<Weights>> load(const std::vector<Entry>& entries) {
    nlohmann::json header;
    std::string data;
    for (const Entry& entry : entries) {
      const size_t begin = data.size();
      data.append(reinterpret_cast<const char*>(entry.values.data()), entry.values.size() * 2);
      header[entry.name] = {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {begin, data.size()}}};
    }
    write_safetensors(folder_ / "model.safetensors", header.dump(), data);
    auto config = load_config(source_dir() + "/tests/golden/mla_sigmoid/config.json");
    REQUIRE_MESSAGE(config.ok(), config.message());
    auto checkpoint = Checkpoint::open(folder_.path());
    REQUIRE_MESSAGE(checkpoint.ok(), checkpoint.message());
    return load_weights(device, **checkpoint, *config, {});
  }

  void check_refused(const std::vector<Entry>& entries, const std::string& part) {
    const uint64_t before = device.memory().device_bytes_in_use();
    const auto loaded = load(entries);
    REQUIRE(!loaded.ok());
    CHECK(loaded.code() == Code::BadFile);
    CHECK_MESSAGE(loaded.message().find(part) != std::string::npos, loaded.message());
    CHECK(device.memory().device_bytes_in_use() == before);
  }

 private:
  TemporaryFolder folder_;
};

const char* const kDown = "language.model.layers.1.mlp.experts.3.down_proj.weight";

}  // namespace

TEST_CASE_FIXTURE(WeightsTest, "weights: the toy model loads, and takes what was announced") {
  const auto loaded = load(toy_entries());
  REQUIRE_MESSAGE(loaded.ok(), loaded.message());
  auto config = load_config(source_dir() + "/tests/golden/mla_sigmoid/config.json");
  CHECK((*loaded)->device_bytes == weight_bytes(*config));
  const TensorView down = (*loaded)->language.layers[1].experts.down;
  CHECK(down.dim(0) == 9);
  const std::vector<float> values = download(down);
  const ToyTensor tensor{kDown, {64, 24}, 0, 0};
  std::vector<Entry> entries = toy_entries();
  const std::vector<uint16_t>& published = find(entries, kDown).values;
  for (size_t i = 0; i < published.size(); ++i)  // expert 3 of the stack
    REQUIRE(std::abs(values[3 * published.size() + i] - bfloat16_to_float(published[i])) <= 0x1p-25f);
}

TEST_CASE_FIXTURE(WeightsTest, "weights: a missing, unexpected or misshaped tensor is named") {
  std::vector<Entry> entries = toy_entries();
  std::erase_if(entries, [](const Entry& entry) { return entry.name == kDown; });
  check_refused(entries, std::string(kDown) + " [64, 24] is missing");

  entries = toy_entries();
  entries.push_back({"language.model.layers.7.extra", {1}, "BF16", {0}});
  check_refused(entries, "language.model.layers.7.extra [1] has no place");

  entries = toy_entries();
  find(entries, kDown).shape = {24, 64};
  check_refused(entries, std::string(kDown) + " is [24, 64], config.json wants [64, 24]");

  entries = toy_entries();
  find(entries, kDown).dtype = "I16";
  check_refused(entries, std::string(kDown) + " is I16");
}

TEST_CASE_FIXTURE(WeightsTest, "weights: the encoder's pooling head is expected and skipped") {
  std::vector<Entry> entries = toy_entries();
  entries.push_back({"vision.attn_pool.latent", {1, 1, 2}, "BF16", {0, 0}});
  CHECK(load(entries).ok());
}

TEST_CASE_FIXTURE(WeightsTest, "weights: a tensor beyond f16's range stays bf16, one that is not finite is refused") {
  std::vector<Entry> entries = toy_entries();
  find(entries, kDown).values[5] = float_to_bfloat16(100000.0f);
  const auto loaded = load(entries);
  REQUIRE_MESSAGE(loaded.ok(), loaded.message());
  const TensorView down = (*loaded)->language.layers[1].experts.down;
  CHECK(down.dtype == DType::BF16);
  CHECK((*loaded)->language.layers[2].experts.down.dtype == DType::F16);
  CHECK(download(down)[3 * 64 * 24 + 5] == bfloat16_to_float(float_to_bfloat16(100000.0f)));

  entries = toy_entries();
  find(entries, kDown).values[5] = 0x7f80;  // infinity
  check_refused(entries, "not finite");
}
