# Finds everything that is not ours and gives it one name each: vl2::deps_<name>. Nothing foreign is copied into this tree.
#
# Every header arrives as a SYSTEM include, so that our warnings stay ours. A missing dependency stops the configuration
# with the one sentence that helps. JPEG and WebP are optional: without them VL2_HAVE_JPEG or VL2_HAVE_WEBP is not defined
# and app/image_file.cpp says which library was missing when such a picture is opened.
#
# Also sets VL2_GLSLC and VL2_SPIRV_VAL to the two programs that the shader build runs, and VL2_HAVE_JPEG, VL2_HAVE_WEBP,
# VL2_HAVE_HTTPLIB.
include_guard(GLOBAL)

function(vl2_missing what)
  message(FATAL_ERROR "vl2 needs ${what}: run third_party/setup.sh, then configure again")
endfunction()

# vl2_header_target(<name> <include folder>): an imported target that only adds an include folder.
function(vl2_header_target name folder)
  add_library(vl2::deps_${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(vl2::deps_${name} SYSTEM INTERFACE "${folder}")
endfunction()

# vl2_find_header(<name> <header> <what> [folders...]): finds a header-only library and makes its target.
function(vl2_find_header name header what)
  find_path(VL2_${name}_INCLUDE ${header} PATH_SUFFIXES ${ARGN})
  mark_as_advanced(VL2_${name}_INCLUDE)
  if(NOT VL2_${name}_INCLUDE)
    vl2_missing("${what} (header ${header})")
  endif()
  vl2_header_target(${name} "${VL2_${name}_INCLUDE}")
endfunction()

# The two programs that turn shaders into checked SPIR-V.
find_program(VL2_GLSLC glslc DOC "compiles GLSL to SPIR-V")
if(NOT VL2_GLSLC)
  vl2_missing("glslc (the shader compiler)")
endif()
find_program(VL2_SPIRV_VAL spirv-val DOC "checks the SPIR-V that glslc writes")
if(NOT VL2_SPIRV_VAL)
  vl2_missing("spirv-val (from spirv-tools)")
endif()

# Vulkan: headers, and volk, which loads the functions at run time. The loader library itself is opened by volk with
# dlopen, so a machine without Vulkan gets our message and not the dynamic linker's. volk's own CMake package is not used:
# it would add an edge to Vulkan::Vulkan, which links the loader.
find_path(VL2_VULKAN_INCLUDE vulkan/vulkan.h)
find_path(VL2_VOLK_INCLUDE volk.h PATH_SUFFIXES volk)
find_library(VL2_VOLK_LIBRARY volk)
mark_as_advanced(VL2_VULKAN_INCLUDE VL2_VOLK_INCLUDE VL2_VOLK_LIBRARY)
if(NOT VL2_VULKAN_INCLUDE)
  vl2_missing("the Vulkan headers (vulkan/vulkan.h)")
endif()
set(VL2_VOLK_IS_VULKANS OFF)
if(VL2_VOLK_INCLUDE)  # GNU Radio has a library and headers of the same name
  file(STRINGS "${VL2_VOLK_INCLUDE}/volk.h" volk_marker REGEX "volkInitialize" LIMIT_COUNT 1)
  if(volk_marker)
    set(VL2_VOLK_IS_VULKANS ON)
  endif()
endif()
if(NOT VL2_VOLK_IS_VULKANS OR NOT VL2_VOLK_LIBRARY)
  vl2_missing("volk, the Vulkan meta-loader (volk.h and libvolk)")
endif()
add_library(vl2::deps_vulkan INTERFACE IMPORTED GLOBAL)
target_include_directories(vl2::deps_vulkan SYSTEM INTERFACE "${VL2_VULKAN_INCLUDE}" "${VL2_VOLK_INCLUDE}")
target_compile_definitions(vl2::deps_vulkan INTERFACE VK_NO_PROTOTYPES)
target_link_libraries(vl2::deps_vulkan INTERFACE "${VL2_VOLK_LIBRARY}" ${CMAKE_DL_LIBS})

vl2_find_header(vma vk_mem_alloc.h "the Vulkan memory allocator" vma)
target_link_libraries(vl2::deps_vma INTERFACE vl2::deps_vulkan)
vl2_find_header(json nlohmann/json.hpp "nlohmann-json")
vl2_find_header(cli11 CLI/CLI.hpp "CLI11")
vl2_find_header(stb stb_image.h "stb" stb)
vl2_find_header(doctest doctest/doctest.h "doctest")

# Picture formats that may be left out.
find_package(JPEG QUIET)
set(VL2_HAVE_JPEG ${JPEG_FOUND})
add_library(vl2::deps_jpeg INTERFACE IMPORTED GLOBAL)
if(VL2_HAVE_JPEG)
  target_include_directories(vl2::deps_jpeg SYSTEM INTERFACE "${JPEG_INCLUDE_DIRS}")
  target_compile_definitions(vl2::deps_jpeg INTERFACE VL2_HAVE_JPEG)
  target_link_libraries(vl2::deps_jpeg INTERFACE ${JPEG_LIBRARIES})
else()
  message(STATUS "libjpeg was not found: built without JPEG (third_party/setup.sh installs it)")
endif()

find_path(VL2_WEBP_INCLUDE webp/decode.h)
find_library(VL2_WEBP_LIBRARY webp)
mark_as_advanced(VL2_WEBP_INCLUDE VL2_WEBP_LIBRARY)
if(VL2_WEBP_INCLUDE AND VL2_WEBP_LIBRARY)
  set(VL2_HAVE_WEBP ON)
else()
  set(VL2_HAVE_WEBP OFF)
  message(STATUS "libwebp was not found: built without WebP (third_party/setup.sh installs it)")
endif()
add_library(vl2::deps_webp INTERFACE IMPORTED GLOBAL)
if(VL2_HAVE_WEBP)
  target_include_directories(vl2::deps_webp SYSTEM INTERFACE "${VL2_WEBP_INCLUDE}")
  target_compile_definitions(vl2::deps_webp INTERFACE VL2_HAVE_WEBP)
  target_link_libraries(vl2::deps_webp INTERFACE "${VL2_WEBP_LIBRARY}")
endif()

# HTTP, for `vl2 serve`: may be left out. Debian compiles it into a library, with settings that change its classes: they are taken
# from the file that comes with it. Elsewhere it is headers alone.
find_path(VL2_HTTPLIB_INCLUDE httplib.h)
find_library(VL2_HTTPLIB_LIBRARY cpp-httplib)
mark_as_advanced(VL2_HTTPLIB_INCLUDE VL2_HTTPLIB_LIBRARY)
set(VL2_HAVE_HTTPLIB OFF)
if(VL2_HTTPLIB_INCLUDE)
  file(STRINGS "${VL2_HTTPLIB_INCLUDE}/httplib.h" httplib_version REGEX "^#define CPPHTTPLIB_VERSION " LIMIT_COUNT 1)
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" httplib_version "${httplib_version}")
  if(httplib_version VERSION_GREATER_EQUAL 0.18)
    set(VL2_HAVE_HTTPLIB ON)
  endif()
endif()
if(VL2_HAVE_HTTPLIB)
  vl2_header_target(httplib "${VL2_HTTPLIB_INCLUDE}")
  if(VL2_HTTPLIB_LIBRARY)
    get_filename_component(httplib_folder "${VL2_HTTPLIB_LIBRARY}" DIRECTORY)
    file(STRINGS "${httplib_folder}/pkgconfig/cpp-httplib.pc" httplib_flags REGEX "^Cflags:")
    string(REGEX MATCHALL "-DCPPHTTPLIB_[A-Z_]+" httplib_flags "${httplib_flags}")
    set(VL2_HTTPLIB_FLAGS ${httplib_flags})  # for the one file that includes it
    target_link_libraries(vl2::deps_httplib INTERFACE "${VL2_HTTPLIB_LIBRARY}")
  endif()
else()
  message(STATUS "cpp-httplib 0.18 or newer was not found: built without `vl2 serve` (third_party/setup.sh installs it)")
endif()

# vl2_find_test_python(): sets VL2_PYTHON to a python3 that has NumPy and Pillow, which not every one on the PATH has; a false
# value when there is none.
function(vl2_python_has_modules result candidate)
  execute_process(COMMAND "${candidate}" -c "import numpy, PIL" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(NOT status EQUAL 0)
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

function(vl2_find_test_python)
  find_program(VL2_PYTHON NAMES python3 VALIDATOR vl2_python_has_modules DOC "runs the tests that compare with NumPy and Pillow")
endfunction()
