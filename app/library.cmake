# The library that app/vl2.h promises, as vl2::vl2 (shared) and vl2::vl2_static, and what `cmake --install` makes of it:
# the program, its manual page and completions, both libraries, the header, a CMake package and vl2.pc. The program has its own copy of all code and needs none of it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The header says the version to programs, project() to packages: one number.
set(header_version "")
foreach(part MAJOR MINOR PATCH)
  file(STRINGS app/vl2.h line REGEX "#define VL2_VERSION_${part} ")
  string(REGEX REPLACE ".* " "" number "${line}")
  list(APPEND header_version ${number})
endforeach()
list(JOIN header_version "." header_version)
if(NOT header_version VERSION_EQUAL PROJECT_VERSION)
  message(FATAL_ERROR "app/vl2.h says version ${header_version}, CMakeLists.txt ${PROJECT_VERSION}")
endif()

configure_file(app/vl2.h ${PROJECT_BINARY_DIR}/include/vl2.h COPYONLY)  # alone in its folder, as it is when installed

set(objects $<TARGET_OBJECTS:vl2_api> $<TARGET_OBJECTS:vl2_model> $<TARGET_OBJECTS:vl2_runtime> $<TARGET_OBJECTS:vl2_shaders>)
add_library(vl2_shared SHARED ${objects})
add_library(vl2_static STATIC ${objects})
add_library(vl2::vl2 ALIAS vl2_shared)
add_library(vl2::vl2_static ALIAS vl2_static)
set_target_properties(vl2_shared PROPERTIES EXPORT_NAME vl2 VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
set_target_properties(vl2_static PROPERTIES EXPORT_NAME vl2_static)
foreach(library vl2_shared vl2_static)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME vl2 LINKER_LANGUAGE CXX)
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
target_link_libraries(vl2_shared PRIVATE $<BUILD_INTERFACE:vl2::deps_vulkan> $<BUILD_INTERFACE:vl2::deps_jpeg>
                                         $<BUILD_INTERFACE:vl2::deps_webp> Threads::Threads)
if(NOT APPLE AND NOT WIN32)  # nothing but vl2_* gets out, the standard library's templates included, and nothing is missing
  set(symbols ${PROJECT_BINARY_DIR}/vl2.symbols)
  file(CONFIGURE OUTPUT ${symbols} CONTENT "{ global: vl2_*; local: *; };\n")
  target_link_options(vl2_shared PRIVATE LINKER:--version-script=${symbols} LINKER:--no-undefined)
  set_target_properties(vl2_shared PROPERTIES LINK_DEPENDS ${symbols})
endif()

# What a program that takes the static library links besides, by names that its linker finds.
set(static_libraries volk)
if(VL2_HAVE_JPEG)
  list(APPEND static_libraries jpeg)
endif()
if(VL2_HAVE_WEBP)
  list(APPEND static_libraries webp)
endif()
target_link_libraries(vl2_static INTERFACE $<BUILD_INTERFACE:vl2::deps_vulkan> $<BUILD_INTERFACE:vl2::deps_jpeg> $<BUILD_INTERFACE:vl2::deps_webp>
                                           $<INSTALL_INTERFACE:${static_libraries}> Threads::Threads ${CMAKE_DL_LIBS})

if(NOT PROJECT_IS_TOP_LEVEL)
  return()  # who builds it as a part of something else installs that
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/vl2)
install(TARGETS vl2 RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(NOT CMAKE_CROSSCOMPILING)  # the program prints its manual page and completions itself
  set(pages ${PROJECT_BINARY_DIR}/pages)
  add_custom_command(OUTPUT ${pages}/vl2.1 ${pages}/vl2 ${pages}/_vl2 ${pages}/vl2.fish DEPENDS vl2 app/docs/print_pages.cmake VERBATIM
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:vl2> -DFOLDER=${pages} -P ${PROJECT_SOURCE_DIR}/app/docs/print_pages.cmake)
  add_custom_target(vl2_pages ALL DEPENDS ${pages}/vl2.1)
  install(FILES ${pages}/vl2.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${pages}/vl2 DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${pages}/_vl2 DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${pages}/vl2.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
install(TARGETS vl2_shared vl2_static EXPORT vl2Targets DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES app/vl2.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT vl2Targets NAMESPACE vl2:: DESTINATION ${package_folder})
file(CONFIGURE OUTPUT vl2Config.cmake CONTENT
"include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(\"\${CMAKE_CURRENT_LIST_DIR}/vl2Targets.cmake\")
" ESCAPE_QUOTES @ONLY)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/vl2ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vl2Config.cmake ${CMAKE_CURRENT_BINARY_DIR}/vl2ConfigVersion.cmake DESTINATION ${package_folder})

list(TRANSFORM static_libraries PREPEND "-l" OUTPUT_VARIABLE private_libraries)
list(JOIN private_libraries " " private_libraries)
file(RELATIVE_PATH to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(CONFIGURE OUTPUT vl2.pc CONTENT
"prefix=\${pcfiledir}/@to_prefix@
Name: vl2
Description: DeepSeek-VL2 on any GPU with a Vulkan driver
Version: @PROJECT_VERSION@
Cflags: -I\${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
Libs: -L\${prefix}/@CMAKE_INSTALL_LIBDIR@ -lvl2
Libs.private: @private_libraries@ -lstdc++ -lm -ldl -lpthread
" @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vl2.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
