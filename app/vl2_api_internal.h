// What the files of the C API share: the handles, and how a C++ Status becomes a vl2_status.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/turn_lock.h"
#include "app/vl2.h"
#include "app/vl2_api_steps.h"
#include "model/conversation.h"
#include "model/engine.h"
#include "model/grounding.h"

namespace vl2::api {

/// A vl2_status and its message. A Status becomes one by itself, so that VL2_TRY and VL2_ASSIGN work in functions that return it.
struct Outcome {
  vl2_status status = VL2_OK;
  std::string message;

  Outcome() = default;
  Outcome(vl2_status code, std::string text) : status(code), message(std::move(text)) {}
  Outcome(const Status& from);  // NOLINT: implicit on purpose
};

/// fail() for what Code has no word for.
template <typename... Parts>
Outcome refuse(vl2_status status, const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return {status, out.str()};
}

/// The last error of a handle that many threads use.
class ErrorSlot {
 public:
  void set(const std::string& message) {
    const std::lock_guard guard(mutex_);
    message_ = message;
  }
  std::string get() const {
    const std::lock_guard guard(mutex_);
    return message_;
  }

 private:
  mutable std::mutex mutex_;
  std::string message_;
};

/// Remembers the outcome for vl2_last_error() of this thread if it is an error.
vl2_status remember(const Outcome& outcome) noexcept;
/// The outcome of whatever exception is being handled.
Outcome outcome_of_exception() noexcept;

/// Runs `work`, which returns an Outcome. No exception gets out; the message goes to this thread, and to `slot` where given.
template <typename Work>
vl2_status guarded(const Work& work, ErrorSlot* slot = nullptr) noexcept {
  try {
    const Outcome outcome = work();
    if (outcome.status < 0 && slot != nullptr)
      slot->set(outcome.message);
    return remember(outcome);
  } catch (...) {
    return remember(outcome_of_exception());
  }
}

// Above any struct of any version: what is larger was never initialised.
inline constexpr uint32_t kLargestStruct = 4096;

/// Copies what the caller gave of an options struct to `target`, which holds the defaults (zero).
///
/// smallest  size of the struct in the first version that had it
template <typename Struct>
Outcome read_options(const Struct* given, size_t smallest, const char* name, Struct& target) {
  if (given == nullptr)
    return {};
  const uint32_t size = given->struct_size;
  if (size < smallest || size > kLargestStruct)
    return refuse(VL2_ERROR_ARGUMENT, name, ": struct_size is ", size, ", wanted sizeof(", name, "), ", sizeof(Struct));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (uint32_t i = sizeof(Struct); i < size; ++i)
    if (bytes[i] != 0)
      return refuse(VL2_ERROR_UNSUPPORTED, name, ": byte ", i, " is not 0; this library, ", vl2_version(), ", knows ",
                    sizeof(Struct), " bytes of it");
  std::memcpy(&target, given, std::min<size_t>(size, sizeof(Struct)));
  return {};
}

/// Whether a struct of the caller can be filled; it is untouched.
template <typename Struct>
Outcome check_struct(const Struct* target, size_t smallest, const char* name) {
  if (target == nullptr)
    return refuse(VL2_ERROR_ARGUMENT, name, " is NULL, wanted a struct to fill");
  const uint32_t size = target->struct_size;
  if (size < smallest || size > kLargestStruct)
    return refuse(VL2_ERROR_ARGUMENT, name, ": struct_size is ", size, ", wanted sizeof(", name, "), ", sizeof(Struct));
  return {};
}

/// Fills a struct of the caller with as much of `value` as it has room for; what this library does not know becomes 0.
template <typename Struct>
Outcome fill_struct(Struct* target, size_t smallest, const char* name, Struct value) {
  if (Outcome outcome = check_struct(target, smallest, name); outcome.status != VL2_OK)
    return outcome;
  const uint32_t size = target->struct_size;
  value.struct_size = size;
  std::memset(static_cast<void*>(target), 0, size);
  std::memcpy(static_cast<void*>(target), &value, std::min<size_t>(size, sizeof(Struct)));
  return {};
}

/// A text as the API takes it.
///
/// Errors  ARGUMENT: NULL with a length that is not 0
Outcome read_text(const char* text, size_t bytes, const char* where, std::string_view& target);

/// What a vl2_model points at; sessions hold it too.
struct ModelState {
  std::string path;
  Config config;
  std::optional<Tokenizer> tokenizer;
  ControlIds control;
  std::unique_ptr<Engine> engine;  // none with VL2_LOAD_NO_WEIGHTS
  double load_ms = 0;
  std::string device_driver;
  std::string notice;
  std::mutex token_tree_mutex;
  std::shared_ptr<const TokenTree> token_tree;  // made for the first answer with a schema
  TurnLock turn;                                // held by whoever makes the device work
  std::unique_ptr<StepScheduler> steps;         // of the engine's sessions
  ErrorSlot error;
};

/// What vl2_reply_options.schema says.
///
/// Errors  those of parse_json_schema()
Result<std::shared_ptr<const AnswerSchema>> answer_schema(ModelState& model, std::string_view text);

/// A decoded picture.
Result<std::unique_ptr<vl2_image>> decode(const uint8_t* file, size_t file_bytes, const char* where);

/// Whether the model can show a picture of this size.
Outcome check_picture(const ModelState& model, uint32_t width, uint32_t height, uint32_t pictures, TileGrid& grid);

}  // namespace vl2::api

struct vl2_model {
  std::shared_ptr<vl2::api::ModelState> state;
};

struct vl2_image {
  uint32_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};
