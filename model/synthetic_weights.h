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
/// Errors  OutOfMemory, VulkanError; nothing stays allocated
Result<std::unique_ptr<Weights>> make_synthetic_weights(Device& device, const Config& config, const QuantizeMix* mix = nullptr);

}  // namespace vl2
