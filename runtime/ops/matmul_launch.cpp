#include "runtime/ops/matmul_launch.h"

#include <algorithm>
#include <numeric>

namespace vl2 {

MatmulGroup matmul_group(const MatmulPlan& plan, bool gated) {
  const uint32_t halves = gated ? 2 : 1;  // gate and up, of matrix tiles
  switch (plan.kernel) {
    case MatmulKernel::Gemv: return {plan.group.columns, plan.group.rows};
    case MatmulKernel::GemmTiled:
    case MatmulKernel::GemmDirect: return {plan.tile.columns(), plan.tile.rows()};
    case MatmulKernel::GemmCoopmat: return {plan.matrix_tile.columns / halves, plan.matrix_tile.rows};
    case MatmulKernel::GemmCoopmat2: return {plan.workgroup_tile.columns / halves, plan.workgroup_tile.rows};
  }
  return {1, 1};
}

uint32_t slice_width(const MatmulPlan& plan, uint32_t k) {
  if (plan.slices < 2 || (plan.kernel != MatmulKernel::GemmTiled && plan.kernel != MatmulKernel::GemmCoopmat))
    return k;
  const uint32_t step = std::lcm(plan.kernel == MatmulKernel::GemmTiled ? plan.tile.k : plan.matrix_tile.k, 8u);
  return std::min(k, groups_of(groups_of(k, plan.slices), step) * step);
}

MatmulProblem matmul_problem(const TensorView& x, const TensorView& weight, uint32_t rows, bool gated) {
  return {.rows = rows,
          .columns = weight.dim(weight.rank() - 2),
          .f16 = x.dtype == DType::F16 && (weight.dtype == DType::F16 || dtype_block(weight.dtype) > 1),
          .blocks = dtype_block(weight.dtype) > 1,
          .gated = gated,
          .k = x.dim(1)};
}

}  // namespace vl2
