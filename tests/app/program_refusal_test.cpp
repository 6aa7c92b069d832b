// Bad input to the built program: each gives one line on standard error that names the thing, exit status 2, nothing on standard
// output, and no file.
#include <doctest/doctest.h>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "app/image_file.h"
#include "model/npy.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"
#include "tests/support/reply_number_cases.h"

using namespace vl2;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

void check_refused(const Words& arguments, const Words& named, const ProgramOptions& options = {}) {
  std::string line;
  for (const std::string& word : arguments)
    line += " " + word;
  CAPTURE(line);
  const ProgramResult result = run_program(arguments, options);
  CHECK(result.exit_status == 2);
  CHECK_MESSAGE(result.out.empty(), result.out);
  CAPTURE(result.err);
  CHECK(result.err.starts_with("vl2: "));
  CHECK(result.err.find('\n') == result.err.size() - 1);  // one line, and its end
  CHECK(result.err.size() < 600);
  for (const std::string& part : named)
    CHECK_MESSAGE(result.err.find(part) != std::string::npos, part);
}

// Everything below `folder`, by name: what a refused command may not change.
Words listing(const std::string& folder) {
  Words names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    names.push_back(entry.path().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string write_ids(const std::string& path, const std::vector<int32_t>& ids) {
  const uint64_t shape[] = {ids.size()};
  REQUIRE(write_npy(path, NpyDType::I32, shape, std::as_bytes(std::span(ids))).ok());
  return path;
}

std::string write_picture(const std::string& path, uint32_t width = 90, uint32_t height = 40) {
  REQUIRE(write_png(path, Image{width, height, test_picture(width, height, 1)}).ok());
  return path;
}

// A safetensors file in two halves.
struct Tensors {
  json header;
  std::string data;
};

Tensors read_tensors(const std::string& path) {
  const std::string bytes = read_file(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  return {json::parse(bytes.substr(8, header_bytes)), bytes.substr(8 + header_bytes)};
}

std::string safetensors(const std::string& header, const std::string& data) {
  const uint64_t header_bytes = header.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), 8) + header + data;
}

// A model folder to be spoilt, ids and a picture for it, and a place for output that has to stay empty.
class Refusals {
 public:
  Refusals()
      : model(copy_small_model(folder / "model")), ids(write_ids(folder / "ids.npy", {1, 2, 3})), out(folder / "out.npy") {}

  Words logits() const { return {"logits", "-m", model, "--ids", ids, "--out", out}; }
  Words run(const Words& more = {}) const {
    Words words = {"run", "-m", model, "-p", "question"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  // The model with this change to its safetensors, as bytes.
  void spoil_tensors(const std::function<std::string(Tensors)>& change) {
    const std::string path = model + "/model.safetensors", bytes = change(read_tensors(small_model() + "/model.safetensors"));
    fs::remove(path);
    write_file(path, bytes);
  }
  void spoil_json(const std::string& name, const std::function<void(json&)>& change) {
    json value = json::parse(read_file(small_model() + "/" + name));
    change(value);
    write_file(model + "/" + name, value.dump());
  }

  TemporaryFolder folder;
  std::string model, ids, out;
};

const char* const kTensor = "language.model.layers.1.mlp.experts.3.down_proj.weight";

}  // namespace

TEST_SUITE("program") {
  TEST_CASE_FIXTURE(Refusals, "vl2: a missing, extra or misshaped tensor is named") {
    spoil_tensors([](Tensors t) {
      t.header.erase(kTensor);
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "[64, 24]", "missing"});
    spoil_tensors([](Tensors t) {
      t.header["language.model.layers.7.extra"] = {
          {"dtype", "BF16"}, {"shape", {3}}, {"data_offsets", {t.data.size(), t.data.size() + 6}}};
      return safetensors(t.header.dump(), t.data + "123456");
    });
    check_refused(logits(), {"language.model.layers.7.extra", "[3]"});
    spoil_tensors([](Tensors t) {
      t.header[kTensor]["shape"] = {24, 64};
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "[24, 64]", "[64, 24]"});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a safetensors file that is truncated, overlaps itself or lies about its sizes is named") {
    const std::string name = "model.safetensors";
    spoil_tensors([](Tensors t) { return safetensors(t.header.dump(), t.data.substr(0, t.data.size() - 2)); });
    check_refused(logits(), {name, "truncated"});
    spoil_tensors([](Tensors t) { return safetensors(t.header.dump(), "").substr(0, 100); });
    check_refused(logits(), {name, "100"});
    spoil_tensors([](const Tensors&) { return std::string("1234"); });
    check_refused(logits(), {name, "4 bytes"});
    spoil_tensors([](Tensors t) {
      const char* const other = "language.model.layers.1.mlp.experts.4.down_proj.weight";
      t.header[kTensor]["data_offsets"] = t.header[other]["data_offsets"];
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "overlap"});
    for (const uint64_t size : {uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 40}) {
      spoil_tensors(
          [&](const Tensors& t) { return std::string(reinterpret_cast<const char*>(&size), 8) + t.header.dump() + t.data; });
      check_refused(logits(), {name, std::to_string(size)});
    }
    spoil_tensors([](Tensors t) {
      t.header[kTensor]["shape"] = {uint64_t{1} << 62, 8};
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "bytes"});
    spoil_tensors([](Tensors t) {
      t.header[kTensor]["shape"] = {-64, 24};
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "dimension"});
    spoil_tensors([](Tensors t) {
      t.header[kTensor]["data_offsets"] = {0, uint64_t{1} << 60};
      return safetensors(t.header.dump(), t.data);
    });
    check_refused(logits(), {kTensor, "data_offsets"});
    spoil_tensors([](const Tensors& t) { return safetensors("[" + t.header.dump(), t.data); });
    check_refused(logits(), {name, "JSON"});
    spoil_tensors([](const Tensors& t) { return safetensors(std::string(100'000, '['), t.data); });  // no recursion may follow it
    check_refused(logits(), {name, "JSON"});
    fs::remove(model + "/model.safetensors");
    check_refused(logits(), {model, "*.safetensors"});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: an index that names a file outside the folder, or a tensor that is not there, is refused") {
    const std::string index = model + "/model.safetensors.index.json";
    write_file(index, R"({"weight_map": {"a.weight": "../model.safetensors"}})");
    check_refused(logits(), {"a.weight", "same folder"});
    write_file(index, R"({"weight_map": {"a.weight": "model.safetensors"}})");
    check_refused(logits(), {"a.weight", "model.safetensors"});
    write_file(index, R"({"weight_map": {"a.weight": "model-00001-of-00002.safetensors"}})");
    check_refused(logits(), {"model-00001-of-00002.safetensors", "No such file"});
    write_file(index, R"({"weight_map": ["a.weight"]})");
    check_refused(logits(), {"index.json", "weight_map"});
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a config.json with wrong types, sizes or kinds is refused by its key") {
    spoil_json("config.json", [](json& c) { c["language_config"]["hidden_size"] = "64"; });
    check_refused(logits(), {"config.json", "language_config.hidden_size"});
    spoil_json("config.json", [](json& c) { c["language_config"]["num_attention_heads"] = 4.5; });
    check_refused(logits(), {"config.json", "language_config.num_attention_heads"});
    spoil_json("config.json", [](json& c) { c["vision_config"]["layers"] = -1; });
    check_refused(logits(), {"config.json", "vision_config.layers"});
    spoil_json("config.json", [](json& c) { c["vision_config"] = json::array(); });
    check_refused(logits(), {"config.json", "vision_config"});
    spoil_json("config.json", [](json& c) { c["language_config"]["vocab_size"] = uint64_t{1} << 50; });
    check_refused(logits(), {"config.json", "language_config.vocab_size"});
    spoil_json("config.json", [](json& c) { c["candidate_resolutions"] = {{384, "384"}}; });
    check_refused(logits(), {"config.json", "candidate_resolutions"});
    spoil_json("config.json", [](json& c) { c["model_type"] = "llava"; });
    check_refused(logits(), {"config.json", "model_type"});
    spoil_json("config.json", [](json& c) { c = json::array(); });
    check_refused(logits(), {"config.json", "object"});
    write_file(model + "/config.json", "{\"model_type\": ");
    check_refused(logits(), {"config.json", "JSON"});
    write_file(model + "/config.json", "");
    check_refused(logits(), {"config.json"});
    fs::remove(model + "/config.json");
    check_refused(logits(), {"config.json", "no such file"});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals,
                    "vl2: a tokenizer.json that is broken, of an unknown pattern or without the control tokens is refused") {
    const Words tokenize = {"tokenize", "-m", model, "--jsonl"};
    const auto refused_by_both = [&](const Words& named) {
      check_refused(tokenize, named, {.environment = {}, .input = "\"text\"\n"});
      check_refused(run(), named);
    };
    spoil_json("tokenizer.json", [](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\p{N}{1,7}"; });
    refused_by_both({"tokenizer.json", "pre_tokenizer"});
    spoil_json("tokenizer.json", [](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["type"] = "Whitespace"; });
    refused_by_both({"tokenizer.json", "pre_tokenizer"});
    spoil_json("tokenizer.json", [](json& t) { t["model"]["type"] = "Unigram"; });
    refused_by_both({"tokenizer.json", "model"});
    spoil_json("tokenizer.json", [](json& t) { t["model"]["vocab"]["a"] = "one"; });
    refused_by_both({"tokenizer.json", "vocab"});
    spoil_json("tokenizer.json", [](json& t) { t["model"]["vocab"]["a"] = 4'000'000'000u; });
    refused_by_both({"tokenizer.json"});
    spoil_json("tokenizer.json", [](json& t) { t["model"]["merges"] = {"a b"}; });  // "ab" is no token
    refused_by_both({"tokenizer.json", "merges"});
    spoil_json("tokenizer.json", [](json& t) { t["added_tokens"][0].erase("content"); });
    refused_by_both({"tokenizer.json", "added_tokens"});
    write_file(model + "/tokenizer.json", read_file(small_model() + "/tokenizer.json").substr(0, 1000));
    refused_by_both({"tokenizer.json"});
    write_file(model + "/tokenizer.json", "");
    refused_by_both({"tokenizer.json"});
    fs::remove(model + "/tokenizer.json");
    refused_by_both({"tokenizer.json"});

    spoil_json("tokenizer.json", [](json& t) {
      for (json& token : t["added_tokens"])
        if (token["content"] == "<|det|>")
          token["content"] = "<|other|>";
    });
    check_refused(run(), {"tokenizer.json", "<|det|>"});
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: bad lines to tokenize are refused by their number") {
    const auto refused = [&](const Words& more, const std::string& input, const Words& named) {
      Words words = {"tokenize", "-m", model};
      words.insert(words.end(), more.begin(), more.end());
      check_refused(words, named, {.environment = {}, .input = input});
    };
    refused({"--jsonl"}, "text\n", {"line 1", "JSON"});
    refused({"--jsonl"}, "7\n", {"line 1", "string"});
    refused({"--jsonl"}, "\"\xff\"\n", {"line 1"});
    refused({"--jsonl"}, "\"\\ud800\"\n", {"line 1"});
    refused({"--jsonl", "--decode"}, "[1, 2.5]\n", {"line 1", "integer"});
    refused({"--jsonl", "--decode"}, "[-1]\n", {"line 1", "-1"});
    refused({"--jsonl", "--decode"}, "{}\n", {"line 1", "array"});
    refused({"--decode"}, "1 2 x", {"2 ids"});
    refused({}, "\xff", {"UTF-8"});
  }

  TEST_CASE_FIXTURE(Refusals,
                    "vl2: a picture that is none, truncated, too large or not there is named by every command that reads one") {
    const std::string good = write_picture(folder / "good.png"), bytes = read_file(good);
    const auto refused_everywhere = [&](const std::string& path, const std::string& part) {
      check_refused({"tiles", good, path}, {path, part});
      check_refused({"tiles", path, "--npy", out}, {path, part});
      check_refused({"features", "-m", model, "--image", path, "--out", folder / "features"}, {path, part});
      check_refused({"logits", "-m", model, "--ids", ids, "--image", path, "--out", out}, {path, part});
      check_refused(run({"--image", good, "--image", path, "--annotate", folder / "boxes.png"}), {path, part});
    };
    const std::string bad = folder / "bad.png";
    write_file(bad, "GIF89a and so on");
    refused_everywhere(bad, "none of PNG, JPEG, WebP, BMP");
    write_file(bad, "");
    refused_everywhere(bad, "empty");
    write_file(bad, bytes.substr(0, bytes.size() / 2));
    refused_everywhere(bad, "PNG");
    write_file(bad, bytes.substr(0, 20));
    refused_everywhere(bad, "PNG");
    refused_everywhere(folder.path(), "folder");
    refused_everywhere(folder / "none.png", "no such file");
    refused_everywhere("/proc/self/mem", "cannot be read");  // opens, and fails at the first read
    CHECK(!fs::exists(out));
    CHECK(!fs::exists(folder / "features"));
    CHECK(!fs::exists(folder / "boxes.png"));
  }

  TEST_CASE_FIXTURE(
      Refusals, "vl2: a picture whose header claims more pixels than are read is refused with its size, and takes no memory") {
    std::string bytes = read_file(write_picture(folder / "good.png"));
    const auto put = [&](size_t at, uint32_t value) {
      for (size_t i = 0; i < 4; ++i)
        bytes[at + i] = static_cast<char>(value >> (24 - 8 * i));
    };
    put(16, 100'000), put(20, 100'000);  // width and height
    uint32_t crc = ~0u;                  // of the chunk IHDR, as the PNG specification defines it
    for (size_t i = 12; i < 29; ++i) {
      crc ^= static_cast<uint8_t>(bytes[i]);
      for (int bit = 0; bit < 8; ++bit)
        crc = (crc & 1) != 0 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
    }
    put(29, ~crc);
    write_file(folder / "hostile.png", bytes);
    check_refused({"tiles", folder / "hostile.png"}, {"hostile.png", "100000 x 100000"});
    check_refused(run({"--image", folder / "hostile.png"}), {"hostile.png", "100000 x 100000"});

    std::string bmp("BM", 2);
    bmp.resize(54);
    const auto put_little = [&](size_t at, uint32_t value) { std::memcpy(&bmp[at], &value, 4); };
    put_little(10, 54), put_little(14, 40), put_little(18, 100'000), put_little(22, 100'000), put_little(26, 24u << 16 | 1);
    write_file(folder / "hostile.bmp", bmp);
    check_refused({"tiles", folder / "hostile.bmp"}, {"hostile.bmp", "100000 x 100000"});

    const std::string narrow = write_picture(folder / "narrow.png", 1, 4000);  // ImageOps.pad makes its width 0 and fails
    check_refused({"tiles", narrow}, {narrow, "1 x 4000"});
    check_refused(run({"--image", narrow}), {"1 x 4000"});
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a prompt longer than the context is refused with the numbers") {
    const std::string picture = write_picture(folder / "a.png");
    check_refused(run({"--image", picture, "-c", "64", "--annotate", folder / "boxes.png"}),
                  {"context", " 64 ", " 4"});  // 421 and some
    check_refused({"run", "-m", model, "-c", "64", "-p", std::string(100, 'x')},
                  {" 64 ", " 108 "});  // a token a letter, and 8 around them
    write_ids(ids, std::vector<int32_t>(65, 7));
    check_refused({"logits", "-m", model, "--ids", ids, "--out", out, "-c", "64"}, {"65", "64"});
    check_refused(run({"-c", "5000"}), {"5000", "4096"});
    check_refused({"bench", "-m", model, "-c", "64", "-p", "60", "-n", "5", "-d", "5", "--first-token", "0"}, {" 65 ", " 64"});
    check_refused({"bench", "-m", model, "-c", "64", "-p", "6", "-n", "5"}, {"--first-token", " 64"});
    CHECK(!fs::exists(out));
    CHECK(!fs::exists(folder / "boxes.png"));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: without a Vulkan driver or loader it says what to install") {
    const ProgramOptions no_driver{
        .environment = {{"VK_DRIVER_FILES", "/nonexistent.json"}, {"VK_ICD_FILENAMES", "/nonexistent.json"}}};
    check_refused(logits(), {"driver", "mesa-vulkan-drivers"}, no_driver);
    check_refused({"devices"}, {"driver", "mesa-vulkan-drivers"}, no_driver);
    check_refused({"devices", "--json"}, {"driver", "mesa-vulkan-drivers"}, no_driver);
    check_refused(run(), {"driver", "mesa-vulkan-drivers"}, no_driver);
    // A library that is none, found before the system's.
    for (const char* name : {"libvulkan.so.1", "libvulkan.so"})
      write_file(folder / name, "no library");
    const ProgramOptions no_loader{.environment = {{"LD_LIBRARY_PATH", folder.path()}}};
    check_refused({"devices"}, {"loader", "libvulkan1"}, no_loader);
    check_refused(run(), {"loader", "libvulkan1"}, no_loader);
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a device that is not there is refused with the list of those that are") {
    const json devices = json::parse(run_program({"devices", "--json"}).out);
    const std::string first = devices[0]["name"];
    check_refused(run({"--device", "97"}), {"97", first});
    check_refused(run({"--device", "Voodoo"}), {"Voodoo", first});
    check_refused(logits(), {"Voodoo", first}, {.environment = {{"VL2_DEVICE", "Voodoo"}}});
    check_refused(logits(), {"VL2_TIER", "x"}, {.environment = {{"VL2_TIER", "x"}}});
    check_refused(logits(), {"VL2_QUIRKS", "no_such_quirk"}, {.environment = {{"VL2_QUIRKS", "+no_such_quirk"}}});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: too little memory is refused with the plan") {
    const ProgramOptions little{.environment = {{"VL2_HEAP_LIMIT", "3000000"}}};
    check_refused(run(), {model, "needs", "weights", "cache of 4096 tokens", "MB", "shorter context"}, little);
    check_refused(logits(), {model, "needs", "weights", "cache of 4096 tokens", "MB", "shorter context"}, little);
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a model folder that is none is named") {
    const std::string none = folder / "none", empty = folder / "empty";
    fs::create_directory(empty);
    for (const std::string& path : {none, empty, ids}) {
      check_refused({"run", "-m", path, "-p", "question"}, {path});
      check_refused({"logits", "-m", path, "--ids", ids, "--out", out}, {path});
      check_refused({"tokenize", "-m", path}, {path});
      check_refused({"bench", "-m", path}, {path});
    }
    const std::string loop = folder / "loop.json";
    fs::create_symlink(loop, loop);
    fs::remove(model + "/config.json");
    fs::create_symlink(loop, model + "/config.json");
    check_refused(logits(), {"config.json"});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: output that cannot be written is refused before any work, and nothing is left") {
    const std::string picture = write_picture(folder / "a.png");
    fs::create_directory(folder / "taken");
    const Words before = listing(folder.path());
    for (const std::string& path : {folder / "none/out", folder / "ids.npy/out", folder / "taken"}) {
      check_refused({"logits", "-m", model, "--ids", ids, "--out", path}, {path, "written"});
      check_refused({"logits", "-m", model, "--ids", ids, "--out", out, "--greedy", "2", "--greedy-out", path},
                    {path, "written"});
      check_refused({"tiles", picture, "--npy", path}, {path, "written"});
      check_refused(run({"--image", picture, "--annotate", path}), {path, "written"});
    }
    check_refused({"tiles", picture, "--npy-dir", ids}, {ids, "folder"});
    check_refused({"features", "-m", model, "--image", picture, "--out", ids}, {ids, "folder"});
    check_refused({"features", "-m", model, "--image", picture, "--out", ids + "/below"}, {ids, "folder"});
    CHECK(listing(folder.path()) == before);
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: ids of the wrong kind, out of the vocabulary or at odds with the pictures are refused") {
    const std::string picture = write_picture(folder / "a.png");
    const auto logits_with = [&](const Words& more) {
      Words words = logits();
      words.insert(words.end(), more.begin(), more.end());
      return words;
    };
    const std::vector<float> floats(3);
    const uint64_t flat[] = {3}, matrix[] = {1, 3};
    REQUIRE(write_npy(ids, NpyDType::F32, flat, std::as_bytes(std::span(floats))).ok());
    check_refused(logits(), {ids, "i32 or i64"});
    const std::vector<int32_t> three(3);
    REQUIRE(write_npy(ids, NpyDType::I32, matrix, std::as_bytes(std::span(three))).ok());
    check_refused(logits(), {ids, "[T]"});
    write_ids(ids, {});
    check_refused(logits(), {ids, "no ids"});
    write_ids(ids, {1, -2, 3});
    check_refused(logits(), {ids, "-2"});
    write_ids(ids, {1, 2, static_cast<int32_t>(kSmallModelIds)});
    check_refused(logits(), {"300"});
    write_ids(ids, {1, 2, 3});
    check_refused(logits_with({"--last", "4"}), {"--last", "4", "3"});
    check_refused(logits_with({"--last", "0"}), {"--last", "0", "3"});
    check_refused(logits_with({"--image", picture}), {"image token", "421"});
    check_refused(logits_with({"--image", picture, "--image-token-id", "7"}), {"image token", "id 7"});
    write_ids(ids, std::vector<int32_t>(422, kSmallModelImageId));
    check_refused(logits_with({"--image", picture}), {"421"});
    check_refused(logits_with({"--image-token-id", "299"}), {"image token"});  // and no picture
    write_file(ids, "no array");
    check_refused(logits(), {ids, ".npy"});
    fs::remove(ids);
    check_refused(logits(), {ids, "no such file"});
    CHECK(!fs::exists(out));
  }

  TEST_CASE_FIXTURE(Refusals, "vl2: a wrong command line is refused in one line that says where help is") {
    check_refused({}, {"--help"});
    check_refused({"sing"}, {"sing", "--help"});
    check_refused({"run", "-m", model, "-p", "question", "more"}, {"more", "vl2 run --help"});
    check_refused({"run"}, {"--model", "vl2 run --help"});
    check_refused({"run", "-m", model}, {"--prompt"});
    check_refused(run({"--temperature", "1"}), {"--temperature"});
    check_refused(run({"-n", "many"}), {"many"});
    check_refused(run({"--temp", "nan"}), {"--temp: got nan, wanted"});
    for (const ReplyNumberCase& one : reply_number_cases())
      if (one.wanted != nullptr)
        check_refused(run({one.option, one.value}), {refusal_of(one, one.option), "vl2 run --help"});
    for (const bool largest : {false, true}) {  // what is taken, an end of every option at once
      std::map<std::string, std::string> taken;
      for (const ReplyNumberCase& one : reply_number_cases())
        if (one.wanted == nullptr && (largest || taken.count(one.option) == 0))
          taken[one.option] = one.value;
      Words words = {"--dry-run"};
      for (const auto& [option, value] : taken)
        words.insert(words.end(), {option, value});
      CHECK(taken.size() == 7);
      const ProgramResult result = run_program(run(words));
      CHECK_MESSAGE(result.exit_status == 0, result.err);
    }
    check_refused(run({"--image"}), {"--image"});
    check_refused(run({"--annotate", folder / "boxes.png"}), {"--annotate", "--image"});
    check_refused({"tiles"}, {"image"});
    check_refused({"tiles", write_picture(folder / "a.png"), write_picture(folder / "b.png"), "--npy", out}, {"--npy"});
    check_refused({"bench", "-m", model, "--views", "2,11"}, {"--views", "11"});
    check_refused({"bench", "-m", model, "-o", "xml"}, {"-o", "xml"});
    check_refused({"bench", "-m", model, "-p", "8,x"}, {"8,x"});
    check_refused({"bench"}, {"-m", "--synthetic"});
    check_refused({"bench", "-m", model, "--synthetic", "tiny"}, {"-m", "--synthetic"});
    check_refused({"bench", "-m", model, "--layers", "2"}, {"--layers"});
    check_refused({"bench", "--synthetic", "huge"}, {"huge", "tiny"});
    check_refused({"bench", "--synthetic", "base"}, {"base", "needs", "GB"}, {.environment = {{"VL2_HEAP_LIMIT", "3000000"}}});
    check_refused({"run", "-m", "two\nlines", "-p", "question"}, {"two lines"});
    check_refused({"run", "-m", model, "-p", "<image> what is this?"}, {"1 marks <image>", "0 pictures"});
    check_refused({"run", "-m", model, "-p", "\xff"}, {"UTF-8"});
  }

  TEST_CASE_FIXTURE(Refusals, "vl2 quantize, vl2 inspect: bad files and wrong words are named, and nothing is written") {
    const std::string gguf = folder / "out.gguf";
    check_refused({"quantize", model, gguf, "--type", "Q5_K"}, {"--type Q5_K", "Q4_K_M"});
    check_refused({"quantize", model, gguf}, {"--type", "vl2 quantize --help"});
    check_refused({"quantize", model, gguf, "--type", "F16", "--threads", "-1"}, {"--threads"});
    check_refused({"quantize", folder / "nowhere", gguf, "--type", "F16"}, {"nowhere/config.json", "no such file"});
    check_refused({"quantize", model, folder / "nowhere/out.gguf", "--type", "F16"}, {"nowhere", "is no folder"});
    check_refused({"quantize", model, folder.path(), "--type", "F16"}, {folder.path(), "it is a folder"});
    check_refused({"inspect", folder / "nowhere"}, {"nowhere", "wanted"});
    const Words before = listing(folder.path());
    const std::string bad = folder / "bad.gguf";
    write_file(bad, "GGUF");
    check_refused({"inspect", bad}, {bad, "the version", "truncated"});
    check_refused({"quantize", bad, gguf, "--type", "F16"}, {bad, "the version", "truncated"});
    write_file(bad, std::string("GGUF\3\0\0\0", 8) + std::string(16, '\xff'));
    check_refused({"inspect", bad}, {bad, "18446744073709551615 keys"});
    fs::remove(bad);
    CHECK(listing(folder.path()) == before);
  }
}
