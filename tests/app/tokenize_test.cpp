#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "app/commands/commands.h"
#include "tests/support/paths.h"
#include "tests/support/v3_tokenizer.h"

namespace vl2 {

namespace {

// A folder that holds nothing but a small tokenizer.json, and what the command makes of a text on stdin.
class TokenizeTest {
 public:
  TokenizeTest() {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ + "/tokenizer.json") << small_tokenizer_json(v3_pre_tokenizer(), {"a b"}, {"<|User|>"});
  }
  ~TokenizeTest() { std::filesystem::remove_all(folder_); }

  Status run(TokenizeOptions options, const std::string& input) {
    options.model = folder_;
    std::istringstream in(input);
    std::ostringstream out;
    auto* const old_in = std::cin.rdbuf(in.rdbuf());
    auto* const old_out = std::cout.rdbuf(out.rdbuf());
    std::cin.clear();
    const Status status = tokenize_command(options);
    std::cin.rdbuf(old_in);
    std::cin.clear();
    std::cout.rdbuf(old_out);
    output = out.str();
    return status;
  }

  std::string output;

 private:
  std::string folder_ = binary_dir() + "/tokenize_test";
};

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE_FIXTURE(TokenizeTest, "tokenize: JSON strings to ids and back, a line each") {
    CHECK(run({.jsonl = true}, "\"ab<|User|>\"\n\"\"\n\"\\n\"").ok());
    CHECK(output == "[256, 60, 124, 85, 115, 101, 114, 124, 62]\n[]\n[10]\n");
    CHECK(run({.jsonl = true, .special = true}, "\"ab<|User|>\"\n").ok());
    CHECK(output == "[256, 257]\n");
    CHECK(run({.jsonl = true, .decode = true}, "[256, 257, 10]\n[]\n[195]\n").ok());
    CHECK(output == "\"ab\\n\"\n\"\"\n\"\uFFFD\"\n");
    CHECK(run({.jsonl = true, .decode = true, .special = true}, "[256, 257]\n").ok());
    CHECK(output == "\"ab<|User|>\"\n");
  }

  TEST_CASE_FIXTURE(TokenizeTest, "tokenize: a whole text to ids and back") {
    CHECK(run({}, "ab\nab").ok());
    CHECK(output == "256 10 256\n");
    CHECK(run({.decode = true}, "256 10\n256").ok());
    CHECK(output == "ab\nab");
  }

  TEST_CASE_FIXTURE(TokenizeTest, "tokenize: a line that cannot be read is named; those before it are written") {
    const auto refusal = [&](const TokenizeOptions& options, const std::string& input) {
      const Status status = run(options, input);
      CHECK(!status.ok());
      return status.message();
    };
    CHECK(refusal({.jsonl = true}, "\"a\"\n3\n") == "tokenize: line 2: got integer, wanted a JSON string");
    CHECK(output == "[97]\n");
    CHECK(refusal({.jsonl = true}, "nope\n") == "tokenize: line 1: JSON: not JSON at line 1, column 2");
    CHECK(refusal({.jsonl = true, .decode = true}, "[1, -1]") == "tokenize: line 1: got the id -1, wanted 0 to 257");
    CHECK(refusal({.jsonl = true, .decode = true}, "[1.5]") == "tokenize: line 1: got number in the array, wanted integer");
    CHECK(refusal({.jsonl = true, .decode = true}, "\"a\"") == "tokenize: line 1: got string, wanted a JSON array of ids");
    CHECK(refusal({.decode = true}, "1 2 x") == "tokenize: something after 2 ids is no whole number");
    CHECK(refusal({}, "a\xFF") == "tokenizer: byte 1 of the text is not UTF-8");
    CHECK(refusal({.jsonl = true}, "\"a\xFF\"").find("tokenize: line 1: JSON: not JSON") == 0);
  }
}

}  // namespace vl2
