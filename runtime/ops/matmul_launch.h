// What matmul and expert_matmul share: how large a plan's workgroups are, and its dispatch.
#pragma once

#include <optional>

#include "runtime/recorder.h"
#include "runtime/tuning.h"

namespace vl2 {

/// The first variants of the kernels (of gemm_coopmat the f16 one, of gemm_dot the q8_0 one), of matmul or of its sibling for experts.
struct MatmulShaders {
  ShaderId gemv, gemm_tiled, gemm_direct, gemm_coopmat, gemm_dot;
  std::optional<ShaderId> gemm_coopmat2;
};

/// What a pipeline depends on beside its plan, and the tensors' places do not.
struct MatmulLaunch {
  MatmulPlan plan;
  DType x, weight;
  uint32_t activation;   ///< MATMUL_GELU_* or 0
  uint32_t x_alignment;  ///< 8, 4 or 1; see row_alignment()
  bool y_quads;          ///< rows of y and of the residual begin at multiples of 4 elements
  bool gated;            ///< y = silu(gate) * up
  bool whole_steps;      ///< GemmCoopmat: a step of the tile divides k and a slice
};

/// Columns and rows of y.
struct MatmulGroup {
  uint32_t columns, rows;
};

/// What one workgroup of a plan makes.
MatmulGroup matmul_group(const MatmulPlan& plan, bool gated);

inline uint32_t groups_of(uint32_t count, uint32_t size) {
  return (count + size - 1) / size;
}

/// Elements of K in each of a plan's slices: a multiple of its steps, or all of K.
uint32_t slice_width(const MatmulPlan& plan, uint32_t k);

/// Whether no step of a plan's matrix tile reaches beyond the end of K or of a slice.
inline bool has_whole_steps(const MatmulPlan& plan, uint32_t k, uint32_t k_slice) {
  const uint32_t step = plan.matrix_tile.k;
  return step != 0 && k % step == 0 && k_slice % step == 0;
}

/// Words of memory for x in bytes: 0 where K is no multiple of 32, or where one binding cannot hold them.
uint32_t bytes_words(const Recorder& rec, const TensorView& x);

/// Whether `words` hold x in bytes; empty ones do not.
bool holds_bytes(const Recorder& rec, const TensorView& words, const TensorView& x);

/// x as a plan's kernel reads it.
struct MatmulInput {
  TensorView x;     ///< or its codes, from a bindable offset
  uint32_t offset;  ///< elements from its start to the first row
  uint32_t row_stride;
  TensorView numbers;  ///< GemmDot: of the codes; else empty
};

/// Records quantize_rows for GemmDot, into `words`.
///
/// Errors  GemmDot: BadShape, K is no multiple of 32 or `words` are too few; BadDType, a weight that is not in blocks
Result<MatmulInput> matmul_input(Recorder& rec, const MatmulPlan& plan, const TensorView& x, const TensorView& weight,
                                 const TensorView& words);

/// The problem of x [M, K] and a weight [N, K] or [E, N, K].
MatmulProblem matmul_problem(const TensorView& x, const TensorView& weight, uint32_t rows, bool gated);

/// Records one dispatch of a plan.
///
/// params   MatmulParams or ExpertMatmulParams
/// tensors  in the order of the bindings
/// Errors   BadArgument: the plan's kernel is not among the shaders; those of Recorder::dispatch
template <typename Params>
Status dispatch_matmul(Recorder& rec, const MatmulShaders& shaders, const MatmulLaunch& launch, const Params& params,
                       std::initializer_list<Binding> tensors, Groups groups, Cost cost) {
  const uint32_t x_quads = launch.x_alignment >= 4;
  const auto variant = [&](ShaderId first) { return act_weight_variant(first, launch.x, launch.weight); };
  switch (launch.plan.kernel) {
    case MatmulKernel::Gemv: {
      const GemvGroup& g = launch.plan.group;
      return rec.dispatch(variant(shaders.gemv), tensors, params, groups, cost,
                          {g.threads, g.columns, g.rows, 0, x_quads, 0, launch.activation});
    }
    case MatmulKernel::GemmTiled: {
      const GemmTile& t = launch.plan.tile;
      return rec.dispatch(variant(shaders.gemm_tiled), tensors, params, groups, cost,
                          {t.threads_along_columns, t.threads_along_rows, t.rows_per_thread, t.columns_per_thread, x_quads, 0,
                           launch.activation, t.k});
    }
    case MatmulKernel::GemmDirect: {
      const GemmTile& t = launch.plan.tile;
      return rec.dispatch(variant(shaders.gemm_direct), tensors, params, groups, cost,
                          {t.threads_along_columns, t.rows_per_thread / t.threads_along_columns, t.columns_per_thread, 0, x_quads,
                           0, launch.activation});
    }
    case MatmulKernel::GemmCoopmat: {
      const MatrixTile& m = launch.plan.matrix_tile;
      return rec.dispatch(
          matrix_weight_variant(shaders.gemm_coopmat, launch.weight), tensors, params, groups, cost,
          {m.threads(), m.rows, m.columns, m.subgroup_rows, m.subgroup_columns, m.k, launch.activation, m.stages, m.shape.m,
           m.shape.n, m.shape.k, launch.x_alignment, launch.y_quads, launch.gated, launch.whole_steps, launch.plan.fetch_parts});
    }
    case MatmulKernel::GemmDot: {
      const GemmTile& t = launch.plan.tile;
      return rec.dispatch(
          block_variant(shaders.gemm_dot, launch.weight), tensors, params, groups, cost,
          {t.threads_along_columns, t.threads_along_rows, t.rows_per_thread, t.columns_per_thread, 0, 0, launch.activation, t.k});
    }
    case MatmulKernel::GemmCoopmat2: {
      if (!shaders.gemm_coopmat2)
        break;
      const WorkgroupTile& w = launch.plan.workgroup_tile;
      return rec.dispatch(
          *shaders.gemm_coopmat2, tensors, params, groups, cost,
          {w.threads, w.rows, w.columns, 0, 0, w.k, launch.activation, 0, 0, 0, 0, launch.x_alignment, 0, launch.gated});
    }
  }
  return fail(Code::BadArgument, "matmul: no such kernel for experts");
}

}  // namespace vl2
