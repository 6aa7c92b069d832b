#include "model/tokenizer.h"

#include <algorithm>

#include "model/utf8.h"

namespace vl2 {

namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

}  // namespace

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, ControlTokens control,
                                               std::span<const TokenId> recognised) const {
  if (text.size() >= kMaxTextBytes)
    return fail(Code::BadArgument, "tokenizer: text of ", text.size(), " bytes, wanted less than ", kMaxTextBytes);
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    return fail(Code::BadArgument, "tokenizer: byte ", bad, " of the text is not UTF-8");
  std::vector<bool> allowed(added_.size());
  for (size_t i = 0; i < added_.size(); ++i)
    allowed[i] = control == ControlTokens::Recognise || !added_[i].is_control() ||
                 std::find(recognised.begin(), recognised.end(), added_[i].id) != recognised.end();
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 4 + 4);
  encode_between(text, first_trie_, allowed, false, ids);
  return ids;
}

// Finds the tokens of one trie and encodes what lies between them: by the second trie, then by byte pairs.
void Tokenizer::encode_between(std::string_view text, const TokenTrie& trie, const std::vector<bool>& allowed, bool second_pass,
                               std::vector<TokenId>& out) const {
  const auto encode_gap = [&](std::string_view gap) {
    if (gap.empty())
      return;
    if (second_pass)
      encode_plain(gap, out);
    else
      encode_between(gap, second_trie_, allowed, true, out);
  };
  size_t gap = 0;
  for (size_t at = 0; at < text.size();) {
    const auto match = trie.longest_match(text.substr(at), allowed);
    if (!match) {
      ++at;
      continue;
    }
    encode_gap(text.substr(gap, at - gap));
    out.push_back(added_[match->index].id);
    gap = at = at + match->bytes;
  }
  encode_gap(text.substr(gap));
}

void Tokenizer::encode_plain(std::string_view text, std::vector<TokenId>& out) const {
  uint32_t begin = 0;
  for (const uint32_t end : pre_tokenizer_.split(text)) {
    bpe_.encode(text.substr(begin, end - begin), out);
    begin = end;
  }
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  if (!is_id(id))
    return {};
  const uint32_t begin = offsets_[id], end = offsets_[size_t{id} + 1];
  return std::string_view(bytes_).substr(begin, end - begin);
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool keep_special) const {
  std::string bytes;
  for (const TokenId id : ids)
    if (keep_special || !is_special(id))
      bytes += token_bytes(id);
  return repair_utf8(bytes);
}

std::optional<TokenId> Tokenizer::find_added_token(std::string_view content) const {
  for (const AddedToken& token : added_)
    if (token.content == content)
      return token.id;
  return std::nullopt;
}

std::string StreamDecoder::push(TokenId id) {
  if (keep_special_ || !tokenizer_.is_special(id))
    held_ += tokenizer_.token_bytes(id);
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.truncated)
      break;
    if (step.valid)
      out.append(rest.substr(0, step.bytes));
    else
      append_utf8(out, 0xFFFD);
    rest.remove_prefix(step.bytes);
  }
  held_.erase(0, held_.size() - rest.size());
  return out;
}

std::string StreamDecoder::flush() {
  std::string out = repair_utf8(held_);
  held_.clear();
  return out;
}

}  // namespace vl2
