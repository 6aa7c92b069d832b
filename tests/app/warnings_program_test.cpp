// What run, chat and batch say of answers that repeat themselves and of text that is too small.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "app/image_file.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

namespace {

using Words = std::vector<std::string>;

const std::string kPico = source_dir() + "/app/demo/pico";

// A page of receipts that the resize makes half as large.
std::string write_receipts(const std::string& path) {
  const auto one = read_image_file(source_dir() + "/app/demo/pictures/receipt.png");
  REQUIRE(one.ok());
  Image sheet{one->width * 6, one->height * 6, {}};
  for (size_t y = 0; y < sheet.height; ++y)
    for (size_t across = 0; across < 6; ++across) {
      const auto row = one->rgb.begin() + static_cast<std::ptrdiff_t>(y % one->height * one->width * 3);
      sheet.rgb.insert(sheet.rgb.end(), row, row + static_cast<std::ptrdiff_t>(size_t{one->width} * 3));
    }
  REQUIRE(write_png(path, sheet).ok());
  return path;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++found;
  return found;
}

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("vl2 run: an answer that repeats itself is ended and says so, unless it may go on") {
    const Words base = {"run", "-m", kPico, "-p", "Hello", "-n", "450", "--json"};  // of nothing it says one token for ever
    const auto with = [&](const Words& more) {
      Words words = base;
      words.insert(words.end(), more.begin(), more.end());
      const ProgramResult result = run_program(words);
      REQUIRE_MESSAGE(result.exit_status == 0, result.err);
      return result;
    };
    const ProgramResult ended = with({});
    const json answer = json::parse(ended.out);
    CHECK(answer["stop"] == "loop");
    CHECK(answer["answer_tokens"].get<int>() >= 384);
    CHECK(answer["answer_tokens"].get<int>() < 450);
    REQUIRE(answer["notes"].size() == 1);
    CHECK(ended.err == "vl2: warning: " + answer["notes"][0].get<std::string>() + "\n");
    CHECK(ended.err.find("--no-loop-guard") != std::string::npos);
    CHECK(with({"-q"}).err.empty());
    const json free = json::parse(with({"--no-loop-guard"}).out);
    CHECK(free["stop"] == "max_tokens");
    CHECK(free["answer_tokens"] == 450);
    CHECK(free["notes"] == json::array());
  }

  TEST_CASE("vl2 run, batch: text that the resize makes too small is said once a picture; not of a picture that is fine") {
    const TemporaryFolder folder;
    const std::string receipts = write_receipts(folder / "receipts.png"),
                      receipt = source_dir() + "/app/demo/pictures/receipt.png";
    const auto run = [&](const Words& pictures, const Words& more) {
      Words words = {"run", "-m", kPico, "-p", "What is the total?", "-n", "1", "--json"};
      for (const std::string& picture : pictures)
        words.insert(words.end(), {"--image", picture});
      words.insert(words.end(), more.begin(), more.end());
      const ProgramResult result = run_program(words);
      REQUIRE_MESSAGE(result.exit_status == 0, result.err);
      return result;
    };
    const ProgramResult both = run({receipt, receipts}, {"--tiles", "4"});
    CHECK(count(both.err, "\n") == 1);
    CHECK(both.err.starts_with("vl2: warning: " + receipts + ": about "));
    CHECK(json::parse(both.out)["notes"].size() == 1);
    const ProgramResult quiet = run({receipts}, {"-q", "--tiles", "2"});
    CHECK(quiet.err.empty());
    CHECK(json::parse(quiet.out)["notes"].size() == 1);

    const ProgramResult batch = run_program(
        {"batch", "-m", kPico, "-p", "What is the total?", "-n", "1", "--format", "jsonl", "--tiles", "2", receipt, receipts});
    REQUIRE_MESSAGE(batch.exit_status == 0, batch.err);
    CHECK(batch.err.starts_with("vl2: warning: " + receipts + ": about "));
    CHECK(count(batch.err, "\n") == 1);
    const size_t end = batch.out.find('\n');
    CHECK_FALSE(json::parse(batch.out.substr(0, end)).contains("notes"));
    CHECK(json::parse(batch.out.substr(end))["notes"].size() == 1);
  }
}
