// Errors as values: Code, Status, Result<T>, and fail(), which writes the message.
#pragma once

#include <cassert>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>

namespace vl2 {

/// What kind of thing went wrong; the message says which thing.
enum class Code {
  Ok,
  BadArgument,  ///< a caller's or user's value makes no sense
  BadShape,     ///< a tensor has the wrong shape or stride
  BadDType,     ///< a tensor has the wrong element type
  BadFile,      ///< a file is malformed, truncated or contradicts itself
  NotFound,     ///< a file, tensor, device or token does not exist
  Unsupported,  ///< well-formed, but not something this program or device can do
  OutOfMemory,  ///< host or device memory does not suffice
  ContextFull,  ///< more tokens than the context holds
  NoDevice,     ///< no usable Vulkan device
  DeviceLost,   ///< the driver gave up; the message carries the last dispatch
  VulkanError,  ///< any other VkResult
  IoError,      ///< the operating system refused to read or write
  Cancelled,    ///< the caller asked to stop
};

/// The short name of a code, for logs and JSON ("bad_shape").
const char* code_name(Code code);

/// Success, or a code with one line "where: what it got, what it wanted".
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) { assert(code != Code::Ok); }

  bool ok() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::Ok;
  std::string message_;
};

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit on purpose, so that `return value;` reads well
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT: likewise for `return fail(...);`

  bool ok() const { return status_.ok(); }
  Code code() const { return status_.code(); }
  const std::string& message() const { return status_.message(); }
  const Status& status() const { return status_; }

  T& value() {
    assert(ok());
    return *value_;
  }
  const T& value() const {
    assert(ok());
    return *value_;
  }
  T take() {
    assert(ok());
    return std::move(*value_);
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

/// Makes a Status whose message is the parts written one after the other: anything that streams.
template <typename... Parts>
Status fail(Code code, const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return Status(code, out.str());
}

}  // namespace vl2

#define VL2_CONCAT_INNER(a, b) a##b
#define VL2_CONCAT(a, b) VL2_CONCAT_INNER(a, b)

/// Returns from the calling function when `expression` (a Status) is an error.
#define VL2_TRY(expression)                                          \
  do {                                                               \
    if (::vl2::Status vl2_status_ = (expression); !vl2_status_.ok()) \
      return vl2_status_;                                            \
  } while (0)

/// `VL2_ASSIGN(auto x, f());` declares or assigns x from a Result, or returns its Status.
#define VL2_ASSIGN(target, expression) VL2_ASSIGN_INNER(VL2_CONCAT(vl2_result_, __LINE__), target, expression)
#define VL2_ASSIGN_INNER(result, target, expression) \
  auto result = (expression);                        \
  if (!result.ok())                                  \
    return result.status();                          \
  target = result.take()
