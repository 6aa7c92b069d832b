// Random weights of a model's exact shapes, made on the device: for benchmarks that have no checkpoint.
#pragma once

#include <memory>

#include "model/config.h"
#include "model/weights.h"
#include "runtime/status.h"

namespace vl2 {

class Device;
struct QuantizeMix;

/// Fills every weight of `config`: matrices f16 from a normal distribution of 1/sqrt(inputs) (embeddings 0.02), the router f32,
/// the weights of norms 1, other vectors normal(0, 0.02). Finite activations follow; the answers are noise. The values repeat
/// every few megabytes, at no power of two.
///
/// mix     not null: matrices are what a file of it would hold
/// expert_slots  as load_weights() has it
/// Errors  OutOfMemory, VulkanError; nothing stays allocated
Result<std::unique_ptr<Weights>> make_synthetic_weights(Device& device, const Config& config, const QuantizeMix* mix = nullptr,
                                                        uint32_t expert_slots = 0);

/// Makes routers prefer some experts, as trained ones do: expert e of E gets skew * (1 - 2 e / (E - 1)) / E on top of its score,
/// whose mean is 1 / E with softmax.
///
/// Errors  OutOfMemory, VulkanError
Status skew_routing(Device& device, float skew, Weights& weights);

}  // namespace vl2
