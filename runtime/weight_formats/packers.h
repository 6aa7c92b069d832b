// What the table in weight_format.cpp points to; each pair is as WeightFormat has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vl2 {

void pack_f32(const float* values, uint64_t count, std::byte* target);
void unpack_f32(const std::byte* source, uint64_t count, float* values);
void pack_f16(const float* values, uint64_t count, std::byte* target);
void unpack_f16(const std::byte* source, uint64_t count, float* values);
void pack_bf16(const float* values, uint64_t count, std::byte* target);
void unpack_bf16(const std::byte* source, uint64_t count, float* values);
void pack_q8_0(const float* values, uint64_t count, std::byte* target);
void unpack_q8_0(const std::byte* source, uint64_t count, float* values);
void repack_q8_0(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales);
void pack_q4_0(const float* values, uint64_t count, std::byte* target);
void unpack_q4_0(const std::byte* source, uint64_t count, float* values);
void repack_q4_0(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales);
void pack_q4_k(const float* values, uint64_t count, std::byte* target);
void unpack_q4_k(const std::byte* source, uint64_t count, float* values);
void repack_q4_k(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales);
void pack_q6_k(const float* values, uint64_t count, std::byte* target);
void unpack_q6_k(const std::byte* source, uint64_t count, float* values);
void repack_q6_k(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales);

}  // namespace vl2
