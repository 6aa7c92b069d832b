// Which conversation a workgroup works for, and the buffers that are its own.
//
// With BATCHED, conversations lie along z of the grid: each has its caches in arrays of DECODE_CONVERSATIONS bindings, and rows in all else. Without,
// there is one, with bindings that are no arrays, and what tells conversations apart folds away: a token alone pays nothing for it.
#ifndef VL2_CONVERSATION_GLSL
#define VL2_CONVERSATION_GLSL
#include "interface/decode_state.h"

#ifdef BATCHED
#define CONVERSATION gl_WorkGroupID.z
#define CACHES [DECODE_CONVERSATIONS]         // behind the name of a block with a cache
#define OWN(blocks) blocks[gl_WorkGroupID.z]  // the one of them
#else
#define CONVERSATION 0u
#define CACHES
#define OWN(blocks) blocks
#endif

// The includer declares uint state[].
#define STATE_POSITION state[CONVERSATION * DECODE_STATE_PITCH + DECODE_STATE_POSITION]

#endif
