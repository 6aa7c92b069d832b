// What mark_seen.comp and mark_seen.cpp agree on.
#ifndef VL2_INTERFACE_MARK_SEEN_H
#define VL2_INTERFACE_MARK_SEEN_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint MARK_SEEN_THREADS = 256u;                 // per workgroup, each one id
VL2_CONST uint MARK_SEEN_IDS = 0u, MARK_SEEN_SEEN = 1u;  // bindings

struct MarkSeenParams {
  uint token_count;
  uint seen_words;
  uint ids_offset;  // elements from the start of the binding to the first one
  uint seen_offset;
};

VL2_SHARED_END
#endif
