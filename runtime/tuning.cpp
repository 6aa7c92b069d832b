#include "runtime/tuning.h"

#include <algorithm>
#include <cstdlib>
#include <cstdio>
#include <numeric>

#include "shaders/interface/gemm.h"

namespace vl2 {

namespace {

GemmTile gemm_tile(const DeviceCaps& caps) {
  GemmTile t{16, 16, 4, 4};
  if (caps.type == DeviceType::Cpu) t = {8, 8, 8, 8};
  if (const char* e = getenv("TILE")) sscanf(e, "%u,%u,%u,%u", &t.threads_along_columns, &t.threads_along_rows, &t.rows_per_thread, &t.columns_per_thread);
  return t;
}

GemvGroup gemv_group(const DeviceCaps& caps) {
  GemvGroup g = caps.type == DeviceType::Cpu ? GemvGroup{std::max(caps.subgroup_size, 4u), 16} : GemvGroup{64, 4};
  if (const char* e = getenv("GEMV")) sscanf(e, "%u,%u", &g.threads, &g.columns);
  return g;
}

}  // namespace

MatmulPlan plan_matmul(const DeviceCaps& caps, uint32_t rows, uint32_t columns) {
  (void)columns;
  uint32_t limit = GEMV_MAX_ROWS;
  if (const char* e = getenv("GEMV_ROWS")) limit = (uint32_t)atoi(e);
  return {rows <= limit ? MatmulKernel::Gemv : MatmulKernel::GemmTiled, gemm_tile(caps), gemv_group(caps)};
}

MatmulPlan plan_expert_matmul(const DeviceCaps& caps, uint32_t pairs, uint32_t experts, uint32_t columns) {
  (void)columns;
  return {pairs <= 2 * experts ? MatmulKernel::Gemv : MatmulKernel::GemmTiled, gemm_tile(caps), gemv_group(caps)};
}

uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment) {
  if (piece_bytes * pieces <= max_bytes)
    return pieces;
  const uint64_t step = alignment / std::gcd(piece_bytes, uint64_t{alignment});
  return static_cast<uint32_t>(max_bytes / piece_bytes / step * step);
}

}  // namespace vl2
