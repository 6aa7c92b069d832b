#include "app/server/base64.h"

#include <array>
#include <cctype>
#include <cstdint>

namespace vl2::server {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNone = 0xff;

constexpr std::array<uint8_t, 256> make_values() {
  std::array<uint8_t, 256> values{};
  values.fill(kNone);
  for (size_t i = 0; i < kLetters.size(); ++i)
    values[static_cast<uint8_t>(kLetters[i])] = static_cast<uint8_t>(i);
  return values;
}
constexpr auto kValues = make_values();

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 == 0)
    for (int i = 0; i < 2 && text.ends_with('='); ++i)
      text.remove_suffix(1);
  if (text.size() % 4 == 1)
    return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0, bit_count = 0;
  for (const char c : text) {
    const uint8_t value = kValues[static_cast<uint8_t>(c)];
    if (value == kNone)
      return std::nullopt;
    bits = (bits << 6 | value) & 0xffffff;
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      bytes.push_back(static_cast<char>(bits >> bit_count & 0xff));
    }
  }
  if ((bits & ((1u << bit_count) - 1)) != 0)
    return std::nullopt;
  return bytes;
}

DataUrl read_data_url(std::string_view url, std::string& problem) {
  problem.clear();
  std::string scheme(url.substr(0, url.find(':') == std::string_view::npos ? 0 : url.find(':')));
  for (char& c : scheme)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (scheme != "data") {
    problem = scheme == "http" || scheme == "https" ? "this server fetches no remote pictures, wanted a data: URL with base64"
                                                    : "wanted a data: URL with base64";
    return {};
  }
  url.remove_prefix(scheme.size() + 1);
  const size_t comma = url.find(',');
  std::string head(url.substr(0, comma == std::string_view::npos ? 0 : comma));
  for (char& c : head)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (comma == std::string_view::npos || !head.ends_with(";base64")) {
    problem = "wanted data:image/...;base64, and then the picture in base64";
    return {};
  }
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) {
    problem = "what follows the comma is not base64";
    return {};
  }
  return {head.substr(0, head.find(';')), std::move(*bytes)};
}

}  // namespace vl2::server
