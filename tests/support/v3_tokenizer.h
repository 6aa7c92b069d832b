// The public V3 vocabulary with the eight tokens that DeepSeek-VL2 adds to it: what Tiny and Base use.
#pragma once

#include <string>

#include "model/tokenizer.h"

namespace vl2 {

/// Its tokenizer.json. The first call fetches it (tests/fetch_tokenizer.sh); a test that cannot have it fails.
const std::string& v3_tokenizer_json();

/// Loaded from v3_tokenizer_json().
const Tokenizer& v3_tokenizer();

/// A small tokenizer.json: one token a byte (ids 0 to 255 in the order of the bytes), then one a merge, then added tokens, each
/// special.
///
/// pre_tokenizer  JSON
/// merges         "a b" in the byte-level alphabet
/// added          texts
std::string small_tokenizer_json(const std::string& pre_tokenizer, const std::vector<std::string>& merges,
                                 const std::vector<std::string>& added);

/// The pre_tokenizer of the V3 family, and that of the 100k family, as JSON.
const std::string& v3_pre_tokenizer();
const std::string& family_100k_pre_tokenizer();

/// The regular expressions of the two, in their order.
const std::vector<std::string>& v3_patterns();
const std::vector<std::string>& family_100k_patterns();

}  // namespace vl2
