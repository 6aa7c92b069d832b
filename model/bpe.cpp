#include "model/bpe.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <queue>

namespace vl2 {

namespace {

constexpr size_t kShortPiece = 48;        // bytes; words of natural text are far below
constexpr uint64_t kNoPair = UINT64_MAX;  // no token has the id UINT32_MAX

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{left} << 32 | right;
}

uint64_t hash(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio: spreads ids over the high bits
  return key ^ key >> 32;
}

}  // namespace

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges) : byte_ids_(byte_ids) {
  slots_.assign(std::bit_ceil(2 * merges.size() + 2), Slot{kNoPair, kNoMerge, kNoToken});
  mask_ = slots_.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    uint64_t at = hash(key) & mask_;
    while (slots_[at].pair != kNoPair)
      at = (at + 1) & mask_;
    slots_[at] = {key, static_cast<uint32_t>(rank), merges[rank].result};
  }
}

const Bpe::Slot* Bpe::find(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  for (uint64_t at = hash(key) & mask_; slots_[at].pair != kNoPair; at = (at + 1) & mask_)
    if (slots_[at].pair == key)
      return &slots_[at];
  return nullptr;
}

void Bpe::encode(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.size() <= kShortPiece)
    encode_short(piece, out);
  else
    encode_long(piece, out);
}

void Bpe::encode_short(std::string_view piece, std::vector<TokenId>& out) const {
  std::array<TokenId, kShortPiece> ids;
  std::array<const Slot*, kShortPiece> merges;  // of the pair that begins here
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i) {
    ids[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
    assert(ids[i] != kNoToken);
  }
  for (size_t i = 0; i + 1 < count; ++i)
    merges[i] = find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = count;
    uint32_t best_rank = kNoMerge;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (merges[i] != nullptr && merges[i]->rank < best_rank) {
        best = i;
        best_rank = merges[i]->rank;
      }
    }
    if (best == count)
      break;
    ids[best] = merges[best]->result;
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      ids[i] = ids[i + 1];
      merges[i] = merges[i + 1];
    }
    if (best > 0)
      merges[best - 1] = find(ids[best - 1], ids[best]);
    if (best + 1 < count)
      merges[best] = find(ids[best], ids[best + 1]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
}

// Symbols in a linked list, candidate merges in a heap; a candidate whose symbols have changed since is skipped when it comes up.
void Bpe::encode_long(std::string_view piece, std::vector<TokenId>& out) const {
  constexpr uint32_t kNone = UINT32_MAX;
  struct Symbol {
    TokenId id;
    uint32_t previous, next;
  };
  struct Candidate {
    uint32_t rank, at;
    TokenId left, right;
    const Slot* merge;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto count = static_cast<uint32_t>(piece.size());
  std::vector<Symbol> symbols(count);
  std::vector<Candidate> first_candidates;
  const auto candidate_at = [&](uint32_t at, auto&& add) {
    const uint32_t next = symbols[at].next;
    if (next == kNone)
      return;
    if (const Slot* merge = find(symbols[at].id, symbols[next].id))
      add(Candidate{merge->rank, at, symbols[at].id, symbols[next].id, merge});
  };
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
    assert(symbols[i].id != kNoToken);
  }
  for (uint32_t i = 0; i < count; ++i)
    candidate_at(i, [&](const Candidate& candidate) { first_candidates.push_back(candidate); });
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap(std::greater<>(), std::move(first_candidates));
  const auto push = [&](const Candidate& candidate) { heap.push(candidate); };
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = symbols[best.at];
    if (left.id != best.left || left.next == kNone || symbols[left.next].id != best.right)
      continue;
    Symbol& right = symbols[left.next];
    left.id = best.merge->result;
    right.id = kNoToken;  // gone
    left.next = right.next;
    if (left.next != kNone)
      symbols[left.next].previous = best.at;
    if (left.previous != kNone)
      candidate_at(left.previous, push);
    candidate_at(best.at, push);
  }
  for (uint32_t at = 0; at != kNone; at = symbols[at].next)
    out.push_back(symbols[at].id);
}

}  // namespace vl2
