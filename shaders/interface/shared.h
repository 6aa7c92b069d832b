// Lets one header serve C++ and GLSL: constants, and structs of push constants made of 4-byte uint and float.
#ifdef __cplusplus
#pragma once
#include <cstdint>
#define VL2_SHARED_BEGIN \
  namespace vl2 {        \
  using uint = uint32_t;
#define VL2_SHARED_END }
#define VL2_CONST inline constexpr
#else
#define VL2_SHARED_BEGIN
#define VL2_SHARED_END
#define VL2_CONST const
#endif
