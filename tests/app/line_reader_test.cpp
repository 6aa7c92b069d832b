#include "app/line_reader.h"

#include <doctest/doctest.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace vl2;

namespace {

// The lines of `bytes`, which come through a pipe in pieces of `piece`.
std::vector<std::string> lines_of(const std::string& bytes, size_t piece) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  std::thread writer([&] {
    for (size_t at = 0; at < bytes.size(); at += piece)
      CHECK(::write(ends[1], bytes.data() + at, std::min(piece, bytes.size() - at)) > 0);
    ::close(ends[1]);
  });
  LineReader reader(ends[0]);
  std::vector<std::string> lines;
  for (;;) {
    auto line = reader.next();
    REQUIRE_MESSAGE(line.ok(), line.message());
    if (!line->has_value())
      break;
    lines.push_back(**line);
  }
  CHECK_FALSE(reader.next()->has_value());  // and stays at the end
  writer.join();
  ::close(ends[0]);
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("line_reader: lines come whole, however their bytes come") {
    for (const size_t piece : {size_t{1}, size_t{3}, size_t{100000}}) {
      CHECK(lines_of("", piece).empty());
      CHECK(lines_of("\n", piece) == Lines{""});
      CHECK(lines_of("one\n\ntwo\r\nlast", piece) == Lines{"one", "", "two", "last"});
      CHECK(lines_of("\u00e9\U0001F600\n", piece) == Lines{"\u00e9\U0001F600"});
    }
    const std::string long_line(20000, 'x');  // longer than what is read at a time
    CHECK(lines_of(long_line + "\nend\n", 100000) == Lines{long_line, "end"});
  }

  TEST_CASE("line_reader: a line without end is refused, not kept") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::thread writer([&] {
      const std::string piece(4096, 'x');
      for (size_t sent = 0; sent <= LineReader::kMostBytes + 4096; sent += piece.size())
        if (::write(ends[1], piece.data(), piece.size()) < 0)
          break;
      ::close(ends[1]);
    });
    const auto line = LineReader(ends[0]).next();
    CHECK(line.code() == Code::BadArgument);
    CHECK(line.message() == "standard input: a line of more than 1048576 bytes");
    for (char rest[4096]; ::read(ends[0], rest, sizeof(rest)) > 0;) {
    }
    writer.join();
    ::close(ends[0]);
  }
}
