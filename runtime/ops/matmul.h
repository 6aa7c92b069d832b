// Matrix multiplication with a weight, and what is fused behind it: bias, activation, residual.
#pragma once

#include "runtime/recorder.h"
#include "runtime/tuning.h"

namespace vl2 {

/// The function applied after the bias.
enum class Activation : uint32_t {
  None,
  GeluTanh,  ///< x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  GeluErf,   ///< x / 2 (1 + erf(x / sqrt(2))), erf to 2e-7 absolute
};

/// What matmul does behind the product. All of it in f32, before the one rounding at the store.
struct MatmulOptions {
  TensorView bias;  ///< [N] f32, or empty
  Activation activation = Activation::None;
  TensorView residual;  ///< [M, N] f32, rows strided, any offset, or empty; may be y itself when y is f32
  TensorView slices;    ///< scratch: at least matmul_slices_elements() f32 from a 16-byte boundary, or empty: K is not cut
  TensorView bytes;     ///< scratch: at least matmul_bytes_words() u32 from a 256-byte boundary, or empty: no bytes
  const MatmulPlan* plan = nullptr;  ///< for measurements: instead of what tuning.h chooses
};

/// Records y = activation(x W^T + bias) + residual.
///
/// x       [M, K] f32 or f16 (the activation type); rows may be strided and start anywhere
/// weight  [N, K] of any weight format; row stride a multiple of 8, zeros beyond K; offset aligned; may be larger than one binding
/// y       [M, N] f32 or the dtype of x; rows may be strided and start anywhere; f16 saturates. Apart from y = residual nothing
///         may alias
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    2 M N K flops; reads the weight once (gemv) or once a tile of rows of x (gemm_tiled, gemm_dot, gemm_coopmat). tuning.h
///         says which
/// Source  DeepSeek-VL2: every torch.nn.Linear of modeling_deepseek.py, siglip_vit.py and modeling_deepseek_vl_v2.py
Status matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y,
              const MatmulOptions& options = {});

/// f32 elements of scratch with which matmul cuts K in slices where that is faster: 0 where it is not.
uint32_t matmul_slices_elements(Recorder& rec, const TensorView& x, const TensorView& weight);

/// u32 elements of scratch with which matmul rounds x to bytes where products of those are faster (weights in blocks, tier 2): 0
/// where they are not. Of matmul_swiglu, too.
uint32_t matmul_bytes_words(Recorder& rec, const TensorView& x, const TensorView& weight);

/// Records y = silu(x W_gate^T) * (x W_up^T): in one dispatch on matrix units, else as matmul and swiglu.
///
/// x        [M, K] as in matmul
/// weight   [2 I, K] as in matmul: the rows of gate, then those of up
/// gate_up  [M, 2 I] f32 or the dtype of x: scratch, touched only if matmul_swiglu_needs_gate_up(); else it may be empty
/// y        [M, I] f32 or the dtype of x, as in matmul
/// bytes    as MatmulOptions::bytes
/// plan     for measurements: instead of what tuning.h chooses
/// Errors   BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Source   DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward
Status matmul_swiglu(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& gate_up, const TensorView& y,
                     const MatmulPlan* plan = nullptr, const TensorView& bytes = {});
bool matmul_swiglu_needs_gate_up(Recorder& rec, const TensorView& x, const TensorView& weight);

}  // namespace vl2
