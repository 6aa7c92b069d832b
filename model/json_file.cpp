#include "model/json_file.h"

#include <filesystem>
#include <fstream>
#include <system_error>

namespace vl2 {

namespace {

// Accepts everything and remembers where the text stopped being JSON.
struct PositionFinder : nlohmann::json_sax<nlohmann::json> {
  size_t position = 0;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception&) override {
    position = at;
    return false;
  }
};

}  // namespace

Result<std::string> read_text_file(const std::string& path, uint64_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return fail(Code::NotFound, path, ": no such file");
  if (error)
    return fail(Code::IoError, path, ": ", error.message());
  if (status.type() != std::filesystem::file_type::regular)
    return fail(Code::IoError, path, ": not a regular file");
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error)
    return fail(Code::IoError, path, ": ", error.message());
  if (bytes > max_bytes)
    return fail(Code::BadFile, path, ": ", bytes, " bytes, wanted at most ", max_bytes);
  std::ifstream in(path, std::ios::binary);
  std::string text(bytes, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(bytes)))
    return fail(Code::IoError, path, ": could not read ", bytes, " bytes");
  return text;
}

Result<nlohmann::json> parse_json(const std::string& text, const std::string& where) {
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_discarded())
    return Result<nlohmann::json>(std::move(value));
  PositionFinder finder;  // a second pass, paid only by a broken file
  nlohmann::json::sax_parse(text, &finder);
  return fail(Code::BadFile, where, ": not JSON from byte ", finder.position, " of ", text.size(), " on");
}

Result<nlohmann::json> read_json_file(const std::string& path) {
  VL2_ASSIGN(const std::string text, read_text_file(path, kMaxJsonBytes));
  return parse_json(text, path);
}

std::string describe_json(const nlohmann::json& value) {
  if (value.is_string())
    return "a string";
  if (value.is_array())
    return "a list";
  if (value.is_object())
    return "an object";
  return value.dump();
}

}  // namespace vl2
