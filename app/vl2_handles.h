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

/// Whether open_model() would understand the options; looks at no file.
///
/// Errors  BadArgument: --type, --cache-type or --vram, in the words of the command line
Status check_model_options(const ModelOptions& options);

/// Loads a model for a command: with progress on a terminal, and a line on standard error about what loading went without. Ctrl-C
/// cancels it where it is caught.
///
/// flags   VL2_LOAD_*
/// Errors  those of check_model_options() and vl2_model_load()
Result<ModelHandle> open_model(const ModelOptions& options, uint32_t flags);

/// What loading a model would need and what there is; nothing is loaded.
///
/// flags   VL2_LOAD_*
/// Errors  those of check_model_options() and vl2_plan_load()
Result<vl2_plan> plan_model(const ModelOptions& options, uint32_t flags);

}  // namespace vl2
