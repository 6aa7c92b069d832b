// The keys of our GGUF files: llama.cpp's for the language model and the tokenizer, and ours with the texts of the folder's files.
#pragma once

#include <string>

#include "model/config.h"
#include "model/gguf_write.h"
#include "model/json_document.h"

namespace vl2 {

/// general.* and the architecture's own keys.
///
/// name        general.name
/// split_kv_b  attn_k_b and attn_v_b are in the file: then llama.cpp wants the sizes of the compressed cache, too
/// Source      llama.cpp, gguf-py/gguf/constants.py, conversion/deepseek.py
GgufKeys gguf_language_keys(const LanguageConfig& config, const std::string& name, uint32_t file_type, bool split_kv_b);

/// tokenizer.ggml.*: the vocabulary by id (ids without a token become unused ones), merges, special ids.
///
/// tokenizer  the parsed text of a tokenizer.json that Tokenizer::parse took
/// Errors     Unsupported: a pre-tokenizer that llama.cpp has no name for
Result<GgufKeys> gguf_tokenizer_keys(const JsonValue& tokenizer, const LanguageConfig& config, const std::string& where);

}  // namespace vl2
