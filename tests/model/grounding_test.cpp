#include "model/grounding.h"

#include <doctest/doctest.h>
#include <random>

using namespace vl2;

namespace {

using Four = std::array<uint32_t, 4>;
using Lines = std::vector<std::string>;

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("grounding: one label with one box") {
    const auto got = parse_grounding("<|ref|>The giraffe at the back.<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>", 658, 621);
    CHECK(got.problems.empty());
    REQUIRE(got.boxes.size() == 1);
    CHECK(got.boxes[0].label == "The giraffe at the back.");
    CHECK(got.boxes[0].box == Four{580, 270, 999, 900});
    CHECK(got.boxes[0].pixels == Four{382, 167, 658, 559});  // 382.02, 167.8, 658, 559.46
    CHECK(got.text == "The giraffe at the back.");
  }

  TEST_CASE("grounding: one label with several boxes, with and without spaces") {
    const auto got =
        parse_grounding("<|ref|>Watermelon slices<|/ref|><|det|>[[0,0,1,2], [ 3 , 4,5,6],[7, 8, 9, 10]]<|/det|>", 999, 999);
    CHECK(got.problems.empty());
    REQUIRE(got.boxes.size() == 3);
    CHECK(got.boxes[0].box == Four{0, 0, 1, 2});
    CHECK(got.boxes[1].box == Four{3, 4, 5, 6});
    CHECK(got.boxes[2].box == Four{7, 8, 9, 10});
    for (const auto& box : got.boxes) {
      CHECK(box.label == "Watermelon slices");
      CHECK(box.pixels == box.box);
    }
  }

  TEST_CASE("grounding: a grounded conversation keeps its words") {
    const auto got = parse_grounding(
        "<|grounding|>Put it into <|ref|>the blue can<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>, then "
        "close\n<|ref|>淡定姐<|/ref|><|det|>[[5, "
        "6, 7, 8]]<|/det|>.",
        1998, 3996);
    CHECK(got.problems.empty());
    CHECK(got.text == "Put it into the blue can, then close\n淡定姐.");
    REQUIRE(got.boxes.size() == 2);
    CHECK(got.boxes[0].pixels == Four{2, 8, 6, 16});
    CHECK(got.boxes[1].label == "淡定姐");
    CHECK(got.boxes[1].pixels == Four{10, 24, 14, 32});
  }

  TEST_CASE("grounding: pixels are truncated, in the order of Python's operations") {
    // By Python: [int(v / 999 * s) for ...]. 333 / 999 * 3 is 1.0 and 37 / 999 * 27 is 1.0; 500 / 999 * 1000 is 500.5.
    CHECK(parse_grounding("<|ref|>a<|/ref|><|det|>[[333, 37, 500, 998]]<|/det|>", 3, 27).boxes.at(0).pixels == Four{1, 1, 1, 26});
    CHECK(parse_grounding("<|ref|>a<|/ref|><|det|>[[0, 0, 500, 999]]<|/det|>", 1000, 4294967295u).boxes.at(0).pixels ==
          Four{0, 0, 500, 4294967295u});
  }

  TEST_CASE("grounding: plain text has no boxes and no problems") {
    const auto got = parse_grounding("No boxes [[1, 2, 3, 4]] here, <b>or</b> <|there|>.", 10, 10);
    CHECK(got.boxes.empty());
    CHECK(got.problems.empty());
    CHECK(got.text == "No boxes [[1, 2, 3, 4]] here, <b>or</b> <|there|>.");
    CHECK(parse_grounding("", 0, 0).text.empty());
  }

  TEST_CASE("grounding: as many labels as lists are paired in their order, as the reference does") {
    const auto got =
        parse_grounding("<|ref|>a<|/ref|><|ref|>b<|/ref|><|det|>[[1, 1, 1, 1]]<|/det|><|det|>[[2, 2, 2, 2]]<|/det|>", 999, 999);
    CHECK(got.problems.empty());
    REQUIRE(got.boxes.size() == 2);
    CHECK(got.boxes[0].label == "a");
    CHECK(got.boxes[0].box == Four{1, 1, 1, 1});
    CHECK(got.boxes[1].label == "b");
    CHECK(got.boxes[1].box == Four{2, 2, 2, 2});
  }

  TEST_CASE("grounding: a label too many leaves the others their boxes") {
    const auto got = parse_grounding("<|ref|>a<|/ref|> and <|ref|>b<|/ref|><|det|>[[2, 2, 2, 2]]<|/det|>", 999, 999);
    REQUIRE(got.boxes.size() == 1);
    CHECK(got.boxes[0].label == "b");
    CHECK(got.problems == Lines{"byte 1: <|ref|> without a <|det|> of its own"});
    CHECK(got.text == "a and b");
  }

  TEST_CASE("grounding: a list too many is reported") {
    const std::string first = "<|det|>[[1, 1, 1, 1]]<|/det|>", pair = "<|ref|>b<|/ref|><|det|>[[2, 2, 2, 2]]<|/det|>";
    const auto got = parse_grounding(first + pair + "<|det|>[[3, 3, 3, 3]]<|/det|>", 999, 999);
    REQUIRE(got.boxes.size() == 1);
    CHECK(got.boxes[0].box == Four{2, 2, 2, 2});
    CHECK(got.problems == Lines{"byte 1: <|det|> without a <|ref|> before it", "byte 75: <|det|> without a <|ref|> before it"});
  }

  TEST_CASE("grounding: says what of a list it could not read, and takes none of it") {
    const struct {
      const char* list;
      size_t byte;  // of the list, from 1, that could not follow
    } unreadable[] = {{"", 1},
                      {"[]", 2},
                      {"[[]]", 3},
                      {"[1, 2, 3, 4]", 2},
                      {"[[1, 2, 3]]", 10},
                      {"[[1, 2, 3, 4, 5]]", 13},
                      {"[[1, 2, 3, 4]", 14},
                      {"[[1, 2, 3, 4]] x", 16},
                      {"[[1, 2, 3, 4], [5, 6", 21},
                      {"[[1, 2, 3, 4], ]", 16},
                      {"[[-1, 2, 3, 4]]", 3},
                      {"[[1.5, 2, 3, 4]]", 4}};
    const std::string before = "<|ref|>a<|/ref|><|det|>", after = "<|/det|>";
    for (const auto& row : unreadable) {
      const std::string list = row.list;
      CAPTURE(list);
      const auto got = parse_grounding(before + list + after, 999, 999);
      CHECK(got.boxes.empty());
      REQUIRE(got.problems.size() == 1);
      CHECK(got.problems[0] ==
            "byte " + std::to_string(before.size() + row.byte) + ": wanted [[x1, y1, x2, y2], ..] between <|det|> and <|/det|>");
      CHECK(got.text == "a");
    }
    const struct {
      const char *list, *problem;
    } unusable[] = {{"[[1000, 2, 3, 4]]", "byte 17: a box reaches over 999"},
                    {"[[1, 2, 3, 4294967297]]", "byte 17: a box reaches over 999"},
                    {"[[1, 2, 99999999999999999999999999, 4]]", "byte 17: a box reaches over 999"},
                    {"[[5, 2, 4, 4]]", "byte 17: the box [5, 2, 4, 4] ends before it starts"},
                    {"[[1, 9, 4, 8]]", "byte 17: the box [1, 9, 4, 8] ends before it starts"}};
    for (const auto& row : unusable) {
      const auto got = parse_grounding(before + row.list + after, 999, 999);
      CHECK(got.boxes.empty());
      REQUIRE(got.problems.size() == 1);
      CHECK(got.problems[0] == row.problem);
    }
  }

  TEST_CASE("grounding: an answer cut short keeps its whole boxes and its words") {
    const std::string whole =
        "<|ref|>a b<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|> and <|ref|>c<|/ref|><|det|>[[5, 6, 7, 8], [9, 10, 11";
    const auto got = parse_grounding(whole, 999, 999);
    REQUIRE(got.boxes.size() == 1);
    CHECK(got.boxes[0].box == Four{1, 2, 3, 4});
    CHECK(got.text == "a b and c");
    CHECK(got.problems == Lines{"byte 69: <|det|> is not closed on its line", "byte 53: <|ref|> without a <|det|> of its own"});
    for (size_t length = 0; length < whole.size(); ++length)
      CHECK(parse_grounding(whole.substr(0, length), 999, 999).boxes.size() == (length < 47 ? 0 : 1));
  }

  TEST_CASE("grounding: neither labels nor lists reach over a line or another tag") {
    CHECK(parse_grounding("<|ref|>a\nb<|/ref|>", 9, 9).problems ==
          Lines{"byte 1: <|ref|> is not closed on its line", "byte 11: <|/ref|> closes nothing"});
    CHECK(parse_grounding("<|ref|>a\nb<|/ref|>", 9, 9).text == "a\nb");
    const auto list = parse_grounding("<|ref|>a<|/ref|><|det|>[[1, 2,\n3, 4]]<|/det|>", 9, 9);
    CHECK(list.boxes.empty());
    CHECK(list.text == "a\n3, 4]]");
    const auto nested = parse_grounding("<|ref|>a<|ref|>b<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>", 999, 999);
    REQUIRE(nested.boxes.size() == 1);
    CHECK(nested.boxes[0].label == "b");
    CHECK(nested.problems == Lines{"byte 1: <|ref|> is not closed on its line"});
    CHECK(parse_grounding("<|/det|>x", 9, 9).problems == Lines{"byte 1: <|/det|> closes nothing"});
  }

  TEST_CASE("grounding: survives any order of its pieces") {
    const std::vector<std::string> pieces = {
        "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>",           "<|grounding|>", "[[1, 2, 3, 4]]", "[", "]", ",", "\n",
        "7",       "<|",       "a",       std::string(1, '\0'), "\xff"};
    std::mt19937 random(1);
    size_t boxes = 0, problems = 0;
    for (int round = 0; round < 20000; ++round) {
      std::string text;
      for (int i = 0; i < 12; ++i)
        text += pieces[random() % pieces.size()];
      const auto got = parse_grounding(text, 100, 100);
      boxes += got.boxes.size();
      problems += got.problems.size();
      for (const auto& box : got.boxes)
        CHECK(box.box == Four{1, 2, 3, 4});
      for (const auto& line : got.problems)
        CHECK(line.find('\n') == std::string::npos);
      CHECK(got.text.size() <= text.size());
    }
    CHECK(boxes > 0);
    CHECK(problems > 20000);
  }

  TEST_CASE("grounding: a million tags take a moment, not an hour") {
    std::string text;
    for (int i = 0; i < 250000; ++i)
      text += "<|ref|><|ref|>a<|/ref|><|det|>";
    CHECK(parse_grounding(text, 9, 9).boxes.empty());
  }
}
