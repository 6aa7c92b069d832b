// The C API for our own C++: handles that free themselves, and its errors as Status.
#pragma once

#include <memory>

#include "app/commands/commands.h"
#include "app/vl2.h"
#include "runtime/status.h"

namespace vl2 {

struct FreeHandle {
  void operator()(vl2_model* model) const { vl2_model_free(model); }
  void operator()(vl2_session* session) const { vl2_session_free(session); }
};

using ModelHandle = std::unique_ptr<vl2_model, FreeHandle>;
using SessionHandle = std::unique_ptr<vl2_session, FreeHandle>;

/// What a call of the C API on this thread returned, with its message.
Status status_of_call(vl2_status status);

/// What every command's options say of loading; texts are those of `options`.
///
/// Errors  BadArgument: --vram is no size
Result<vl2_load_options> load_options_of(const ModelOptions& options);

/// Says on standard error what loading went without; nothing when all is well.
void print_notice(const vl2_model* model);

}  // namespace vl2
