#include "tests/support/v3_tokenizer.h"

#include <cstdlib>
#include <doctest/doctest.h>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/support/paths.h"

namespace vl2 {

namespace {

using nlohmann::json;

// Written apart from model/utf8, which the tests check.
std::string utf8(uint32_t code_point) {
  std::string out;
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
    return out;
  }
  const int extra = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  put((0xFF00u >> (extra + 1) & 0xFFu) | code_point >> (6 * extra));
  for (int i = extra - 1; i >= 0; --i)
    put(0x80u | (code_point >> (6 * i) & 0x3Fu));
  return out;
}

// The cased letters of the 100k family's second pattern.
constexpr std::pair<uint32_t, uint32_t> kLetters[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},       {0xd8, 0xf6},       {0xf8, 0x1ba},
    {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x376},     {0x377, 0x377},
    {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},     {0x38e, 0x3a1},
    {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},     {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},
    {0x13f8, 0x13fd},   {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},
    {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},
    {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},
    {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2183},   {0x2184, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf2},   {0x2cf3, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},
    {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
    {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};

std::string letters_class() {
  std::string text = "[";
  for (const auto& [first, last] : kLetters) {
    text += utf8(first);
    if (last != first)
      text.append("-").append(utf8(last));
  }
  return text + "]";
}

json split(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json byte_level() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
}

json added_token(uint32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

std::string read_v3_tokenizer() {
  const std::string folder = binary_dir() + "/tokenizer_v3";
  const std::string command = "sh '" + source_dir() + "/tests/fetch_tokenizer.sh' '" + folder + "'";
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, "tests/fetch_tokenizer.sh could not fetch the V3 vocabulary");
  std::ifstream file(folder + "/tokenizer.json", std::ios::binary);
  json root = json::parse(std::string{std::istreambuf_iterator<char>(file), {}});
  uint32_t id = 128815;
  for (const char* content :
       {"<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"})
    root["added_tokens"].push_back(added_token(id++, content));
  return root.dump();
}

}  // namespace

const std::string& v3_tokenizer_json() {
  static const std::string text = read_v3_tokenizer();
  return text;
}

const Tokenizer& v3_tokenizer() {
  static const Tokenizer tokenizer = [] {
    auto result = Tokenizer::parse(v3_tokenizer_json(), "tokenizer.json");
    REQUIRE_MESSAGE(result.ok(), result.message());
    return result.take();
  }();
  return tokenizer;
}

std::string small_tokenizer_json(const std::string& pre_tokenizer, const std::vector<std::string>& merges,
                                 const std::vector<std::string>& added) {
  json vocabulary = json::object();
  uint32_t next_letter = 0x100, id = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool is_visible = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    vocabulary[utf8(is_visible ? byte : next_letter++)] = id++;
  }
  for (const std::string& merge : merges) {
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    if (!vocabulary.contains(joined))
      vocabulary[joined] = id++;
  }
  json tokens = json::array();
  for (const std::string& content : added)
    tokens.push_back(added_token(id++, content));
  json root;
  root["added_tokens"] = tokens;
  root["normalizer"] = nullptr;
  root["pre_tokenizer"] = json::parse(pre_tokenizer);
  root["decoder"] = byte_level();
  root["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}};
  return root.dump();
}

const std::vector<std::string>& v3_patterns() {
  static const std::vector<std::string> patterns = {
      R"(\p{N}{1,3})",
      "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
      "\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
  };
  return patterns;
}

const std::vector<std::string>& family_100k_patterns() {
  static const std::vector<std::string> patterns = {
      "[\r\n]",
      "\\s?" + letters_class() + "+",
      "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
      "\\s+$",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-" + utf8(0xD7FF) + "]+",
  };
  return patterns;
}

const std::string& v3_pre_tokenizer() {
  static const std::string text = [] {
    json steps = json::array();
    for (const std::string& pattern : v3_patterns())
      steps.push_back(split(pattern));
    steps.push_back(byte_level());
    return json{{"type", "Sequence"}, {"pretokenizers", steps}}.dump();
  }();
  return text;
}

const std::string& family_100k_pre_tokenizer() {
  static const std::string text = [] {
    json steps = json::array();
    for (const std::string& pattern : family_100k_patterns())
      steps.push_back(split(pattern));
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
    steps.push_back(byte_level());
    return json{{"type", "Sequence"}, {"pretokenizers", steps}}.dump();
  }();
  return text;
}

}  // namespace vl2
