// `vl2 plan` and --vram, as a user meets them.
#include <doctest/doctest.h>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

namespace {

using Words = std::vector<std::string>;

const std::string kPico = source_dir() + "/app/demo/pico";
const std::string kPicture = source_dir() + "/app/demo/pictures/form.png";

json plan_of(Words words) {
  words.insert(words.begin(), "plan");
  words.push_back("--json");
  const ProgramResult result = run_program(words);
  REQUIRE_MESSAGE(result.exit_status == 0, result.err);
  return json::parse(result.out);
}

std::string refused(const Words& words) {
  const ProgramResult result = run_program(words);
  CHECK(result.exit_status == 2);
  CHECK_MESSAGE(result.out.empty(), result.out);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  return result.err;
}

}  // namespace

TEST_SUITE_BEGIN("program");

TEST_CASE("vl2 plan: what a model needs, without its weights being there to read") {
  // The header and the right size, but not a byte of the tensors: a file with a hole.
  const TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(kPico)) {
    const std::string name = entry.path().filename().string(), bytes = read_file(entry.path().string());
    if (!name.ends_with(".safetensors")) {
      write_file(folder / name, bytes);
      continue;
    }
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    write_file(folder / name, bytes.substr(0, 8 + header));
    std::filesystem::resize_file(folder / name, bytes.size());
  }
  const json whole = plan_of({"-m", kPico, "-c", "2048"}), hollow = plan_of({"-m", folder.path(), "-c", "2048"});
  CHECK(hollow["bytes"] == whole["bytes"]);
  uint64_t sum = 0;
  for (const auto& [name, bytes] : whole["bytes"].items())
    sum += bytes.get<uint64_t>();
  CHECK(whole["needed_bytes"] == sum);
  CHECK(whole["context"] == 2048);
  CHECK(whole["fits"] == true);
  CHECK(whole["ways_out"].empty());
  // 6 layers of 128 + 32 latents: by half a context, half the cache; weights as they were.
  const json half = plan_of({"-m", kPico, "-c", "1024", "--no-pictures"});
  CHECK(whole["bytes"]["cache"].get<uint64_t>() % (2048ull * 6 * 160) == 0);
  CHECK(half["bytes"]["cache"].get<uint64_t>() * 2 == whole["bytes"]["cache"].get<uint64_t>());
  CHECK(half["bytes"]["experts"] == whole["bytes"]["experts"]);
  CHECK(half["bytes"]["pictures"] == 0);
  // In 8 bits the same in bytes, and 3 words of scales a row, for 5 blocks of 32.
  const json q8 = plan_of({"-m", kPico, "-c", "1024", "--no-pictures", "--cache-type", "q8_0"});
  CHECK(q8["bytes"]["cache"] == 6ull * 1024 * (160 + 3 * 4));
  CHECK(q8["cache_type"] == "q8_0");
  const json twins = plan_of({"-m", kPico, "-c", "1024", "--no-pictures", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0"});
  CHECK(twins["bytes"] == q8["bytes"]);  // not all of it: what is free changes from one moment to the next
  CHECK(twins["cache_type"] == "q8_0");
  const json f16 = plan_of({"-m", kPico, "-c", "1024", "--no-pictures", "--cache-type", "f16"});
  CHECK(f16["bytes"] == half["bytes"]);
  CHECK(f16["cache_type"] == half["cache_type"]);
}

TEST_CASE("vl2 plan: against --vram it says what would fit, and that is what the next plan says") {
  const json no = plan_of({"-m", kPico, "--no-pictures", "--vram", "60M", "--no-expert-cache"});
  CHECK(no["available_bytes"] == 62914560);
  REQUIRE(no["fits"] == false);
  REQUIRE(!no["ways_out"].empty());
  for (const json& way : no["ways_out"]) {
    const std::string change = way["change"];
    CAPTURE(change);
    if (change.starts_with("a smaller model") || change == "without --no-expert-cache")
      continue;
    Words words = {"-m", kPico, "--no-pictures", "--vram", "60M", "--no-expert-cache"};
    std::istringstream parts(change);
    for (std::string word; parts >> word;)
      if (word != "with")
        words.push_back(word);
    const json yes = plan_of(words);
    CHECK(yes["fits"] == true);
    CHECK(yes["needed_bytes"] == way["needed_bytes"]);
  }
  const ProgramResult table = run_program({"plan", "-m", kPico, "--vram", "60M", "--no-pictures", "--no-expert-cache"});
  CHECK(table.exit_status == 0);
  CHECK(table.out.find("62914560     62.9 MB  does not fit\nwould fit: ") != std::string::npos);
}

TEST_CASE("vl2 plan: the published shapes, in a type as well") {
  const json tiny = plan_of({"--synthetic", "tiny", "--image-size", "1152x1152", "--vram", "80G"});
  CHECK(tiny["bytes"]["experts"] == 11ull * 64 * 3 * 896 * 1280 * 2);
  CHECK(tiny["views"] == 10);
  CHECK(tiny["fits"] == true);
  const json one = plan_of({"--synthetic", "tiny", "--image-size", "1152x1152", "--vram", "80G", "--tiles", "1"});
  CHECK(one["views"] == 1);
  CHECK(one["bytes"]["pictures"].get<uint64_t>() * 3 < tiny["bytes"]["pictures"].get<uint64_t>());
  const json mixed = plan_of({"--synthetic", "tiny", "--layers", "3", "--type", "Q4_K_M", "--no-pictures"});
  CHECK(mixed["bytes"]["experts"] == 2ull * 64 * 3 * 896 * 1280 * 9 / 16);  // Q4_K, and Q4_0 where a row is 896: 4.5 bits both
}

TEST_CASE("vl2 --vram: a model that does not fit is refused with what would, one that does answers") {
  const std::string line = refused({"run", "-m", kPico, "--image", kPicture, "-p", "What is the name?", "--vram", "50M"});
  CHECK_MESSAGE(line.starts_with("vl2: " + kPico + ": needs "), line);
  CHECK_MESSAGE(line.find("; what would fit: ") != std::string::npos, line);
  const ProgramResult answer = run_program(
      {"run", "-m", kPico, "--image", kPicture, "-p", "What is the name?", "-c", "1024", "-n", "2", "--vram", "1GiB"});
  CHECK_MESSAGE(answer.exit_status == 0, answer.err);
}

TEST_CASE("vl2 --ram: experts that host memory does not hold come from the file, with the same answer") {
  const uint64_t needed = plan_of({"-m", kPico, "--no-pictures", "-c", "512"})["needed_bytes"];
  const std::string vram = std::to_string(needed - (2 << 20));
  const json plan = plan_of({"-m", kPico, "--no-pictures", "-c", "512", "--vram", vram, "--ram", "3M"});
  CHECK(plan["fits"] == true);
  CHECK(plan["file_weight_bytes"] == 5ull * 8 * 3 * 160 * 256 * 2);
  CHECK(plan["host_weight_bytes"] <= 3 << 20);
  const Words run = {"run", "-m", kPico, "-c", "512", "-p", "Who?", "-n", "8"};
  const auto answer = [&](std::initializer_list<std::string> more) {
    Words words = run;
    words.insert(words.end(), more);
    return run_program(words);
  };
  const ProgramResult resident = answer({}), from_file = answer({"--vram", vram, "--ram", "3M"});
  CHECK_MESSAGE(from_file.exit_status == 0, from_file.err);
  CHECK(from_file.out == resident.out);
  CHECK_MESSAGE(from_file.err.find("that are in the file (9.8 MB), behind a window of ") != std::string::npos, from_file.err);
  Words narrow = run;
  narrow.insert(narrow.end(), {"--vram", vram, "--ram", "300K"});
  const std::string line = refused(narrow);
  CHECK_MESSAGE(line.find(": experts in the file: a window of 307200 bytes of host memory holds 1 experts") != std::string::npos,
                line);
}

TEST_CASE("vl2 plan: bad input is one line") {
  CHECK(refused({"plan"}) == "vl2: plan: wanted either a model (-m) or --synthetic tiny, small or base\n");
  CHECK(refused({"plan", "-m", kPico, "--synthetic", "tiny"}).starts_with("vl2: plan: wanted either"));
  CHECK(refused({"plan", "--synthetic", "huge"}) == "vl2: --synthetic huge: wanted tiny, small or base\n");
  CHECK(refused({"plan", "-m", kPico, "--layers", "2"}) == "vl2: plan: --layers cuts the models of --synthetic only\n");
  CHECK(refused({"plan", "-m", kPico, "-c", "4097"}) == "vl2: context: got 4097 tokens, this model holds at most 4096\n");
  for (const char* size : {"8X", "", "-1", "0", "8,5G"})
    CHECK(refused({"plan", "-m", kPico, std::string("--vram=") + size}).find("--vram") != std::string::npos);
  for (const char* size : {"12", "12x", "x12", "12x13x14", "-1x5", "99999999999x1"})
    CHECK(refused({"plan", "-m", kPico, std::string("--image-size=") + size}) ==
          "vl2: plan: --image-size " + std::string(size) + ": wanted WIDTHxHEIGHT, 4000x3000 for example\n");
  CHECK(refused({"plan", "-m", kPico, "--image-size", "0x5"}).find("picture: 0 x 5") != std::string::npos);
  CHECK(refused({"plan", "-m", kPico, "--image-size", "5x5", "--no-pictures"}).find("wanted one of them") != std::string::npos);
  CHECK(refused({"plan", "-m", kPico, "--type", "Q9"}).starts_with("vl2: --type Q9: wanted one of "));
  for (const char* command : {"plan", "run"}) {
    std::vector<std::string> words = {command, "-m", kPico};
    if (std::string(command) == "run")
      words.insert(words.end(), {"-p", "x"});
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), words.begin(), words.end());
      return refused(more);
    };
    CHECK(with({"--cache-type", "q4_0"}) == "vl2: --cache-type: got \"q4_0\", wanted f16 or q8_0\n");
    CHECK(with({"--cache-type-k", "q8_0"}) ==
          "vl2: --cache-type-k and --cache-type-v: got \"q8_0\" and \"\", wanted the same for both, which --cache-type says at "
          "once\n");
    CHECK(with({"--cache-type-k", "q8_0", "--cache-type-v", "f16"}).find("wanted the same for both") != std::string::npos);
    CHECK(with({"--cache-type-k", "f16", "--cache-type-v", "f16", "--cache-type", "q8_0"}).find("wanted one of them") !=
          std::string::npos);
  }
  CHECK(refused({"plan", "-m", "/nowhere"}).find("/nowhere") != std::string::npos);
  CHECK(refused({"run", "-m", kPico, "-p", "x", "--vram", "8Q"}) ==
        "vl2: --vram: got \"8Q\", wanted a size like 512M, 8G or 8000000000\n");
}

TEST_SUITE_END();
