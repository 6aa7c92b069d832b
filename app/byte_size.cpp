#include "app/byte_size.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace vl2 {

namespace {

// Bytes of a unit; 0 for what is none.
double unit_bytes(std::string_view unit) {
  constexpr std::string_view kPrefixes = "kmgt";
  if (unit.empty() || unit == "b")
    return 1;
  const size_t power = kPrefixes.find(unit[0]) + 1;  // npos + 1 is 0
  const std::string_view rest = unit.substr(1);
  if (power == 0 || (!rest.empty() && rest != "b" && rest != "ib"))
    return 0;
  double bytes = 1;
  for (size_t i = 0; i < power; ++i)
    bytes *= rest == "b" ? 1000 : 1024;
  return bytes;
}

}  // namespace

Result<uint64_t> parse_byte_size(std::string_view text, const std::string& where) {
  const auto bad = [&] {
    return fail(Code::BadArgument, where, ": got \"", text, "\", wanted a size like 512M, 8G or 8000000000");
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || text[0] == '-' || !(std::isdigit(static_cast<unsigned char>(text[0]))))
    return bad();
  std::string unit(end, text.data() + text.size());
  if (!unit.empty() && unit[0] == ' ')
    unit.erase(0, 1);
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const double bytes = number * unit_bytes(unit);
  if (!(bytes >= 1) || bytes >= 0x1p60)
    return bad();
  return static_cast<uint64_t>(bytes);
}

}  // namespace vl2
