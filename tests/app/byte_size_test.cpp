#include "app/byte_size.h"

#include <doctest/doctest.h>

using namespace vl2;

TEST_SUITE("cpu") {
  TEST_CASE("byte_size: what people type for a card's memory") {
    const std::pair<const char*, uint64_t> good[] = {
        {"512M", 536870912},   {"8G", 8589934592},   {"8GiB", 8589934592},       {"8gib", 8589934592}, {"8 GiB", 8589934592},
        {"8GB", 8000000000},   {"1.5G", 1610612736}, {"8589934592", 8589934592}, {"100B", 100},        {"2k", 2048},
        {"1T", 1099511627776}, {"0.5MB", 500000},    {"24000MiB", 25165824000}};
    for (const auto& [text, bytes] : good) {
      CAPTURE(text);
      const auto parsed = parse_byte_size(text, "--vram");
      REQUIRE(parsed.ok());
      CHECK(*parsed == bytes);
    }
  }

  TEST_CASE("byte_size: anything else is one line") {
    for (const char* text : {"", "G", "8X", "8Gi", "8GBs", "-8G", "+8G", "0", "0.1", "8,5G", "8  G", "nan", "inf", "1e3", " 8G",
                             "8G ", "99999999T", "1e999", ".5G"}) {
      CAPTURE(text);
      const auto parsed = parse_byte_size(text, "--vram");
      REQUIRE(parsed.code() == Code::BadArgument);
      CHECK(parsed.message() == "--vram: got \"" + std::string(text) + "\", wanted a size like 512M, 8G or 8000000000");
    }
  }
}
