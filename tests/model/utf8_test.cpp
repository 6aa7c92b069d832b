#include "model/utf8.h"

#include <doctest/doctest.h>

namespace vl2 {

TEST_SUITE("cpu") {
  TEST_CASE("utf8: every code point goes through and back") {
    for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
      if (code_point >= 0xD800 && code_point < 0xE000)
        continue;
      std::string text;
      append_utf8(text, code_point);
      const Utf8Step step = utf8_step(text);
      REQUIRE((step.valid && step.code_point == code_point && step.bytes == text.size()));
    }
  }

  TEST_CASE("utf8: ill-formed bytes are found where they begin") {
    CHECK(find_invalid_utf8("") == std::string_view::npos);
    CHECK(find_invalid_utf8("aé是😀") == std::string_view::npos);
    CHECK(find_invalid_utf8("ab\x80") == 2);            // a continuation alone
    CHECK(find_invalid_utf8("a\xC0\x80") == 1);         // overlong
    CHECK(find_invalid_utf8("\xE0\x9F\xBF") == 0);      // overlong
    CHECK(find_invalid_utf8("\xED\xA0\x80") == 0);      // a surrogate
    CHECK(find_invalid_utf8("\xF4\x90\x80\x80") == 0);  // beyond 10FFFF
    CHECK(find_invalid_utf8("x\xE6\x98") == 1);         // cut off
    CHECK(find_invalid_utf8("\xFF") == 0);
  }

  TEST_CASE("utf8: each longest start of a character becomes one replacement") {
    // The example of the Unicode Standard, table 3-8, and two more.
    CHECK(repair_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                      "b\x80"
                      "c\x80\xBF"
                      "d") == "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
    CHECK(repair_utf8("\xE6\x98") == "\uFFFD");
    CHECK(repair_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
    CHECK(repair_utf8("aé是😀") == "aé是😀");
  }
}

}  // namespace vl2
