#include "runtime/weight_format.h"

#include <cmath>

#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {

constexpr float kMaxHalf = 65504.0f;

constexpr WeightFormat kFormats[] = {
    {DType::F32, "F32", 0, pack_f32, unpack_f32},
    {DType::F16, "F16", 1, pack_f16, unpack_f16},
    {DType::BF16, "BF16", 30, pack_bf16, unpack_bf16},
    {DType::Q8_0, "Q8_0", 8, pack_q8_0, unpack_q8_0, repack_q8_0},
    {DType::Q4_0, "Q4_0", 2, pack_q4_0, unpack_q4_0, repack_q4_0},
    {DType::Q4_K, "Q4_K", 12, pack_q4_k, unpack_q4_k, repack_q4_k},
    {DType::Q6_K, "Q6_K", 14, pack_q6_k, unpack_q6_k, repack_q6_k},
};

template <typename Matches>
const WeightFormat* find(Matches matches) {
  for (const WeightFormat& format : kFormats)
    if (matches(format))
      return &format;
  return nullptr;
}

Status check_row(DType dtype, uint64_t count, uint64_t bytes, const std::string& where, const WeightFormat*& format) {
  format = find_weight_format(dtype);
  if (format == nullptr)
    return fail(Code::BadArgument, where, ": ", dtype_name(dtype), " is no format for weights");
  if (count % dtype_block(dtype) != 0)
    return fail(Code::BadArgument, where, ": a row of ", count, " elements, ", format->name, " wants a multiple of ",
                dtype_block(dtype));
  if (bytes != dtype_bytes_of(dtype, count))
    return fail(Code::BadArgument, where, ": got ", bytes, " bytes for ", count, " elements of ", format->name, ", wanted ",
                dtype_bytes_of(dtype, count));
  return {};
}

}  // namespace

std::span<const WeightFormat> weight_formats() {
  return kFormats;
}

const WeightFormat* find_weight_format(DType dtype) {
  return find([&](const WeightFormat& format) { return format.dtype == dtype; });
}

const WeightFormat* find_weight_format(std::string_view name) {
  return find([&](const WeightFormat& format) { return format.name == name; });
}

const WeightFormat* find_weight_format_of_ggml(uint32_t ggml_type) {
  return find([&](const WeightFormat& format) { return format.ggml_type == ggml_type; });
}

Status quantize_row(DType dtype, std::span<const float> values, std::span<std::byte> target, const std::string& where) {
  const WeightFormat* format = nullptr;
  VL2_TRY(check_row(dtype, values.size(), target.size(), where, format));
  const bool wide = dtype == DType::F32 || dtype == DType::BF16;
  // Written so that NaN is refused too. A bf16 rounds to infinity from halfway above its largest value on.
  const float most = dtype == DType::BF16 ? 0x1.fep127f : std::numeric_limits<float>::max();
  const float limit = wide ? most : kMaxHalf;
  for (size_t i = 0; i < values.size(); ++i)
    if (!(std::fabs(values[i]) <= limit)) {
      if (!std::isfinite(values[i]))
        return fail(Code::BadArgument, where, ": element ", i, " is ", values[i], ", wanted a finite number");
      return fail(Code::BadArgument, where, ": element ", i, " is ", values[i], ", ", format->name, " holds at most ", limit);
    }
  format->quantize(values.data(), values.size(), target.data());
  return {};
}

Status dequantize_row(DType dtype, std::span<const std::byte> source, std::span<float> values, const std::string& where) {
  const WeightFormat* format = nullptr;
  VL2_TRY(check_row(dtype, values.size(), source.size(), where, format));
  format->dequantize(source.data(), values.size(), values.data());
  return {};
}

}  // namespace vl2
