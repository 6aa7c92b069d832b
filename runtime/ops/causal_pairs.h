// Work of causal attention, for Cost.
#pragma once

#include <cstdint>

namespace vl2 {

/// Pairs of a query and a key it sees: query t of query_count sees keys 0 .. first_position + t.
constexpr uint64_t causal_pairs(uint64_t query_count, uint64_t first_position) {
  return query_count * (first_position + 1) + query_count * (query_count - 1) / 2;
}

}  // namespace vl2
