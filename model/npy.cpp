#include "model/npy.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <unistd.h>

namespace vl2 {

static_assert(std::endian::native == std::endian::little, "arrays are copied as they lie in the file");

namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr uint64_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxRank = 32;

constexpr struct {
  NpyDType dtype;
  std::string_view text;
  uint32_t bytes;
} kDTypes[] = {
    {NpyDType::U8, "|u1", 1},
    {NpyDType::I32, "<i4", 4},
    {NpyDType::I64, "<i8", 8},
    {NpyDType::F32, "<f4", 4},
};

// Bytes of an array, or false when they do not fit 64 bits.
bool array_bytes(NpyDType dtype, std::span<const uint64_t> shape, uint64_t& bytes) {
  bytes = npy_dtype_bytes(dtype);
  bool fits = true, empty = false;
  for (const uint64_t dim : shape) {
    empty = empty || dim == 0;
    fits = fits && !__builtin_mul_overflow(bytes, dim, &bytes);
  }
  if (empty)
    bytes = 0;
  return fits || empty;
}

// The header is a Python dictionary; this reads the part of Python that NumPy writes there.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  bool eat(char wanted) {
    skip_spaces();
    if (text_.empty() || text_.front() != wanted)
      return false;
    text_.remove_prefix(1);
    return true;
  }

  bool quoted(std::string_view& value) {
    skip_spaces();
    const char quote = text_.empty() ? '\0' : text_.front();
    if (quote != '\'' && quote != '"')
      return false;
    const size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos)
      return false;
    value = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return true;
  }

  bool boolean(bool& value) {
    skip_spaces();
    for (const bool candidate : {true, false}) {
      const std::string_view name = candidate ? "True" : "False";
      if (!text_.starts_with(name))
        continue;
      text_.remove_prefix(name.size());
      value = candidate;
      return true;
    }
    return false;
  }

  bool count(uint64_t& value) {
    skip_spaces();
    size_t digits = 0;
    value = 0;
    while (digits < text_.size() && std::isdigit(static_cast<unsigned char>(text_[digits]))) {
      const uint64_t digit = static_cast<uint64_t>(text_[digits] - '0');
      if (__builtin_mul_overflow(value, uint64_t{10}, &value) || __builtin_add_overflow(value, digit, &value))
        return false;
      ++digits;
    }
    text_.remove_prefix(digits);
    return digits > 0;
  }

  bool shape(std::vector<uint64_t>& dims) {
    dims.clear();
    if (!eat('('))
      return false;
    while (!eat(')')) {
      uint64_t dim = 0;
      if (dims.size() == kMaxRank || !count(dim))
        return false;
      dims.push_back(dim);
      if (!eat(',') && (dims.size() < 2 || text_.empty() || text_.front() != ')'))
        return false;  // "(3)" is a number in Python, not a tuple
    }
    return true;
  }

  bool at_end() {
    skip_spaces();
    return text_.empty();
  }

 private:
  void skip_spaces() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n'))
      text_.remove_prefix(1);
  }

  std::string_view text_;
};

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<uint64_t> shape;
};

bool parse_header(std::string_view text, Header& header) {
  HeaderReader reader(text);
  bool has_descr = false, has_order = false, has_shape = false;
  if (!reader.eat('{'))
    return false;
  while (!reader.eat('}')) {
    std::string_view key, descr;
    if (!reader.quoted(key) || !reader.eat(':'))
      return false;
    if (key == "descr" && !has_descr && reader.quoted(descr))
      has_descr = true, header.descr = descr;
    else if (key == "fortran_order" && !has_order && reader.boolean(header.fortran_order))
      has_order = true;
    else if (key == "shape" && !has_shape && reader.shape(header.shape))
      has_shape = true;
    else
      return false;
    if (!reader.eat(',')) {
      if (!reader.eat('}'))
        return false;
      break;
    }
  }
  return reader.at_end() && has_descr && has_order && has_shape;
}

// A piece of the file in a message: on one line, whatever it holds.
std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, 16))
    result += c >= ' ' && c < '\x7f' ? c : '?';
  return result;
}

// Reads magic, version and header; afterwards `in` stands at the data, `data_start` bytes into the file.
Status read_header(std::ifstream& in, const std::string& path, uint64_t file_bytes, Header& header, uint64_t& data_start) {
  unsigned char head[12] = {};
  if (!in.read(reinterpret_cast<char*>(head), 10) || std::memcmp(head, kMagic.data(), kMagic.size()) != 0)
    return fail(Code::BadFile, path, ": does not start like a .npy file");
  const uint32_t major = head[6], minor = head[7];
  if (major < 1 || major > 2 || minor != 0)
    return fail(Code::Unsupported, path, ": .npy format ", major, ".", minor, ", wanted 1.0 or 2.0");
  uint64_t length = head[8] | uint64_t{head[9]} << 8;
  data_start = 10;
  if (major == 2) {
    if (!in.read(reinterpret_cast<char*>(head) + 10, 2))
      return fail(Code::BadFile, path, ": ends inside its header");
    length |= uint64_t{head[10]} << 16 | uint64_t{head[11]} << 24;
    data_start = 12;
  }
  if (length > kMaxHeaderBytes || length > file_bytes - data_start)
    return fail(Code::BadFile, path, ": states a header of ", length, " bytes, wanted at most ",
                std::min(kMaxHeaderBytes, file_bytes - data_start));
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length)))
    return fail(Code::IoError, path, ": could not read its header");
  data_start += length;
  if (!parse_header(text, header))
    return fail(Code::BadFile, path, ": its header is not {'descr': .., 'fortran_order': .., 'shape': (..), }");
  return {};
}

std::string header_text(std::string_view descr, std::span<const uint64_t> shape) {
  std::ostringstream out;
  out << "{'descr': '" << descr << "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < shape.size(); ++i)
    out << (i > 0 ? ", " : "") << shape[i];
  out << (shape.size() == 1 ? ",), }" : "), }");
  std::string text = out.str();
  text.append(63 - (kMagic.size() + 4 + text.size()) % 64, ' ');  // data start at a multiple of 64, as NumPy has them
  return text + '\n';
}

}  // namespace

uint32_t npy_dtype_bytes(NpyDType dtype) {
  for (const auto& row : kDTypes)
    if (row.dtype == dtype)
      return row.bytes;
  return 0;
}

Result<NpyArray> read_npy(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return fail(Code::NotFound, path, ": no such file");
  if (error || status.type() != std::filesystem::file_type::regular)
    return fail(Code::IoError, path, ": ", error ? error.message() : "not a regular file");
  const uint64_t file_bytes = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in)
    return fail(Code::IoError, path, ": could not open it");

  Header header;
  uint64_t data_start = 0, bytes = 0;
  VL2_TRY(read_header(in, path, file_bytes, header, data_start));
  const auto* row = std::begin(kDTypes);
  while (row != std::end(kDTypes) && row->text != header.descr)
    ++row;
  if (row == std::end(kDTypes))
    return fail(Code::Unsupported, path, ": dtype \"", printable(header.descr), "\", wanted |u1, <i4, <i8 or <f4");
  if (header.fortran_order)
    return fail(Code::Unsupported, path, ": Fortran order, wanted C order");
  if (!array_bytes(row->dtype, header.shape, bytes) || bytes != file_bytes - data_start)
    return fail(Code::BadFile, path, ": ", file_bytes - data_start, " bytes of data, wanted as many as its shape says");

  NpyArray array{.dtype = row->dtype, .shape = std::move(header.shape), .data = std::vector<std::byte>(bytes)};
  if (bytes > 0 && !in.read(reinterpret_cast<char*>(array.data.data()), static_cast<std::streamsize>(bytes)))
    return fail(Code::IoError, path, ": could not read ", bytes, " bytes of data");
  return array;
}

Status write_npy(const std::string& path, NpyDType dtype, std::span<const uint64_t> shape, std::span<const std::byte> data) {
  uint64_t bytes = 0;
  if (shape.size() > kMaxRank)
    return fail(Code::BadArgument, path, ": ", shape.size(), " dimensions, wanted at most ", kMaxRank);
  if (!array_bytes(dtype, shape, bytes) || bytes != data.size())
    return fail(Code::BadArgument, path, ": ", data.size(), " bytes of data, wanted as many as the shape says");
  std::string_view descr;
  for (const auto& row : kDTypes)
    if (row.dtype == dtype)
      descr = row.text;
  const std::string text = header_text(descr, shape);
  const std::string length{static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};

  const std::string beside = path + "." + std::to_string(::getpid()) + ".part";
  std::error_code error;
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out << kMagic << '\x01' << '\x00' << length << text;
    out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    out.close();
    if (!out) {
      std::filesystem::remove(beside, error);
      return fail(Code::IoError, path, ": could not write it");
    }
  }
  std::filesystem::rename(beside, path, error);
  if (error) {
    const std::string reason = error.message();
    std::filesystem::remove(beside, error);
    return fail(Code::IoError, path, ": ", reason);
  }
  return {};
}

}  // namespace vl2
