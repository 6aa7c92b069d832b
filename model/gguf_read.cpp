#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <sys/stat.h>
#include <unistd.h>

#include "model/file_bytes.h"
#include "model/gguf.h"

namespace vl2 {

namespace {

constexpr uint32_t kMagic = 0x46554747;   // "GGUF", little-endian
constexpr uint64_t kMaxKeyBytes = 65535;  // the format's own limit
constexpr uint64_t kMaxNameBytes = 255;   // of a tensor; ggml's limit is 63
constexpr uint32_t kMaxRank = 4;          // ggml's
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr uint64_t kMinKeyBytes = 8 + 4 + 1;             // length, type, a byte of value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;  // length, rank, one dimension, type, offset
constexpr size_t kBufferBytes = 1 << 20;
// Far above any file, low enough that a hostile large one does not fill the memory.
constexpr uint64_t kMaxKeys = 1 << 16, kMaxTensors = 1 << 20, kMaxElements = 1 << 24, kMaxTextBytes = 1 << 28;

// A name as messages show it, whatever bytes it holds.
std::string shown(std::string_view name) {
  std::string text(name.substr(0, 80));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return text;
}

// Bytes of a fixed-size value; 0 for strings and arrays.
uint64_t bytes_of(GgufType type) {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool: return 1;
    case GgufType::U16:
    case GgufType::I16: return 2;
    case GgufType::U32:
    case GgufType::I32:
    case GgufType::F32: return 4;
    case GgufType::U64:
    case GgufType::I64:
    case GgufType::F64: return 8;
    case GgufType::String:
    case GgufType::Array: return 0;
  }
  return 0;
}

bool is_signed(GgufType type) {
  return type == GgufType::I8 || type == GgufType::I16 || type == GgufType::I32 || type == GgufType::I64;
}
bool is_real(GgufType type) {
  return type == GgufType::F32 || type == GgufType::F64;
}

// `bytes` little-endian bytes, as a value of the type that `T` stands for.
template <typename T>
T decode(GgufType type, const std::byte* source) {
  uint64_t bits = 0;
  const uint64_t bytes = bytes_of(type);
  std::memcpy(&bits, source, bytes);
  if constexpr (std::is_same_v<T, double>) {
    return type == GgufType::F32 ? static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)))
                                 : std::bit_cast<double>(bits);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    const uint64_t shift = 64 - 8 * bytes;
    return static_cast<int64_t>(bits << shift) >> shift;
  } else {
    return bits;
  }
}

// Reads forward through the front of the file; knows how much is left.
class Cursor {
 public:
  Cursor(uint64_t bytes, const GgufRead& read, const std::string& where) : bytes_(bytes), read_(read), where_(where) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_ - position_; }

  Status take(std::span<std::byte> target, const std::string& what) {
    if (target.size() > left())
      return fail(Code::BadFile, where_, ": ", what, " wants ", target.size(), " bytes at byte ", position_, ", the file has ",
                  bytes_, " (truncated?)");
    while (!target.empty()) {
      if (position_ < buffer_start_ || position_ >= buffer_start_ + buffer_.size()) {
        buffer_.resize(std::min<uint64_t>(kBufferBytes, left()));
        buffer_start_ = position_;
        VL2_TRY(read_(position_, buffer_));
      }
      const size_t from = position_ - buffer_start_, count = std::min(target.size(), buffer_.size() - from);
      std::memcpy(target.data(), buffer_.data() + from, count);
      target = target.subspan(count);
      position_ += count;
    }
    return {};
  }

  template <typename T>
  Status take_number(T& value, const std::string& what) {
    return take(std::as_writable_bytes(std::span(&value, 1)), what);
  }

  Status take_string(std::string& text, uint64_t most, const std::string& what) {
    uint64_t length = 0;
    VL2_TRY(take_number(length, what));
    if (length > left())
      return fail(Code::BadFile, where_, ": ", what, " has ", length, " bytes, the file has ", left(), " left (truncated?)");
    if (length > most)
      return fail(Code::BadFile, where_, ": ", what, " has ", length, " bytes, wanted at most ", most);
    text.resize(length);
    return take(std::as_writable_bytes(std::span(text)), what);
  }

 private:
  uint64_t bytes_, position_ = 0;
  const GgufRead& read_;
  const std::string& where_;
  std::vector<std::byte> buffer_;
  uint64_t buffer_start_ = 0;
};

class Parser {
 public:
  Parser(uint64_t bytes, const GgufRead& read, const std::string& where)
      : bytes_(bytes), where_(where), cursor_(bytes, read, where) {}

  Result<Gguf> run() {
    uint64_t tensor_count = 0, key_count = 0;
    VL2_TRY(read_front(tensor_count, key_count));
    for (uint64_t i = 0; i < key_count; ++i)
      VL2_TRY(read_key(i));
    VL2_TRY(read_alignment());
    file_.tensors.resize(tensor_count);
    for (uint64_t i = 0; i < tensor_count; ++i)
      VL2_TRY(read_tensor(i));
    VL2_TRY(place_tensors());
    return std::move(file_);
  }

 private:
  template <typename... Parts>
  Status bad(const Parts&... parts) const {
    return fail(Code::BadFile, where_, ": ", parts...);
  }

  Status read_front(uint64_t& tensor_count, uint64_t& key_count) {
    uint32_t magic = 0;
    VL2_TRY(cursor_.take_number(magic, "the magic number"));
    if (magic != kMagic)
      return bad("does not begin with GGUF: no GGUF file");
    VL2_TRY(cursor_.take_number(file_.version, "the version"));
    if (file_.version == 0x02000000 || file_.version == 0x03000000)
      return bad("a big-endian GGUF file, wanted a little-endian one");
    if (file_.version != 2 && file_.version != 3)
      return bad("GGUF version ", file_.version, ", wanted 2 or 3");
    VL2_TRY(cursor_.take_number(tensor_count, "the count of tensors"));
    VL2_TRY(cursor_.take_number(key_count, "the count of keys"));
    const uint64_t most_keys = std::min(kMaxKeys, cursor_.left() / kMinKeyBytes);
    if (key_count > most_keys)
      return bad("claims ", key_count, " keys, a file of ", bytes_, " bytes holds at most ", most_keys);
    const uint64_t most_tensors = std::min(kMaxTensors, cursor_.left() / kMinTensorBytes);
    if (tensor_count > most_tensors)
      return bad("claims ", tensor_count, " tensors, a file of ", bytes_, " bytes holds at most ", most_tensors);
    return {};
  }

  Status read_type(GgufType& type, const std::string& what) {
    uint32_t number = 0;
    VL2_TRY(cursor_.take_number(number, what));
    if (number > static_cast<uint32_t>(GgufType::F64))
      return bad(what, " has type ", number, ", wanted 0 to ", static_cast<uint32_t>(GgufType::F64));
    type = static_cast<GgufType>(number);
    return {};
  }

  Status read_key(uint64_t index) {
    std::string key;
    VL2_TRY(cursor_.take_string(key, kMaxKeyBytes, "the name of key " + std::to_string(index)));
    const std::string what = "key " + shown(key);
    if (key.empty())
      return bad("key ", index, " has no name");
    GgufValue value;
    VL2_TRY(read_type(value.type, what));
    if (value.type == GgufType::Array)
      VL2_TRY(read_array(value, what));
    else
      VL2_TRY(read_value(value, what));
    if (!file_.keys.emplace(std::move(key), std::move(value)).second)
      return bad(what, " is there twice");
    return {};
  }

  Status read_value(GgufValue& value, const std::string& what) {
    if (value.type == GgufType::String) {
      std::string text;
      VL2_TRY(cursor_.take_string(text, kMaxTextBytes, what));
      value.data = std::move(text);
      return {};
    }
    std::byte bytes[8];
    VL2_TRY(cursor_.take(std::span(bytes, bytes_of(value.type)), what));
    if (is_real(value.type))
      value.data = decode<double>(value.type, bytes);
    else if (is_signed(value.type))
      value.data = decode<int64_t>(value.type, bytes);
    else
      value.data = decode<uint64_t>(value.type, bytes);
    if (value.type == GgufType::Bool && std::get<uint64_t>(value.data) > 1)
      return bad(what, " is a bool of value ", std::get<uint64_t>(value.data), ", wanted 0 or 1");
    return {};
  }

  template <typename T>
  Status read_numbers(GgufValue& value, uint64_t count, const std::string& what) {
    const uint64_t bytes = bytes_of(value.element);
    std::vector<std::byte> raw(count * bytes);
    VL2_TRY(cursor_.take(raw, what));
    std::vector<T> numbers(count);
    for (uint64_t i = 0; i < count; ++i)
      numbers[i] = decode<T>(value.element, raw.data() + i * bytes);
    value.data = std::move(numbers);
    return {};
  }

  Status read_array(GgufValue& value, const std::string& what) {
    VL2_TRY(read_type(value.element, what));
    if (value.element == GgufType::Array)
      return bad(what, " is an array of arrays, which this program does not read");
    uint64_t count = 0;
    VL2_TRY(cursor_.take_number(count, what));
    const uint64_t least = value.element == GgufType::String ? 8 : bytes_of(value.element);
    if (count > cursor_.left() / least)
      return bad(what, " is an array of ", count, " elements, the file has ", cursor_.left(), " bytes left (truncated?)");
    if (count > kMaxElements)
      return bad(what, " is an array of ", count, " elements, wanted at most ", kMaxElements);
    if (is_real(value.element))
      return read_numbers<double>(value, count, what);
    if (is_signed(value.element))
      return read_numbers<int64_t>(value, count, what);
    if (value.element != GgufType::String)
      return read_numbers<uint64_t>(value, count, what);
    std::vector<std::string> texts(count);
    for (uint64_t i = 0; i < count; ++i)
      VL2_TRY(cursor_.take_string(texts[i], kMaxTextBytes, what + "[" + std::to_string(i) + "]"));
    value.data = std::move(texts);
    return {};
  }

  Status read_alignment() {
    const GgufValue* value = file_.find("general.alignment");
    if (value == nullptr)
      return {};
    const auto* number = std::get_if<uint64_t>(&value->data);
    if (number == nullptr || *number == 0 || (*number & (*number - 1)) != 0 || *number > kMaxAlignment)
      return bad("general.alignment: got ", number == nullptr ? "no count" : std::to_string(*number),
                 ", wanted a power of two up to ", kMaxAlignment);
    file_.alignment = *number;
    return {};
  }

  Status read_tensor(uint64_t index) {
    GgufTensor& tensor = file_.tensors[index];
    VL2_TRY(cursor_.take_string(tensor.name, kMaxNameBytes, "the name of tensor " + std::to_string(index)));
    const std::string what = "tensor " + shown(tensor.name);
    uint32_t rank = 0;
    VL2_TRY(cursor_.take_number(rank, what));
    if (rank < 1 || rank > kMaxRank)
      return bad(what, ": ", rank, " dimensions, wanted 1 to ", kMaxRank);
    tensor.shape.resize(rank);
    for (uint32_t i = 0; i < rank; ++i)
      VL2_TRY(cursor_.take_number(tensor.shape[rank - 1 - i], what));
    VL2_TRY(cursor_.take_number(tensor.type, what));
    VL2_TRY(cursor_.take_number(tensor.first_byte, what));  // from data_start for now
    return check_shape(tensor, what);
  }

  Status check_shape(GgufTensor& tensor, const std::string& what) const {
    const GgmlType* type = find_ggml_type(tensor.type);
    if (type == nullptr)
      return bad(what, ": type ", tensor.type, " is none that this program knows");
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.shape) {
      // A byte holds at most 8 elements in any type, so this refuses nothing that could be in the file, and cannot overflow below.
      if (dim == 0 || elements > bytes_ * 8 / dim)
        return bad(what, dim == 0 ? ": a dimension is 0" : ": its shape needs more bytes than the file has, ",
                   dim == 0 ? "" : std::to_string(bytes_));
      elements *= dim;
    }
    if (tensor.shape.back() % type->block != 0)
      return bad(what, ": rows of ", tensor.shape.back(), " elements, ", type->name, " wants a multiple of ", type->block);
    tensor.byte_count = elements / type->block * type->block_bytes;
    return {};
  }

  Status place_tensors() {
    const uint64_t mask = file_.alignment - 1;
    file_.data_start = (cursor_.position() + mask) & ~mask;
    const uint64_t data_bytes = bytes_ > file_.data_start ? bytes_ - file_.data_start : 0;
    std::vector<const GgufTensor*> sorted;
    for (GgufTensor& tensor : file_.tensors) {
      const std::string what = "tensor " + shown(tensor.name);
      if (tensor.first_byte % file_.alignment != 0)
        return bad(what, ": its offset ", tensor.first_byte, " is no multiple of the alignment, ", file_.alignment);
      if (tensor.first_byte > data_bytes || tensor.byte_count > data_bytes - tensor.first_byte)
        return bad(what, ": ", tensor.byte_count, " bytes at ", tensor.first_byte, ", the file has ", data_bytes,
                   " bytes of data (truncated?)");
      tensor.first_byte += file_.data_start;
      sorted.push_back(&tensor);
    }
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first_byte < b->first_byte; });
    for (size_t i = 1; i < sorted.size(); ++i)
      if (sorted[i - 1]->first_byte + sorted[i - 1]->byte_count > sorted[i]->first_byte)
        return bad("tensors ", shown(sorted[i - 1]->name), " and ", shown(sorted[i]->name), " overlap");
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    for (size_t i = 1; i < sorted.size(); ++i)
      if (sorted[i - 1]->name == sorted[i]->name)
        return bad("tensor ", shown(sorted[i]->name), " is there twice");
    return {};
  }

  uint64_t bytes_;
  const std::string& where_;
  Cursor cursor_;
  Gguf file_;
};

}  // namespace

uint64_t GgufValue::count() const {
  return std::visit(
      [](const auto& held) -> uint64_t {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_arithmetic_v<Held> || std::is_same_v<Held, std::string>)
          return 1;
        else
          return held.size();
      },
      data);
}

const GgufValue* Gguf::find(std::string_view key) const {
  const auto found = keys.find(key);
  return found == keys.end() ? nullptr : &found->second;
}

const GgufTensor* Gguf::find_tensor(std::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const GgufTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

Result<uint32_t> Gguf::count(std::string_view key, const std::string& where) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    return fail(Code::BadFile, where, ": key ", key, " is missing");
  uint64_t number = std::numeric_limits<uint64_t>::max();
  if (const auto* held = std::get_if<uint64_t>(&value->data))
    number = *held;
  else if (const auto* with_sign = std::get_if<int64_t>(&value->data); with_sign != nullptr && *with_sign >= 0)
    number = static_cast<uint64_t>(*with_sign);
  if (number > std::numeric_limits<uint32_t>::max())
    return fail(Code::BadFile, where, ": key ", key, ": got a value of type ", gguf_type_name(value->type),
                ", wanted a count below 2^32");
  return static_cast<uint32_t>(number);
}

Result<double> Gguf::number(std::string_view key, const std::string& where) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    return fail(Code::BadFile, where, ": key ", key, " is missing");
  const auto* real = std::get_if<double>(&value->data);
  if (real == nullptr || !std::isfinite(*real))
    return fail(Code::BadFile, where, ": key ", key, ": got a value of type ", gguf_type_name(value->type),
                ", wanted a finite number");
  return *real;
}

Result<std::string> Gguf::text(std::string_view key, const std::string& where) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    return fail(Code::BadFile, where, ": key ", key, " is missing");
  if (value->text() == nullptr)
    return fail(Code::BadFile, where, ": key ", key, ": got a value of type ", gguf_type_name(value->type), ", wanted a string");
  return *value->text();
}

Result<Gguf> parse_gguf(uint64_t bytes, const GgufRead& read, const std::string& where) {
  return Parser(bytes, read, where).run();
}

Result<Gguf> parse_gguf(std::span<const std::byte> bytes, const std::string& where) {
  const GgufRead read = [bytes](uint64_t first, std::span<std::byte> target) -> Status {
    std::memcpy(target.data(), bytes.data() + first, target.size());
    return {};
  };
  return parse_gguf(bytes.size(), read, where);
}

Result<Gguf> read_gguf(const std::string& path) {
  const OpenFile file(path);
  if (!file)
    return fail(errno == ENOENT ? Code::NotFound : Code::IoError, path, ": ", std::strerror(errno));
  return read_gguf(file.descriptor(), path);
}

Result<Gguf> read_gguf(int descriptor, const std::string& where) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0)
    return fail(Code::IoError, where, ": ", std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(Code::BadFile, where, ": not a regular file");
  const GgufRead read = [&](uint64_t first, std::span<std::byte> target) {
    return read_file_at(descriptor, where, first, target);
  };
  return parse_gguf(static_cast<uint64_t>(info.st_size), read, where);
}

bool looks_like_gguf(const std::string& path) {
  const OpenFile file(path);
  struct stat info {};
  if (!file || ::fstat(file.descriptor(), &info) != 0 || !S_ISREG(info.st_mode))
    return false;
  uint32_t magic = 0;
  const bool begins = ::pread(file.descriptor(), &magic, sizeof(magic), 0) == sizeof(magic) && magic == kMagic;
  return begins || path.ends_with(".gguf");
}

}  // namespace vl2
