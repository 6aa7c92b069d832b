// Activations by name: buffers that are made at first use, kept, and grown when a larger shape is asked for.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

/// One set for one recorder: a name's content lasts until the name is asked for again. One thread at a time.
class Scratch {
 public:
  explicit Scratch(Memory& memory) : memory_(memory) {}

  /// A contiguous view under `name`, its content undefined.
  ///
  /// Errors  OutOfMemory, naming it
  Result<TensorView> get(const std::string& name, DType dtype, std::initializer_list<uint32_t> dims);

  /// Frees what was outgrown, and what grows before it is asked for again goes before its larger form comes. Only when nothing
  /// recorded with it is still to run.
  void drop_outgrown();

 private:
  struct Entry {
    std::unique_ptr<Buffer> buffer;
    bool in_use = false;  // by what was recorded since drop_outgrown()
  };
  Memory& memory_;
  std::map<std::string, Entry> entries_;
  std::vector<std::unique_ptr<Buffer>> outgrown_;  // recorded work may still use them
};

}  // namespace vl2
