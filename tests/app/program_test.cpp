// The built program on input that is fine: what each command prints and writes.
#include "tests/support/program.h"

#include <algorithm>
#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/image_file.h"
#include "model/npy.h"
#include "tests/support/compare.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"

using namespace vl2;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kGolden = source_dir() + "/tests/golden/mla_softmax";

// What the program printed; fails the test when it did not end well, or said anything on standard error (which is no terminal
// here).
std::string printed(const Words& arguments, const std::string& input = "") {
  const ProgramResult result = run_program(arguments, {.environment = {}, .input = input});
  CHECK(result.exit_status == 0);
  CHECK_MESSAGE(result.err.empty(), result.err);
  return result.out;
}

std::string write_picture(const std::string& path, uint32_t width, uint32_t height) {
  REQUIRE(write_png(path, Image{width, height, test_picture(width, height, 1)}).ok());
  return path;
}

template <typename T>
std::vector<T> values_of(const NpyArray& array) {
  std::vector<T> values(array.data.size() / sizeof(T));
  std::memcpy(values.data(), array.data.data(), array.data.size());
  return values;
}

NpyArray load(const std::string& path) {
  auto array = read_npy(path);
  REQUIRE_MESSAGE(array.ok(), array.message());
  return array.take();
}

using Shape = std::vector<uint64_t>;

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("vl2: says its version and its commands") {
    CHECK(printed({"--version"}) == "vl2 0.1.0\n");
    const std::string help = printed({"--help"});
    for (const char* command :
         {"run", "chat", "ground", "ocr", "devices", "tokenize", "tiles", "features", "logits", "bench", "quantize", "inspect"}) {
      CHECK(help.find(command) != std::string::npos);
      CHECK(printed({command, "--help"}).find(command) != std::string::npos);
    }
  }

  TEST_CASE("vl2 devices: marks one device, the same in both forms") {
    const json devices = json::parse(printed({"devices", "--json"}));
    REQUIRE(!devices.empty());
    std::string chosen;
    for (const json& device : devices)
      if (device["chosen"])
        chosen += device["name"];
    REQUIRE(!chosen.empty());
    const std::string text = printed({"devices"});
    CHECK(text.find("* ") != std::string::npos);
    CHECK(text.substr(text.find("* ")).find(chosen) == 5);  // after the mark, the index and two spaces
    for (const json& device : devices)
      CHECK(text.find(device["uuid"].get<std::string>()) != std::string::npos);
  }

  TEST_CASE("vl2 tokenize: text comes back from its ids, in both forms") {
    const Words encode = {"tokenize", "-m", small_model(), "--jsonl"},
                decode = {"tokenize", "-m", small_model(), "--jsonl", "--decode"};
    const std::string lines = "\"two words\"\n\"1234 \\u00e9\\ud83d\\ude00\\n\"\n\"\"\n\"<image>\"\n";
    const std::string ids = printed(encode, lines);
    CHECK(ids.substr(0, ids.find('\n')) == "[116, 119, 111, 32, 119, 111, 114, 100, 115]");  // a token a byte
    const std::string back = printed(decode, ids);
    std::vector<std::string> texts;
    for (size_t at = 0; at < back.size(); at = back.find('\n', at) + 1)
      texts.push_back(json::parse(back.substr(at, back.find('\n', at) - at)));
    CHECK(texts == std::vector<std::string>{"two words", "1234 \u00e9\U0001F600\n", "", "<image>"});
    CHECK(printed({"tokenize", "-m", small_model(), "--jsonl", "--special"}, "\"a<image>\"\n") == "[97, 299]\n");
    CHECK(printed({"tokenize", "-m", small_model()}, "ab\n") == "97 98 10\n");
    CHECK(printed({"tokenize", "-m", small_model(), "--decode"}, "97 98 10\n") == "ab\n");
  }

  TEST_CASE("vl2 tiles: prints the cut, and writes every view") {
    const TemporaryFolder folder;
    const std::string wide = write_picture(folder / "wide.png", 1150, 380), small = write_picture(folder / "small.png", 30, 30);
    CHECK(printed({"tiles", wide, small}) == wide + ": 1150 x 380, canvas 1152 x 384, tiles 3 x 1, 813 tokens\n" + small +
                                                 ": 30 x 30, canvas 384 x 384, tiles 1 x 1, 421 tokens\n");
    CHECK(printed({"tiles", wide, "--images", "3"}) == wide + ": 1150 x 380, canvas 384 x 384, tiles 1 x 1, 421 tokens\n");
    printed({"tiles", wide, "--npy", folder / "one.npy"});
    CHECK(load(folder / "one.npy").shape == Shape{4, 384, 384, 3});
    printed({"tiles", wide, small, "--npy-dir", folder / "new/views"});
    CHECK(read_file(folder / "new/views/views_0.npy") == read_file(folder / "one.npy"));
    CHECK(load(folder / "new/views/views_1.npy").shape == Shape{2, 384, 384, 3});
  }

  TEST_CASE("vl2 features: writes three arrays a picture, of the shapes promised, and finite") {
    const TemporaryFolder folder;
    const std::string a = write_picture(folder / "a.png", 500, 375), b = write_picture(folder / "b.png", 40, 30),
                      out = folder / "out";
    printed({"features", "-m", small_model(), "--image", a, "--image", b, "--out", out});
    const auto check = [&](const std::string& name, const Shape& shape) {
      const NpyArray array = load(out + "/" + name);
      CHECK(array.shape == shape);
      CHECK(array.dtype == NpyDType::F32);
      double squares = 0;
      for (const float value : values_of<float>(array))
        squares += static_cast<double>(value) * static_cast<double>(value);
      CHECK(squares > 0);
      CHECK(std::isfinite(squares));
    };
    check("vision_0.npy", {3, 729, 144});
    check("projector_0.npy", {3, 196, 64});
    check("sequence_0.npy", {617, 64});
    check("vision_1.npy", {2, 729, 144});
    check("projector_1.npy", {2, 196, 64});
    check("sequence_1.npy", {421, 64});
  }

  TEST_CASE("vl2 logits: equals the recorded logits and greedy ids, with and without pictures") {
    const TemporaryFolder folder;
    const json note = json::parse(read_file(kGolden + "/golden.json"));
    for (const auto& [name, entry] : note["cases"].items()) {
      CAPTURE(name);
      const std::string recorded = kGolden + "/" + name, out = folder / "logits.npy", greedy_out = folder / "greedy.npy";
      const NpyArray wanted = load(recorded + "/logits.npy"), greedy = load(recorded + "/greedy.npy");
      const uint64_t tokens = wanted.shape[0];
      Words words = {"logits",  "-m",     small_model(),          "--ids",    recorded + "/ids.npy",           "--out",
                     out,       "--last", std::to_string(tokens), "--greedy", std::to_string(greedy.shape[0]), "--greedy-out",
                     greedy_out};
      uint32_t k = 0;
      for (const json& picture : entry["pictures"]) {
        const uint32_t width = picture["width"], height = picture["height"];
        const std::string path = folder / ("picture_" + std::to_string(k++) + ".png");
        REQUIRE(write_png(path, Image{width, height, toy_picture(picture["name"], width, height)}).ok());
        words.insert(words.end(), {"--image", path});
      }
      const ProgramResult result = run_program(words, {.environment = {{"VL2_TIER", "0"}}});
      REQUIRE_MESSAGE(result.exit_status == 0, result.err);
      const NpyArray got = load(out);
      CHECK(got.shape == wanted.shape);
      // Of tier 0, as tests/model/golden_test.cpp has it.
      CHECK(relative_l2(values_of<float>(got), values_of<float>(wanted)) < 1e-5);
      const NpyArray ids = load(greedy_out);
      CHECK(ids.dtype == NpyDType::I32);
      std::vector<int64_t> got_ids, wanted_ids;
      for (const int32_t id : values_of<int32_t>(ids))
        got_ids.push_back(id);
      if (greedy.dtype == NpyDType::I64)
        wanted_ids = values_of<int64_t>(greedy);
      else
        for (const int32_t id : values_of<int32_t>(greedy))
          wanted_ids.push_back(id);
      CHECK(got_ids == wanted_ids);
    }
  }

  TEST_CASE("vl2 run: the same answer as text and as JSON, and the same again with the same seed") {
    const TemporaryFolder folder;
    const std::string picture = write_picture(folder / "a.png", 90, 40);
    const Words base = {"run", "-m", small_model(), "--image", picture, "-p", "What is this?", "-n", "12"};
    const auto with = [&](const Words& more) {
      Words words = base;
      words.insert(words.end(), more.begin(), more.end());
      return printed(words);
    };
    const std::string text = with({});
    const json answer = json::parse(with({"--json"}));
    CHECK(answer["prompt_tokens"].get<int>() > 421);
    CHECK(answer["answer_tokens"].get<int>() <= 12);
    CHECK((answer["stop"] == "max_tokens" || answer["stop"] == "eos"));
    CHECK(answer["boxes"].is_array());
    CHECK(answer["text"].get<std::string>() + "\n" == text);
    const Words drawn = {"--temp",  "1.5",  "--top-k",          "50",  "--top-p", "0.9",
                         "--min-p", "0.01", "--repeat-penalty", "1.1", "--seed"};
    const auto draw = [&](const std::string& seed) {
      Words words = drawn;
      words.push_back(seed);
      return with(words);
    };
    CHECK(draw("7") == draw("7"));
    CHECK(draw("7") != draw("8"));
  }

  TEST_CASE("vl2 run: --annotate writes the last picture, in its own size") {
    const TemporaryFolder folder;
    const std::string a = write_picture(folder / "a.png", 90, 40), b = write_picture(folder / "b.png", 77, 55),
                      out = folder / "boxes.png";
    printed({"run", "-m", small_model(), "--image", a, "--image", b, "-p", "<image> and <image>", "-n", "2", "--annotate", out});
    const auto image = read_image_file(out);
    REQUIRE_MESSAGE(image.ok(), image.message());
    CHECK(image->width == 77);
    CHECK(image->height == 55);
  }

  TEST_CASE("vl2 run: the first Ctrl-C ends the answer, keeps what was said, and shows in the exit status") {
    const Words words = {"run", "-m", small_model(), "-p", "Say something.", "-n", "3000", "--temp", "2", "--seed", "1"};
    const ProgramResult result = run_program(words, {.environment = {}, .input = "", .interrupt_after_bytes = 3});
    CHECK(result.exit_status == 130);
    CHECK(result.err.empty());
    CHECK(result.out.size() >= 3);
    CHECK(result.out.ends_with("\n"));

    // Cut short means: it would have said more.
    Words longer = words;
    longer[6] = "40";
    CHECK(printed(longer).starts_with(result.out.substr(0, 3)));
  }

  TEST_CASE("vl2 bench: prints a row for reading, writing and seeing, with numbers") {
    const std::string out = printed({"bench", "-m", small_model(), "-p", "16", "-n", "4", "-d", "0,8", "--views", "1,2",
                                     "--first-token", "0", "-r", "1", "-c", "64", "--ops"});
    for (const char* row : {"| load ", "| pp16 ", "| tg4 ", "| pp16 @ d8 ", "| tg4 @ d8 ", "| vision 1 view ",
                            "| vision 2 views ", "device memory: peak", "\nprefill: ", "\ndecode: ", "\nvision: ", "| rms_norm"})
      CHECK_MESSAGE(out.find(row) != std::string::npos, out);
    CHECK(out.find("first token") == std::string::npos);  // left out by its 0
    const size_t row = out.find("| pp16");
    CHECK(std::stod(out.substr(out.find('|', row + 1) + 1)) > 0);
  }

  TEST_CASE("vl2 bench -o json: parses, and its rates are units by the median") {
    const json out =
        json::parse(printed({"bench", "-m", small_model(), "-p", "16",  "-n", "4",    "--views", "2",        "--first-token",
                             "100",   "-r", "2",           "-c", "700", "-o", "json", "--ops",   "--shapes", "--start"}));
    std::vector<std::string> names;
    for (const json& row : out["rows"]) {
      names.push_back(row["name"]);
      CHECK(row["least_ms"].get<double>() > 0);
      CHECK(row["least_ms"] <= row["median_ms"]);
      CHECK(row["median_ms"] <= row["most_ms"]);
      if (row["name"] == "pp16")
        CHECK(row["rate"].get<double>() * row["median_ms"].get<double>() == doctest::Approx(16e3));
      CHECK(row["runs"] == (row["name"] == "load" ? 1 : 2));
    }
    CHECK(names == std::vector<std::string>{"load", "pp16", "tg4", "vision 2 views", "first token 100x100", "start"});
    CHECK(out["memory_gb"]["peak"] >= out["memory_gb"]["weights"]);
    CHECK(out["floor"]["read_gb_per_s"] > 0);
    CHECK(out["floor"]["gflop_per_s"] > 0);
    CHECK(out["breakdown_ms"]["start.pipeline_count"] > 10);  // those that this run left on the disk
    for (const char* phase : {"prefill", "decode", "vision"}) {
      double share = 0, count = 0;
      for (const json& op : out["ops"])
        if (op["phase"] == phase) {
          share += op["floor_share"].get<double>() * op["ms"].get<double>();
          count += op["count"].get<double>();
        }
      CHECK(share > 0);
      CHECK(count > 10);
    }
  }

  TEST_CASE("vl2 bench -o csv: every line has the columns of the first") {
    const std::string out = printed({"bench", "-m", small_model(), "-p", "16", "-n", "0", "--views", "0", "--first-token", "0",
                                     "-r", "1", "-c", "64", "-o", "csv"});
    std::istringstream lines(out);
    std::string line, all;
    while (std::getline(lines, line)) {
      CHECK_MESSAGE(std::count(line.begin(), line.end(), ',') == 6, line);
      all += line.substr(0, line.find(',')) + " ";
    }
    CHECK(all == "name load pp16 peak memory planned memory ");
  }

  TEST_CASE("vl2 bench --synthetic: Tiny cut to one layer needs no checkpoint") {
    const json out = json::parse(printed({"bench", "--synthetic", "tiny", "--layers", "1", "-p", "4", "-n", "2", "--views", "0",
                                          "--first-token", "0", "-r", "1", "-o", "json"}));
    CHECK(out["rows"].size() == 2);
    // Embedding and head 129280 x 1280, dense layer 4 x 1280^2 + 3 x 1280 x 6848, encoder block, projector; f16.
    CHECK(out["memory_gb"]["weights"].get<double>() == doctest::Approx(0.78).epsilon(0.03));
  }

  TEST_CASE("vl2 quantize, vl2 inspect: one file of a folder, and what is in both") {
    const TemporaryFolder folder;
    const std::string out = folder / "model.gguf";
    const std::string said = printed({"quantize", small_model(), out, "--type", "Q8_0"});
    CHECK(said.starts_with(out + ": Q8_0, "));
    CHECK(said.find(" bits a weight\n") == said.size() - 15);
    const std::string inside = printed({"inspect", out});
    for (const char* part : {"GGUF version 3", "deepseek2.attention.kv_lora_rank             u32      32\n",
                             "general.architecture                         string   \"deepseek2\"\n",
                             "blk.1.ffn_up_exps.weight     Q8_0    [8, 24, 64]                     13056\n",
                             "v.patch_embd.weight          F16     [144, 3, 14, 14]               169344\n", "\nall "})
      CHECK_MESSAGE(inside.find(part) != std::string::npos, part << " in " << inside);
    const std::string published = printed({"inspect", small_model()});
    CHECK(published.find("language.model.layers.1.mlp.gate.weight ") != std::string::npos);
    CHECK(published.find("\nBF16 ") != std::string::npos);

    // Again from its own file: less is silent, more is said.
    printed({"quantize", out, folder / "less.gguf", "--type", "Q4_0", "--threads", "1"});
    const ProgramResult more = run_program({"quantize", out, folder / "more.gguf", "--type", "F16"});
    CHECK(more.exit_status == 0);
    CHECK(more.err == "vl2: warning: " + out +
                          " was quantised before: token_embd.weight from Q8_0 to F16 takes room and brings nothing back\n");
    printed({"quantize", out, folder / "more.gguf", "--type", "F16", "--quiet"});
  }
}
