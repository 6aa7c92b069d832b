// Which device is taken, which tier, which quirks: plain functions of plain data.
#include <doctest/doctest.h>

#include "runtime/instance.h"
#include "runtime/quirks.h"

using namespace vl2;

namespace {

DeviceCaps usable_caps(const std::string& name, DeviceType type) {
  DeviceCaps caps;
  caps.name = name;
  caps.type = type;
  caps.uuid = std::string(31, '0') + std::to_string(name.size() % 10);
  caps.api_version = (1u << 22) | (2u << 12);
  caps.subgroup_size = 32;
  caps.subgroup_arithmetic = true;
  caps.max_workgroup_invocations = 1024;
  caps.max_shared_bytes = 32768;
  caps.max_push_constant_bytes = 128;
  return caps;
}

DeviceEntry entry(const std::string& name, DeviceType type) {
  const DeviceCaps caps = usable_caps(name, type);
  return {VK_NULL_HANDLE, caps, missing_for_tier0(caps)};
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("device choice: discrete before integrated before CPU, the first of a kind") {
    const std::vector<DeviceEntry> devices = {entry("llvmpipe", DeviceType::Cpu), entry("Iris", DeviceType::Integrated),
                                              entry("Radeon A", DeviceType::Discrete), entry("GeForce", DeviceType::Discrete)};
    CHECK(choose_device(devices, "").value() == 2);
    CHECK(choose_device({devices[0], devices[1]}, "").value() == 1);
    CHECK(choose_device({devices[0]}, "").value() == 0);
  }

  TEST_CASE("device choice: by index, by part of the name in any case, by UUID with or without dashes") {
    std::vector<DeviceEntry> devices = {entry("llvmpipe (LLVM)", DeviceType::Cpu), entry("NVIDIA H200", DeviceType::Discrete)};
    devices[0].caps.uuid = "0123456789abcdef0123456789abcdef";
    CHECK(choose_device(devices, "0").value() == 0);
    CHECK(choose_device(devices, "h200").value() == 1);
    CHECK(choose_device(devices, "01234567-89AB-cdef-0123-456789abcdef").value() == 0);
    const auto none = choose_device(devices, "radeon");
    CHECK(none.code() == Code::NotFound);
    CHECK(none.message() == "device: got \"radeon\", wanted a number, name or UUID of: 0 llvmpipe (LLVM); 1 NVIDIA H200");
    CHECK(choose_device(devices, "7").code() == Code::NotFound);
  }

  TEST_CASE("device choice: an unusable device is passed over, and named when it was asked for") {
    DeviceEntry old = entry("Old GPU", DeviceType::Discrete);
    old.caps.api_version = (1u << 22) | (1u << 12);
    old.unusable = missing_for_tier0(old.caps);
    CHECK(old.unusable == "Vulkan 1.1, wanted 1.2");
    CHECK(choose_device({old, entry("llvmpipe", DeviceType::Cpu)}, "").value() == 1);
    CHECK(choose_device({old}, "old").code() == Code::Unsupported);
    CHECK(choose_device({old}, "").code() == Code::NoDevice);
    const auto none = choose_device({}, "");
    CHECK(none.code() == Code::NoDevice);
    CHECK(none.message().find("mesa-vulkan-drivers") != std::string::npos);
  }

  TEST_CASE("device caps: each missing piece of tier 0 is named") {
    DeviceCaps caps = usable_caps("x", DeviceType::Discrete);
    CHECK(missing_for_tier0(caps).empty());
    caps.subgroup_size = 2;
    CHECK(missing_for_tier0(caps).find("subgroup") != std::string::npos);
    caps = usable_caps("x", DeviceType::Discrete);
    caps.max_workgroup_invocations = 128;
    CHECK(missing_for_tier0(caps).find("128 invocations") != std::string::npos);
    caps = usable_caps("x", DeviceType::Discrete);
    caps.max_shared_bytes = 16384;
    CHECK(missing_for_tier0(caps).find("16384") != std::string::npos);
  }

  TEST_CASE("tier: f16 needs arithmetic and storage, a CPU stays in f32 unless asked, and asking never raises") {
    DeviceCaps caps = usable_caps("x", DeviceType::Discrete);
    CHECK(choose_tier(caps, {}, -1) == 0);
    caps.float16 = true;
    CHECK(choose_tier(caps, {}, 1) == 0);
    caps.storage16 = true;
    CHECK(choose_tier(caps, {}, -1) == 1);
    CHECK(choose_tier(caps, {}, 0) == 0);
    CHECK(choose_tier(caps, {}, 4) == 1);
    caps.packed_dot = true;
    CHECK(choose_tier(caps, {}, -1) == 1);
    caps.type = DeviceType::Cpu;
    const Quirks quirks = find_quirks(caps, "").value();
    CHECK(quirks.f16_is_slow);
    CHECK(choose_tier(caps, quirks, -1) == 0);
    CHECK(choose_tier(caps, quirks, 1) == 1);
  }

  TEST_CASE("tier: matrices need a shape that sums in f32, and f16 as everything above tier 0") {
    DeviceCaps caps = usable_caps("x", DeviceType::Discrete);
    caps.matrix_shapes = {{16, 16, 16, false}, {16, 8, 16, true}};
    CHECK(choose_tier(caps, {}, -1) == 0);
    caps.float16 = caps.storage16 = true;
    CHECK(choose_tier(caps, {}, -1) == 3);
    CHECK(choose_tier(caps, {}, 2) == 1);
    caps.packed_dot = true;  // slow byte products: for whoever asks for them
    CHECK(choose_tier(caps, {}, 2) == 2);
    CHECK(choose_tier(caps, {}, -1) == 3);
    CHECK(*matrix_shape(caps) == MatrixShape{16, 8, 16, true});
    caps.integer_dot = true;
    CHECK(choose_tier(caps, {}, 2) == 2);
    CHECK(choose_tier(caps, {}, -1) == 3);
    caps.workgroup_matrix = {{32, 32, 16, 256, true}};
    CHECK(choose_tier(caps, {}, -1) == 4);
    CHECK(choose_tier(caps, {}, 3) == 3);
    caps.matrix_shapes.pop_back();
    CHECK(matrix_shape(caps) == nullptr);
    CHECK(choose_tier(caps, {}, -1) == 2);
  }

  TEST_CASE("quirks: switched by hand, and a misspelt one is refused") {
    const DeviceCaps caps = usable_caps("x", DeviceType::Discrete);
    CHECK(find_quirks(caps, "+f16_is_slow")->f16_is_slow);
    CHECK(!find_quirks(caps, "+f16_is_slow,-f16_is_slow")->f16_is_slow);
    CHECK(find_quirks(caps, "+f16_is_fast").code() == Code::BadArgument);
    CHECK(find_quirks(caps, "f16_is_slow").code() == Code::BadArgument);
  }
}
