// Tells models apart by what is in their files.
#pragma once

#include <cstdint>

#include "runtime/status.h"

namespace vl2 {

class Checkpoint;
class Tokenizer;
struct QuantizeMix;

/// A number for the weights of a checkpoint as a mix (or none) makes them: of the name, type and shape of every tensor, and of a
/// row from the middle of each that is no expert's. So it differs between models that were trained apart, and between formats of
/// one; it need not differ where experts alone were changed.
///
/// Errors  those of Checkpoint::read
/// Cost    some hundred reads of a few KB
Result<uint64_t> identity_of_weights(const Checkpoint& checkpoint, const QuantizeMix* mix);

/// A number for what every id of a tokenizer stands for.
uint64_t identity_of_words(const Tokenizer& tokenizer);

}  // namespace vl2
