// Text to token ids and back, as a tokenizer.json says: byte-level byte-pair encoding with added tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/added_tokens.h"
#include "model/bpe.h"
#include "model/json_document.h"
#include "model/pre_tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

/// What becomes of control tokens that stand in a text.
enum class ControlTokens {
  Ignore,     ///< their letters are text like any other: nothing that a user types can act as a role, an end or a picture
  Recognise,  ///< they become the one token, as in the official Python
};

/// A loaded tokenizer. Const after loading, so any number of threads may use it.
class Tokenizer {
 public:
  /// Loads the file `path`, a tokenizer.json.
  ///
  /// Errors  NotFound, IoError; BadFile: malformed (missing keys, ids out of range or double, merges of unknown tokens, no token
  /// for a byte);
  ///         Unsupported: another kind of model, pre-tokenizer, normalizer or decoder. One line, naming the key.
  static Result<Tokenizer> load(const std::string& path);

  /// The same for the text of such a file; errors begin with `where`.
  static Result<Tokenizer> parse(std::string_view text, const std::string& where);

  /// The ids of `text`; nothing is added at either end.
  ///
  /// text        UTF-8, less than 1 GiB
  /// control     what control tokens in the text mean; added tokens that are none of these are always recognised
  /// recognised  ids of control tokens that are recognised even so
  /// Errors      BadArgument: not UTF-8, with the offset of the byte; too long
  /// Cost        linear in the text but for a logarithm
  Result<std::vector<TokenId>> encode(std::string_view text, ControlTokens control,
                                      std::span<const TokenId> recognised = {}) const;

  /// The text of `ids`, ill-formed bytes replaced by U+FFFD. Ids without a token are skipped, special tokens unless
  /// `keep_special` too.
  std::string decode(std::span<const TokenId> ids, bool keep_special) const;

  /// The bytes that a token stands for, which may be part of a character; none for an id without a token.
  std::string_view token_bytes(TokenId id) const;

  /// Whether the file flags it special: decode can leave it out.
  bool is_special(TokenId id) const { return is_id(id) && special_[id]; }

  /// The id of the added token with exactly this text.
  std::optional<TokenId> find_added_token(std::string_view content) const;

  const std::vector<AddedToken>& added_tokens() const { return added_; }

  /// One more than the highest id.
  uint32_t id_count() const { return static_cast<uint32_t>(offsets_.size()) - 1; }

 private:
  class Loader;
  Tokenizer() = default;
  bool is_id(TokenId id) const { return id < id_count(); }
  void encode_between(std::string_view text, const TokenTrie& trie, const std::vector<bool>& allowed, bool second_pass,
                      std::vector<TokenId>& out) const;
  void encode_plain(std::string_view text, std::vector<TokenId>& out) const;

  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  std::vector<AddedToken> added_;
  TokenTrie first_trie_, second_trie_;  // over added_: not normalized, normalized
  std::string bytes_;                   // of all tokens, one after the other
  std::vector<uint32_t> offsets_;       // [id_count + 1], into bytes_
  std::vector<bool> special_;           // [id_count]
};

/// Decodes a stream of ids, never handing out part of a character. What it returns, put together, is Tokenizer::decode of all
/// ids.
class StreamDecoder {
 public:
  /// The tokenizer outlives this.
  StreamDecoder(const Tokenizer& tokenizer, bool keep_special) : tokenizer_(tokenizer), keep_special_(keep_special) {}

  /// The text that is complete after one more id; often empty.
  std::string push(TokenId id);

  /// The end: what was held back, as U+FFFD. Ready for another stream.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool keep_special_;
  std::string held_;  // the beginning of a character
};

}  // namespace vl2
