// The built program on GGUF files of the demo model: everywhere a folder goes; what a file without an encoder says to pictures.
#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/npy.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

namespace {

using Words = std::vector<std::string>;

const std::string kPico = source_dir() + "/app/demo/pico", kPictures = source_dir() + "/app/demo/pictures/";

std::string printed(const Words& arguments, const std::string& input = "") {
  const ProgramResult result = run_program(arguments, {.environment = {}, .input = input});
  CHECK_MESSAGE(result.exit_status == 0, result.err);
  CHECK_MESSAGE(result.err.empty(), result.err);
  return result.out;
}

std::string refused(const Words& arguments) {
  const ProgramResult result = run_program(arguments);
  CHECK(result.exit_status == 2);
  CHECK(result.out.empty());
  return result.err;
}

std::string quantized(const TemporaryFolder& folder, const std::string& type, const Words& more = {}) {
  const std::string path = folder / (type + (more.empty() ? "" : "_text") + ".gguf");
  Words words = {"quantize", kPico, path, "--type", type};
  words.insert(words.end(), more.begin(), more.end());
  printed(words);
  return path;
}

// The logits of all of some fixed ids, and the greedy ids after them.
std::string logits(const TemporaryFolder& folder, const Words& model) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i)
    ids.push_back(3 + i * 37 % 600);
  const std::string ids_path = folder / "ids.npy", out = folder / "logits.npy", greedy = folder / "greedy.npy";
  const uint64_t shape[] = {ids.size()};
  REQUIRE(write_npy(ids_path, NpyDType::I32, shape, std::as_bytes(std::span(ids))).ok());
  Words words = {"logits",   "--ids", ids_path,       "--out", out,  "--last", "40",
                 "--greedy", "8",     "--greedy-out", greedy,  "-c", "64",     "-m"};
  words.insert(words.end(), model.begin(), model.end());
  printed(words);
  return read_file(out) + read_file(greedy);
}

struct Question {
  Words images;
  std::string question, answer;
};

std::vector<Question> demo_questions() {
  std::ifstream file(kPictures + "questions.tsv");
  std::vector<Question> questions;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream columns(line);
    std::string images;
    Question question;
    std::getline(columns, images, '\t');
    std::getline(columns, question.question, '\t');
    std::getline(columns, question.answer);
    if (images.empty() || images[0] == '#' || images == "images")
      continue;
    std::istringstream names(images);
    for (std::string name; std::getline(names, name, ',');)
      question.images.push_back(kPictures + name);
    questions.push_back(question);
  }
  REQUIRE(questions.size() >= 4);
  return questions;
}

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("vl2 -m file.gguf: pico at F16 gives the folder's logits, ids, features and tokens, bit for bit") {
    const TemporaryFolder folder;
    const std::string file = quantized(folder, "F16");
    const std::string published = logits(folder, {kPico});
    CHECK(logits(folder, {file}) == published);
    for (const std::string& model : {kPico, file})
      printed({"features", "-m", model, "--image", kPictures + "form.png", "-c", "1024", "--out",
               folder / (model == file ? "b" : "a")});
    for (const char* name : {"vision_0.npy", "projector_0.npy", "sequence_0.npy"})
      CHECK_MESSAGE(read_file(folder / "a/" + name) == read_file(folder / "b/" + name), name);
    const Words tokenize = {"tokenize", "--jsonl", "--special", "-m"};
    const std::string text = "\"The total is $641.56<image>\\n\"\n";
    Words a = tokenize, b = tokenize;
    a.push_back(kPico);
    b.push_back(file);
    CHECK(printed(a, text) == printed(b, text));
    const json rows = json::parse(printed({"bench", "-m", file, "-p", "8", "-n", "0", "--views", "2", "--first-token", "0", "-r",
                                           "1", "-c", "64", "-o", "json", "--start"}))["rows"];
    CHECK(rows.size() == 4);  // load, pp8, vision, start
  }

  TEST_CASE("vl2 chat -m file.gguf: pico at Q8_0 answers the demo's questions as it should") {
    const TemporaryFolder folder;
    const std::string file = quantized(folder, "Q8_0");
    std::string input, wanted;  // one start for all of them; after /clear an answer is, to the bit, that of a new one
    for (const Question& question : demo_questions()) {
      for (const std::string& image : question.images)
        input += "/image " + image + "\n";
      input += question.question + "\n/clear\n";
      wanted += question.answer + "\n";
    }
    CHECK(printed({"chat", "-m", file, "-q"}, input) == wanted);
  }

  TEST_CASE("vl2 --type: quantized while loading is what the file of that type gives, bit for bit") {
    const TemporaryFolder folder;
    const std::string f16 = logits(folder, {kPico});
    for (const char* type : {"Q8_0", "Q4_K_M"}) {
      CAPTURE(type);
      const std::string file = quantized(folder, type);
      const std::string at_load = logits(folder, {kPico, "--type", type});
      CHECK(at_load == logits(folder, {file}));
      CHECK(at_load != f16);
    }
    CHECK(refused({"run", "-m", kPico, "-p", "x", "--type", "Q9"}).starts_with("vl2: --type Q9: wanted one of F32, F16, "));
  }

  TEST_CASE("vl2 -m text_only.gguf: the same text, and one line to pictures") {
    const TemporaryFolder folder;
    const std::string file = quantized(folder, "F16", {"--text-only"});
    const std::string published = logits(folder, {kPico});
    CHECK(logits(folder, {file}) == published);  // kv_b is put together again
    const std::string picture = kPictures + "form.png",
                      wanted = "vl2: " + file + ": picture: this model file is text-only, it holds no vision encoder\n";
    CHECK(refused({"run", "-m", file, "--image", picture, "-p", "What is it?"}) == wanted);
    CHECK(refused({"features", "-m", file, "--image", picture, "--out", folder / "out"}) == wanted);

    const ProgramResult bench = run_program({"bench", "-m", file, "-p", "8", "-n", "0", "-r", "1", "-c", "64"});
    CHECK(bench.exit_status == 0);
    CHECK(bench.err == "vl2: note: " + file + " is text-only: no rows with pictures\n");
    CHECK(bench.out.find("| pp8 ") != std::string::npos);
    CHECK(bench.out.find("| vision ") == std::string::npos);

    // Quantised further it stays text-only without being told; kv_b is whole again, as our loader likes it.
    const std::string less = folder / "less.gguf";
    printed({"quantize", file, less, "--type", "F16"});
    CHECK(logits(folder, {less}) == published);
    CHECK(printed({"inspect", less}).find("blk.0.attn_kv_b.weight") != std::string::npos);
  }
}
