# How shaders are compiled and embedded. shaders/CMakeLists.txt lists them; vl2_embed_shaders() comes after the list.

set(VL2_SHADER_NAMES "" CACHE INTERNAL "")
set(VL2_SHADER_SPIRV "" CACHE INTERNAL "")
set(VL2_SHADERS_LEFT_OUT "" CACHE INTERNAL "")

# Sets `result` to whether the compiler knows a GLSL extension.
function(vl2_glslc_knows extension result)
  if(NOT DEFINED ${result})
    set(probe ${CMAKE_CURRENT_BINARY_DIR}/probe_${extension}.comp)
    file(WRITE ${probe} "#version 460\n#extension ${extension} : require\nlayout(local_size_x = 1) in;\nvoid main() {}\n")
    execute_process(COMMAND ${VL2_GLSLC} --target-env=vulkan1.3 -o ${probe}.spv ${probe} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(failed)
      set(known OFF)
    else()
      set(known ON)
    endif()
    set(${result} ${known} CACHE INTERNAL "${VL2_GLSLC} knows ${extension}")
  endif()
endfunction()

function(vl2_compile_shader file name)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(spirv ${CMAKE_CURRENT_BINARY_DIR}/${name}.spv)
  set(defines ${ARGN} ${VL2_SHADER_DEFINES})
  list(TRANSFORM defines PREPEND -D)
  add_custom_command(
    OUTPUT ${spirv}
    COMMAND ${VL2_GLSLC} ${VL2_SHADER_FLAGS} -Werror -I ${CMAKE_CURRENT_SOURCE_DIR} ${defines} -MD -MF ${spirv}.d -o ${spirv} ${source}
    COMMAND ${VL2_SPIRV_VAL} --target-env ${VL2_SHADER_ENV} ${spirv}
    DEPENDS ${source}
    DEPFILE ${spirv}.d
    COMMENT "Compiling shader ${name}")
  set(VL2_SHADER_NAMES ${VL2_SHADER_NAMES} ${name} CACHE INTERNAL "")
  set(VL2_SHADER_SPIRV ${VL2_SHADER_SPIRV} ${spirv} CACHE INTERNAL "")
endfunction()

# VL2_SHADER_ENV, VL2_SHADER_FLAGS and VL2_SHADER_DEFINES are read by vl2_compile_shader().
function(vl2_shader file)
  cmake_parse_arguments(VARY "ACT;CACHE;WEIGHT;BLOCKS;MATRIX;MATRIX2;BATCHED" "" "" ${ARGN})
  if(VARY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vl2_shader(${file}): unknown words ${VARY_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(name ${file} NAME_WE)
  set(VL2_SHADER_ENV vulkan1.2)
  if(VARY_MATRIX2)
    vl2_glslc_knows(GL_NV_cooperative_matrix2 VL2_GLSLC_COOPMAT2)
    if(NOT VL2_GLSLC_COOPMAT2)
      message(STATUS "Shader ${name} is left out: ${VL2_GLSLC} does not know GL_NV_cooperative_matrix2; such devices run the tier below")
      set(VL2_SHADERS_LEFT_OUT ${VL2_SHADERS_LEFT_OUT} ${name} CACHE INTERNAL "")
      return()
    endif()
    set(VL2_SHADER_ENV vulkan1.3)  # the extension is written for SPIR-V 1.6
  endif()
  set(VL2_SHADER_FLAGS -O --target-env=${VL2_SHADER_ENV})
  if(VARY_MATRIX OR VARY_MATRIX2)
    # As written, for the driver to inline and unroll: spirv-opt knows little of these types, and what it inlines takes validation and CPU
    # drivers several times as long.
    set(VL2_SHADER_FLAGS -O0 --target-env=${VL2_SHADER_ENV})
  endif()
  set(formats ${WEIGHT_FORMATS})
  if(VARY_MATRIX)
    set(formats f16)
  endif()
  if(VARY_BLOCKS)
    list(APPEND formats ${BLOCK_FORMATS})
  endif()
  set(VL2_SHADER_DEFINES "")
  vl2_compile_variants(${file} ${name})
  if(VARY_BATCHED)
    set(VL2_SHADER_DEFINES BATCHED)
    vl2_compile_variants(${file} ${name}_batched)
  endif()
endfunction()

# Every variant over ACT, CACHE, WEIGHT, BLOCKS and MATRIX: reads the VARY_ and `formats` of vl2_shader().
function(vl2_compile_variants file name)
  if(VARY_MATRIX2)
    vl2_compile_shader(${file} ${name} ACT_f16 WEIGHT_f16)
  elseif(VARY_MATRIX AND VARY_BLOCKS)
    foreach(format ${formats})
      vl2_compile_shader(${file} ${name}_${format} ACT_f16 WEIGHT_${format})
    endforeach()
  elseif(VARY_MATRIX)
    vl2_compile_shader(${file} ${name} ACT_f16 WEIGHT_f16)
    if(VARY_CACHE)
      vl2_compile_shader(${file} ${name}_q8_0 ACT_f16 CACHE_q8_0)
    endif()
  elseif(VARY_CACHE AND VARY_WEIGHT)
    foreach(format ${formats})
      foreach(act f32 f16)
        vl2_compile_shader(${file} ${name}_${act}_${format} ACT_${act} WEIGHT_${format})
      endforeach()
      vl2_compile_shader(${file} ${name}_q8_0_${format} CACHE_q8_0 WEIGHT_${format})
    endforeach()
  elseif(VARY_CACHE)
    foreach(act f32 f16)
      vl2_compile_shader(${file} ${name}_${act} ACT_${act})
    endforeach()
    vl2_compile_shader(${file} ${name}_q8_0 CACHE_q8_0)
  elseif(VARY_ACT AND VARY_WEIGHT)
    foreach(format ${formats})
      foreach(act f32 f16)
        vl2_compile_shader(${file} ${name}_${act}_${format} ACT_${act} WEIGHT_${format})
      endforeach()
    endforeach()
  elseif(VARY_ACT)
    foreach(act f32 f16)
      vl2_compile_shader(${file} ${name}_${act} ACT_${act})
    endforeach()
  elseif(VARY_BLOCKS AND NOT VARY_WEIGHT)
    foreach(format ${BLOCK_FORMATS})
      vl2_compile_shader(${file} ${name}_${format} WEIGHT_${format})
    endforeach()
  elseif(VARY_WEIGHT)
    foreach(format ${formats})
      vl2_compile_shader(${file} ${name}_${format} WEIGHT_${format})
    endforeach()
  else()
    vl2_compile_shader(${file} ${name})
  endif()
endfunction()

# Defines the library vl2_shaders: the embedded code, and the directory of the generated shader_ids.h.
function(vl2_embed_shaders)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated)
  set(enumerators "")
  set(arguments "")
  foreach(name spirv IN ZIP_LISTS VL2_SHADER_NAMES VL2_SHADER_SPIRV)
    string(APPEND enumerators "  ${name},\n")
    list(APPEND arguments ${name}=${spirv})
  endforeach()
  foreach(name ${VL2_SHADERS_LEFT_OUT})
    string(APPEND enumerators "  ${name},  // left out of this build\n")
  endforeach()
  list(LENGTH VL2_SHADER_NAMES shader_count)
  set(format_cases "")
  set(index 0)
  foreach(format ${WEIGHT_FORMATS} ${BLOCK_FORMATS})
    string(TOUPPER ${format} dtype)
    string(APPEND format_cases "    case DType::${dtype}: return ${index};\n")
    math(EXPR index "${index} + 1")
  endforeach()
  file(CONFIGURE OUTPUT ${generated}/shader_ids.h @ONLY CONTENT
"// Generated by shaders/shader_build.cmake from shaders/CMakeLists.txt.
#pragma once

#include <cassert>
#include <cstdint>

#include \"runtime/tensor.h\"

namespace vl2 {

enum class ShaderId : uint32_t {
@enumerators@};

inline constexpr uint32_t kShaderCount = @shader_count@;

/// Whether this build has the shader: one whose extension the shader compiler does not know is left out.
constexpr bool shader_built(ShaderId id) {
  return static_cast<uint32_t>(id) < kShaderCount;
}

/// The place of a weight format in WEIGHT_FORMATS and, behind them, BLOCK_FORMATS.
constexpr uint32_t weight_format_index(DType dtype) {
  switch (dtype) {
@format_cases@    default: break;
  }
  assert(!\"not a weight format\");
  return 0;
}

}  // namespace vl2
")
  if(VL2_SHADERS_FROM)
    # Another build of these sources has compiled them already: how a cross build gets by without running embed_spirv, too.
    set(made ${VL2_SHADERS_FROM}/shaders/generated)
    execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${made}/shader_ids.h ${generated}/shader_ids.h RESULT_VARIABLE differ)
    if(differ OR NOT EXISTS ${made}/shader_code.cpp)
      message(FATAL_ERROR "VL2_SHADERS_FROM: ${VL2_SHADERS_FROM} is no build folder with the shaders of these sources")
    endif()
    add_library(vl2_shaders OBJECT ${made}/shader_code.cpp)
    # Its header, too: the same paths, so that a compiler cache serves both builds.
    target_include_directories(vl2_shaders PUBLIC ${made} ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    return()
  endif()
  add_executable(embed_spirv embed_spirv.cpp)
  set_target_properties(embed_spirv PROPERTIES COMPILE_OPTIONS "" LINK_OPTIONS "")
  add_custom_command(
    OUTPUT ${generated}/shader_code.cpp
    COMMAND embed_spirv ${generated}/shader_code.cpp ${arguments}
    DEPENDS embed_spirv ${VL2_SHADER_SPIRV}
    COMMENT "Embedding ${shader_count} shaders")
  add_library(vl2_shaders OBJECT ${generated}/shader_code.cpp)
  target_include_directories(vl2_shaders PUBLIC ${generated} ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()
