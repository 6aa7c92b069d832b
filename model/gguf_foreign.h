// GGUF text models that llama.cpp's converter made: config.json and tokenizer.json written anew from its keys.
#pragma once

#include <string>

#include "model/gguf.h"
#include "runtime/status.h"

namespace vl2 {

/// The text of a config.json that says of the language model what the keys say; encoder and projector are placeholders.
///
/// Errors  BadFile: a key is missing or of another type; Unsupported: another architecture, a rank of queries, groups of experts
/// Source  llama.cpp, gguf-py/gguf/constants.py and src/models/deepseek2.cpp
Result<std::string> config_text_of_keys(const Gguf& gguf, const std::string& where);

/// The text of a tokenizer.json with the vocabulary, the merges and the control tokens of the keys.
///
/// Errors  BadFile: a key is missing or of another type, lists that do not fit together; Unsupported: a tokenizer that is none of
///         DeepSeek-LLM's and DeepSeek-V3's
/// Source  llama.cpp, src/llama-vocab.cpp
Result<std::string> tokenizer_text_of_keys(const Gguf& gguf, const std::string& where);

}  // namespace vl2
