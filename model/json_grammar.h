// The JSON texts of a schema as an automaton over bytes with a stack: what token_mask.h walks the vocabulary with.
//
// Design: every part of a schema is a little automaton that others call. A frame of the stack is a node and a count, of characters
// or items, so that a bound of a thousand takes no thousand nodes. From every node that can be reached some end can be reached:
// impossible parts are left out before (SchemaNode::possible) and a loop is left only where its count allows it, so a text never
// gets into a corner. White space is allowed where writers of JSON put it, and bounded: nothing or a space behind a colon and in
// front of everything; nothing, a space, or a line with up to kMaxIndent spaces within brackets.
#pragma once

#include <cstdint>
#include <vector>

#include "model/json_schema.h"

namespace vl2 {

inline constexpr uint32_t kMaxIndent = 24;
inline constexpr uint32_t kMaxIntegerDigits = 15, kMaxFractionDigits = 15, kMaxExponentDigits = 2;  ///< of numbers
inline constexpr uint32_t kMaxGrammarNodes = 1u << 18;

struct GrammarNode {
  /// Whether the count of the frame lets through.
  enum class When : uint8_t { Always, IfRoom /* count < most */, IfEnough /* count >= least */ };
  struct Edge {
    uint8_t first = 0, last = 0;  ///< bytes
    When when = When::Always;
    bool counts = false;  ///< the count goes up by one
    uint32_t next = 0;
  };
  std::vector<Edge> edges;
  std::vector<uint32_t> calls;  ///< entries of parts, one of which comes here; then the frame goes on at `after`
  uint32_t after = 0;
  When call_when = When::Always;
  std::vector<uint32_t> jumps;  ///< where else the frame may be, without a byte
  bool returns = false;         ///< the part may end here
  uint32_t least = 0, most = kNoSchemaLimit;
};

struct JsonGrammar {
  std::vector<GrammarNode> nodes;
  uint32_t root = 0;  ///< of a part that is called with nothing beneath
};

/// Errors  BadArgument: a schema of more than kMaxGrammarNodes nodes
Result<JsonGrammar> make_json_grammar(const JsonSchema& schema);

}  // namespace vl2
