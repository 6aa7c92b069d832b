#include "runtime/ops/matmul_launch.h"

#include <algorithm>
#include <numeric>

#include "runtime/ops/quantize_rows.h"

namespace vl2 {

MatmulGroup matmul_group(const MatmulPlan& plan, bool gated) {
  const uint32_t halves = gated ? 2 : 1;  // gate and up, of matrix tiles
  switch (plan.kernel) {
    case MatmulKernel::Gemv: return {plan.group.columns, plan.group.rows};
    case MatmulKernel::GemmTiled:
    case MatmulKernel::GemmDot:
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

uint32_t bytes_words(const Recorder& rec, const TensorView& x) {
  const uint64_t codes = uint64_t{x.dim(0)} * x.dim(1);
  return x.dim(1) % 32 == 0 && codes <= rec.max_binding_bytes() ? static_cast<uint32_t>(byte_rows_words(x.dim(0), x.dim(1))) : 0;
}

bool holds_bytes(const Recorder& rec, const TensorView& words, const TensorView& x) {
  const uint32_t wanted = bytes_words(rec, x);
  return wanted > 0 && !words.empty() && words.element_count() >= wanted;
}

Result<MatmulInput> matmul_input(Recorder& rec, const MatmulPlan& plan, const TensorView& x, const TensorView& weight,
                                 const TensorView& words) {
  if (plan.kernel != MatmulKernel::GemmDot) {
    const AlignedView bound = rec.aligned(x);
    return MatmulInput{bound.view, bound.remainder, x.stride(0), {}};
  }
  if (dtype_block(weight.dtype) == 1)
    return fail(Code::BadDType, "matmul: weight ", weight, " must be in blocks for products of bytes");
  VL2_TRY(quantize_rows(rec, x, words));
  const ByteRows bytes = byte_rows(words, x.dim(0), x.dim(1));
  return MatmulInput{bytes.codes, 0, x.dim(1), bytes.numbers};
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
