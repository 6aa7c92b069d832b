#include "model/gguf_write.h"

#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "model/file_bytes.h"

namespace vl2 {

namespace {

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& out, const std::string& text) {
  append(out, uint64_t{text.size()});
  out += text;
}

// One number as its type in the file.
template <typename T>
void append_number(std::string& out, GgufType type, T value) {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool: return append(out, static_cast<uint8_t>(value));
    case GgufType::U16:
    case GgufType::I16: return append(out, static_cast<uint16_t>(value));
    case GgufType::U32:
    case GgufType::I32: return append(out, static_cast<uint32_t>(value));
    case GgufType::U64:
    case GgufType::I64: return append(out, static_cast<uint64_t>(value));
    case GgufType::F32: return append(out, static_cast<float>(value));
    case GgufType::F64: return append(out, static_cast<double>(value));
    case GgufType::String:
    case GgufType::Array: assert(false); return;
  }
}

void append_value(std::string& out, const GgufValue& value) {
  append(out, static_cast<uint32_t>(value.type));
  if (value.type == GgufType::Array) {
    append(out, static_cast<uint32_t>(value.element));
    append(out, value.count());
  }
  std::visit(
      [&](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::string>)
          append_text(out, held);
        else if constexpr (std::is_arithmetic_v<Held>)
          append_number(out, value.type, held);
        else
          for (const auto& element : held) {
            if constexpr (std::is_same_v<Held, std::vector<std::string>>)
              append_text(out, element);
            else
              append_number(out, value.element, element);
          }
      },
      value.data);
}

uint64_t aligned(uint64_t bytes) {
  return (bytes + GgufWriter::kAlignment - 1) / GgufWriter::kAlignment * GgufWriter::kAlignment;
}

}  // namespace

GgufValue gguf_u32(uint32_t value) {
  return {GgufType::U32, GgufType::U32, uint64_t{value}};
}
GgufValue gguf_f32(float value) {
  return {GgufType::F32, GgufType::U32, static_cast<double>(value)};
}
GgufValue gguf_bool(bool value) {
  return {GgufType::Bool, GgufType::U32, uint64_t{value}};
}
GgufValue gguf_text(std::string value) {
  return {GgufType::String, GgufType::U32, std::move(value)};
}
GgufValue gguf_texts(std::vector<std::string> values) {
  return {GgufType::Array, GgufType::String, std::move(values)};
}
GgufValue gguf_i32s(std::vector<int64_t> values) {
  return {GgufType::Array, GgufType::I32, std::move(values)};
}

Result<std::unique_ptr<GgufWriter>> GgufWriter::create(const std::string& path, const GgufKeys& keys,
                                                       std::vector<GgufTensor> tensors) {
  std::unique_ptr<GgufWriter> writer(new GgufWriter);
  std::string front = "GGUF";
  append(front, uint32_t{3});
  append(front, uint64_t{tensors.size()});
  append(front, uint64_t{keys.size()});
  for (const auto& [key, value] : keys) {
    append_text(front, key);
    append_value(front, value);
  }
  uint64_t offset = 0;
  for (GgufTensor& tensor : tensors) {
    const GgmlType* type = find_ggml_type(tensor.type);
    assert(type != nullptr && tensor.shape.back() % type->block == 0);
    uint64_t elements = 1;
    append_text(front, tensor.name);
    append(front, static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      append(front, *dim);
      elements *= *dim;
    }
    append(front, tensor.type);
    append(front, offset);
    tensor.first_byte = offset;
    tensor.byte_count = elements / type->block * type->block_bytes;
    offset = aligned(offset + tensor.byte_count);
  }
  front.resize(aligned(front.size()), '\0');
  for (GgufTensor& tensor : tensors)
    tensor.first_byte += front.size();
  writer->tensors_ = std::move(tensors);
  writer->file_bytes_ = front.size() + offset;
  VL2_TRY(writer->open(path, front));
  return writer;
}

Status GgufWriter::open(const std::string& path, const std::string& front) {
  path_ = path;
  part_path_ = path + ".part-" + std::to_string(::getpid());
  descriptor_ = ::open(part_path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    return fail(Code::IoError, path, ": cannot be written: ", std::strerror(errno));
  // The padding between tensors stays the zeros that a longer file begins with.
  if (::ftruncate(descriptor_, static_cast<off_t>(file_bytes_)) != 0)
    return fail(Code::IoError, path, ": cannot be ", file_bytes_, " bytes long: ", std::strerror(errno));
  // A full disk is found now, not after an hour; where this is not supported, write() will find it.
  if (::fallocate(descriptor_, 0, 0, static_cast<off_t>(file_bytes_)) != 0 && (errno == ENOSPC || errno == EDQUOT))
    return fail(Code::IoError, path, ": ", file_bytes_, " bytes cannot be written: ", std::strerror(errno));
  return write_file_at(descriptor_, path_, 0, std::as_bytes(std::span(front)));
}

GgufWriter::~GgufWriter() {
  if (descriptor_ < 0)
    return;
  ::close(descriptor_);
  ::unlink(part_path_.c_str());
}

Status GgufWriter::write(const GgufTensor& tensor, uint64_t first, std::span<const std::byte> bytes) {
  if (first > tensor.byte_count || bytes.size() > tensor.byte_count - first)
    return fail(Code::BadArgument, path_, ": write of ", bytes.size(), " bytes at ", first, " of a tensor of ",
                tensor.byte_count);
  return write_file_at(descriptor_, path_, tensor.first_byte + first, bytes);
}

Status GgufWriter::finish() {
  if (::fsync(descriptor_) != 0)
    return fail(Code::IoError, path_, ": cannot be written: ", std::strerror(errno));
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 || ::rename(part_path_.c_str(), path_.c_str()) != 0) {
    const int why = errno;
    ::unlink(part_path_.c_str());
    return fail(Code::IoError, path_, ": cannot be written: ", std::strerror(why));
  }
  return {};
}

}  // namespace vl2
