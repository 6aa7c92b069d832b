#include "model/utf8.h"

namespace vl2 {

namespace {

// How a character goes on after its first byte. The range of the second byte rules out overlong forms, surrogates and values that
// are too large; the bytes after it are 80..BF.
struct Lead {
  uint32_t length;  // 0: no character starts with this byte
  uint8_t second_first, second_last;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80)
    return {1, 0, 0};
  if (byte >= 0xC2 && byte <= 0xDF)
    return {2, 0x80, 0xBF};
  if (byte == 0xE0)
    return {3, 0xA0, 0xBF};
  if (byte == 0xED)
    return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF)
    return {3, 0x80, 0xBF};
  if (byte == 0xF0)
    return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3)
    return {4, 0x80, 0xBF};
  if (byte == 0xF4)
    return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const auto byte_at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const Lead lead = lead_of(byte_at(0));
  if (lead.length == 0)
    return {.bytes = 1};
  if (lead.length == 1)
    return {.code_point = byte_at(0), .bytes = 1, .valid = true};
  uint32_t code_point = byte_at(0) & (0x7Fu >> lead.length);
  for (uint32_t i = 1; i < lead.length; ++i) {
    if (i == text.size())
      return {.bytes = i, .truncated = true};
    const uint8_t first = i == 1 ? lead.second_first : 0x80, last = i == 1 ? lead.second_last : 0xBF;
    if (byte_at(i) < first || byte_at(i) > last)
      return {.bytes = i};
    code_point = code_point << 6 | (byte_at(i) & 0x3Fu);
  }
  return {.code_point = code_point, .bytes = lead.length, .valid = true};
}

size_t find_invalid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(i));
    if (!step.valid)
      return i;
    i += step.bytes;
  }
  return std::string_view::npos;
}

void append_utf8(std::string& out, uint32_t code_point) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.valid)
      out.append(text.substr(0, step.bytes));
    else
      append_utf8(out, 0xFFFD);
    text.remove_prefix(step.bytes);
  }
  return out;
}

}  // namespace vl2
