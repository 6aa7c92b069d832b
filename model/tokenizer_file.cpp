// Tokenizer::load and parse: the checks that make a tokenizer.json safe to use.
#include <algorithm>
#include <unordered_map>

#include "model/json_file.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

namespace vl2 {

namespace {

using Kind = JsonValue::Kind;

constexpr uint64_t kMaxFileBytes = 64 << 20;  // the published files have 5 to 8 MB
constexpr int64_t kMaxId = (1 << 22) - 1;
constexpr size_t kMaxContentBytes = 1024;  // of an added token

// Byte-level alphabets write every byte as one visible character: printable Latin-1 as itself, the others from U+0100 on, in
// order.
struct ByteAlphabet {
  std::array<uint32_t, 256> character_of{};
  std::unordered_map<uint32_t, uint8_t> byte_of;

  ByteAlphabet() {
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool is_visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      character_of[byte] = is_visible ? byte : next++;
      byte_of[character_of[byte]] = static_cast<uint8_t>(byte);
    }
  }
};

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

// What a token of the file stands for. A token with a character outside the alphabet stands for its own text.
std::string bytes_of_token(std::string_view content) {
  std::string bytes;
  for (std::string_view rest = content; !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    const auto found = byte_alphabet().byte_of.find(step.code_point);
    if (!step.valid || found == byte_alphabet().byte_of.end())
      return std::string(content);
    bytes.push_back(static_cast<char>(found->second));
    rest.remove_prefix(step.bytes);
  }
  return bytes;
}

// Bytes that some UTF-8 text holds; a vocabulary needs a token for each.
bool occurs_in_utf8(uint32_t byte) {
  return byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
}

std::string shown(std::string_view text) {
  return json_quote(text.substr(0, 80));
}

}  // namespace

// Walks through one file. Every step returns the first thing that is wrong.
class Tokenizer::Loader {
 public:
  Loader(const JsonValue& root, const std::string& where) : root_(root), where_(where) {}

  Status run(Tokenizer& tokenizer) {
    VL2_TRY(check_surroundings());
    VL2_TRY(read_pre_tokenizer(tokenizer));
    VL2_TRY(find_model());
    VL2_TRY(read_vocabulary());
    VL2_TRY(read_merges(tokenizer));
    VL2_TRY(read_added_tokens(tokenizer));
    fill_tables(tokenizer);
    return {};
  }

 private:
  template <typename... Parts>
  Status bad(const Parts&... parts) const {
    return fail(Code::BadFile, where_, ": ", parts...);
  }
  template <typename... Parts>
  Status unsupported(const Parts&... parts) const {
    return fail(Code::Unsupported, where_, ": ", parts...);
  }

  // The member, or nullptr where it is absent or null.
  static const JsonValue* present(const JsonValue& object, const char* key) {
    const JsonValue* value = object.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  static bool is_text(const JsonValue* value, std::string_view text) {
    return value != nullptr && value->is(Kind::String) && value->as_string() == text;
  }

  // Everything around the model that would change ids or text.
  Status check_surroundings() const {
    if (!root_.is(Kind::Object))
      return bad("got ", root_.kind_name(), ", wanted object");
    for (const char* key : {"truncation", "padding"})
      if (present(root_, key) != nullptr)
        return unsupported(key, ": this program knows only null");
    if (const JsonValue* normalizer = present(root_, "normalizer")) {
      const JsonValue* list = normalizer->find("normalizers");
      if (!is_text(normalizer->find("type"), "Sequence") || list == nullptr || !list->is(Kind::Array) ||
          !list->as_array().empty())
        return unsupported("normalizer: this program knows none");
    }
    const JsonValue* decoder = present(root_, "decoder");
    if (decoder == nullptr || !is_text(decoder->find("type"), "ByteLevel"))
      return unsupported("decoder: this program knows only ByteLevel");
    return {};
  }

  Status read_pre_tokenizer(Tokenizer& tokenizer) const {
    const JsonValue* value = present(root_, "pre_tokenizer");
    if (value == nullptr)
      return unsupported("pre_tokenizer: missing, this program knows a Sequence of Splits with ByteLevel");
    VL2_ASSIGN(tokenizer.pre_tokenizer_, PreTokenizer::from_json(*value, where_ + ": pre_tokenizer"));
    return {};
  }

  Status find_model() {
    model_ = present(root_, "model");
    if (model_ == nullptr || !model_->is(Kind::Object))
      return bad("model: missing, wanted object");
    if (const JsonValue* type = model_->find("type"); type != nullptr && !is_text(type, "BPE"))
      return unsupported("model.type: this program knows only \"BPE\"");
    for (const char* key : {"dropout", "unk_token"})
      if (present(*model_, key) != nullptr)
        return unsupported("model.", key, ": this program knows only null");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const JsonValue* value = present(*model_, key); value != nullptr && !is_text(value, ""))
        return unsupported("model.", key, ": this program knows only null");
    for (const char* key : {"byte_fallback", "ignore_merges"})
      if (const JsonValue* value = present(*model_, key); value != nullptr && !(value->is(Kind::Bool) && !value->as_bool()))
        return unsupported("model.", key, ": this program knows only false");
    return {};
  }

  Status read_vocabulary() {
    const JsonValue* vocabulary = model_->find("vocab");
    if (vocabulary == nullptr || !vocabulary->is(Kind::Object))
      return bad("model.vocab: missing, wanted object");
    ids_.reserve(vocabulary->as_object().size());
    for (const auto& [content, id] : vocabulary->as_object()) {
      VL2_TRY(check_id(id, "model.vocab", content));
      VL2_TRY(claim(static_cast<TokenId>(id.as_integer()), content));
      ids_.emplace(content, static_cast<TokenId>(id.as_integer()));
    }
    return {};
  }

  Status check_id(const JsonValue& id, const char* list, std::string_view content) const {
    if (!id.is(Kind::Integer))
      return bad(list, ": token ", shown(content), " has a ", id.kind_name(), " as id, wanted integer");
    if (id.as_integer() < 0 || id.as_integer() > kMaxId)
      return bad(list, ": token ", shown(content), " has the id ", id.as_integer(), ", wanted 0 to ", kMaxId);
    return {};
  }

  // Notes that this id belongs to this token.
  Status claim(TokenId id, std::string_view content) {
    const size_t at = id;
    if (at >= contents_.size()) {
      contents_.resize(at + 1);
      taken_.resize(at + 1);
    }
    if (taken_[at])
      return bad("model.vocab: the id ", id, " belongs to both ", shown(contents_[at]), " and ", shown(content));
    contents_[at] = content;
    taken_[at] = true;
    return {};
  }

  Status find_id(std::string_view content, size_t merge, TokenId& id) const {
    const auto found = ids_.find(content);
    if (found == ids_.end())
      return bad("model.merges[", merge, "]: no token ", shown(content), " in model.vocab");
    id = found->second;
    return {};
  }

  // The two halves of a merge: "a b" or ["a", "b"].
  static bool halves(const JsonValue& merge, std::string_view& left, std::string_view& right) {
    if (merge.is(Kind::String)) {
      const std::string_view text = merge.as_string();
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
        return false;
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else {
      if (!merge.is(Kind::Array) || merge.as_array().size() != 2 || !merge.as_array()[0].is(Kind::String) ||
          !merge.as_array()[1].is(Kind::String))
        return false;
      left = merge.as_array()[0].as_string();
      right = merge.as_array()[1].as_string();
    }
    return !left.empty() && !right.empty();
  }

  Status read_merges(Tokenizer& tokenizer) const {
    const JsonValue* list = model_->find("merges");
    if (list == nullptr || !list->is(Kind::Array))
      return bad("model.merges: missing, wanted array");
    std::vector<Bpe::Merge> merges(list->as_array().size());
    std::vector<uint64_t> pairs(merges.size());
    std::string joined;
    for (size_t i = 0; i < merges.size(); ++i) {
      std::string_view left, right;
      if (!halves(list->as_array()[i], left, right))
        return bad("model.merges[", i, "]: wanted two tokens, as \"a b\" or [\"a\", \"b\"]");
      VL2_TRY(find_id(left, i, merges[i].left));
      VL2_TRY(find_id(right, i, merges[i].right));
      joined.assign(left).append(right);
      VL2_TRY(find_id(joined, i, merges[i].result));
      pairs[i] = uint64_t{merges[i].left} << 32 | merges[i].right;
    }
    std::sort(pairs.begin(), pairs.end());
    if (const auto twice = std::adjacent_find(pairs.begin(), pairs.end()); twice != pairs.end())
      return bad("model.merges: the pair ", shown(contents_[*twice >> 32]), " and ", shown(contents_[*twice & UINT32_MAX]),
                 " is there twice");

    std::array<TokenId, 256> byte_ids;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      std::string character;
      append_utf8(character, byte_alphabet().character_of[byte]);
      const auto found = ids_.find(character);
      if (found == ids_.end() && occurs_in_utf8(byte))
        return bad("model.vocab: no token ", shown(character), ", which stands for the byte ", byte);
      byte_ids[byte] = found == ids_.end() ? Bpe::kNoToken : found->second;
    }
    tokenizer.bpe_ = Bpe(byte_ids, merges);
    return {};
  }

  Status read_added_tokens(Tokenizer& tokenizer) {
    const JsonValue* list = present(root_, "added_tokens");
    if (list == nullptr)
      return {};
    if (!list->is(Kind::Array))
      return bad("added_tokens: got ", list->kind_name(), ", wanted array");
    for (size_t i = 0; i < list->as_array().size(); ++i) {
      AddedToken token;
      VL2_TRY(read_added_token(list->as_array()[i], "added_tokens[" + std::to_string(i) + "]", token));
      const auto index = static_cast<uint32_t>(tokenizer.added_.size());
      if (!added_ids_.emplace(token.content, token.id).second)
        return bad("added_tokens[", i, "]: ", shown(token.content), " is there twice");
      (token.normalized ? tokenizer.second_trie_ : tokenizer.first_trie_).insert(token.content, index);
      tokenizer.added_.push_back(std::move(token));
    }
    return {};
  }

  Status read_added_token(const JsonValue& value, const std::string& here, AddedToken& token) {
    const JsonValue* content = value.find("content");
    const JsonValue* id = value.find("id");
    if (content == nullptr || !content->is(Kind::String) || content->as_string().empty() || id == nullptr)
      return bad(here, ": wanted an object with content and id");
    token.content = content->as_string();
    if (token.content.size() > kMaxContentBytes)
      return bad(here, ": content of ", token.content.size(), " bytes, wanted at most ", kMaxContentBytes);
    VL2_TRY(check_id(*id, here.c_str(), token.content));
    token.id = static_cast<TokenId>(id->as_integer());
    for (const char* key : {"single_word", "lstrip", "rstrip"})
      VL2_TRY(read_flag(value, here, key, true, nullptr));
    VL2_TRY(read_flag(value, here, "special", false, &token.special));
    VL2_TRY(read_flag(value, here, "normalized", false, &token.normalized));
    const auto known = ids_.find(token.content);
    if (known == ids_.end())
      return claim(token.id, content->as_string());  // a view that stays, unlike token's
    if (known->second != token.id)
      return bad(here, ": ", shown(token.content), " has the id ", token.id, ", in model.vocab it has ", known->second);
    return {};
  }

  Status read_flag(const JsonValue& object, const std::string& here, const char* key, bool must_be_false, bool* target) const {
    const JsonValue* value = object.find(key);
    const bool flag = value != nullptr && value->is(Kind::Bool) && value->as_bool();
    if (value != nullptr && !value->is(Kind::Bool))
      return bad(here, ".", key, ": got ", value->kind_name(), ", wanted boolean");
    if (must_be_false && flag)
      return unsupported(here, ".", key, ": this program knows only false");
    if (target != nullptr)
      *target = flag;
    return {};
  }

  void fill_tables(Tokenizer& tokenizer) const {
    tokenizer.offsets_.reserve(contents_.size() + 1);
    tokenizer.offsets_.push_back(0);
    for (const std::string_view content : contents_) {
      tokenizer.bytes_ += bytes_of_token(content);
      tokenizer.offsets_.push_back(static_cast<uint32_t>(tokenizer.bytes_.size()));
    }
    tokenizer.special_.assign(contents_.size(), false);
    for (const AddedToken& token : tokenizer.added_)
      if (token.special)
        tokenizer.special_[token.id] = true;
  }

  const JsonValue& root_;
  const std::string& where_;
  const JsonValue* model_ = nullptr;
  // Views into root_, which outlives the loader.
  std::unordered_map<std::string_view, TokenId> ids_;  // of model.vocab
  std::unordered_map<std::string, TokenId> added_ids_;
  std::vector<std::string_view> contents_;  // by id; empty where there is no token
  std::vector<bool> taken_;
};

Result<Tokenizer> Tokenizer::parse(std::string_view text, const std::string& where) {
  VL2_ASSIGN(const JsonValue root, parse_json_document(text, where));
  Tokenizer tokenizer;
  VL2_TRY(Loader(root, where).run(tokenizer));
  return tokenizer;
}

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  VL2_ASSIGN(const std::string text, read_text_file(path, kMaxFileBytes));
  return parse(text, path);
}

}  // namespace vl2
