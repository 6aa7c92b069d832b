#include "runtime/quirks.h"

#include "runtime/device_caps.h"
#include "runtime/quirk_names.h"

namespace vl2 {

namespace {

struct QuirkRow {
  const char* name;
  bool Quirks::*field;
  bool (*applies)(const DeviceCaps&);
};

constexpr QuirkRow kQuirks[] = {
    // CPU drivers load and store f16 one lane and element at a time. Seen on llvmpipe of Mesa 25.0.7, 2026-11, the demo model:
    // 421 tokens of prefill 1.07 s
    // in f32 and
    // 1.27 s in f16, vision equal, with the results of f16 less exact.
    {"f16_is_slow", &Quirks::f16_is_slow, [](const DeviceCaps& caps) { return caps.type == DeviceType::Cpu; }},
    // CPU drivers switch between all invocations of a workgroup at a barrier: figures in tuning.cpp. Tests take it away to try
    // the kernels'
    // way for GPUs where there is none.
    {"barriers_are_slow", &Quirks::barriers_are_slow, [](const DeviceCaps& caps) { return caps.type == DeviceType::Cpu; }},
    // Of no device yet. By hand it takes gemm_dot away, for comparisons in one run.
    {"byte_products_are_slow", &Quirks::byte_products_are_slow, [](const DeviceCaps&) { return false; }},
};

}  // namespace

Result<Quirks> find_quirks(const DeviceCaps& caps, std::string_view overrides) {
  Quirks quirks;
  for (const QuirkRow& row : kQuirks)
    quirks.*row.field = row.applies(caps);
  while (!overrides.empty()) {
    const size_t comma = overrides.find(',');
    const std::string_view word = overrides.substr(0, comma);
    overrides = comma == std::string_view::npos ? std::string_view{} : overrides.substr(comma + 1);
    const QuirkRow* found = nullptr;
    for (const QuirkRow& row : kQuirks)
      if (word.size() > 1 && word.substr(1) == row.name)
        found = &row;
    if (found == nullptr || (word[0] != '+' && word[0] != '-'))
      return fail(Code::BadArgument, "VL2_QUIRKS: got \"", std::string(word), "\", wanted +name or -name of a known quirk");
    quirks.*found->field = word[0] == '+';
  }
  return quirks;
}

std::string quirk_names(const Quirks& quirks) {
  std::string names;
  for (const QuirkRow& row : kQuirks)
    if (quirks.*row.field)
      names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

}  // namespace vl2
