# sala_library(name [PUBLIC libs...] [PRIVATE libs...]): one static library a folder, globbed, with warnings and the
# check that every header compiles alone.
add_library(sala_options INTERFACE)
target_include_directories(sala_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(sala_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion>
  # Chosen per function at run time where it pays; no flag here may bind the binary to one CPU.
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${SALA_WERROR}>>:-Werror>
  # Sample generation and scores follow IEEE double arithmetic in the order written.
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
if(SALA_CUDA)
  target_compile_definitions(sala_options INTERFACE SALA_WITH_CUDA)
  # The host compiler's warnings beyond these come from what nvcc generates.
  target_compile_options(sala_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra>
    $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${SALA_WERROR}>>:--Werror=all-warnings;-Xcompiler=-Werror>)
endif()
if(SALA_SANITIZE)
  # gcc 12 sees uninitialized members inside std::regex once instrumented.
  target_compile_options(sala_options INTERFACE -fsanitize=${SALA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined
    -Wno-maybe-uninitialized)
  target_link_options(sala_options INTERFACE -fsanitize=${SALA_SANITIZE})
  target_compile_definitions(sala_options INTERFACE SALA_SANITIZED)
endif()

function(sala_library name)
  cmake_parse_arguments(ARG "" "" "PUBLIC;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cpp)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS *.h)
  list(FILTER sources EXCLUDE REGEX "/(cli|node_modules)/")
  list(FILTER headers EXCLUDE REGEX "/(cli|node_modules)/")
  if(SALA_CUDA)
    file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS *.cu)
    set(hopper_sources ${cuda_sources})
    list(FILTER cuda_sources EXCLUDE REGEX "_sm90a\\.cu$")
    list(FILTER hopper_sources INCLUDE REGEX "_sm90a\\.cu$")
    list(APPEND sources ${cuda_sources})
  else()
    list(FILTER sources EXCLUDE REGEX "/cuda/")
    list(FILTER headers EXCLUDE REGEX "/cuda/")
  endif()
  add_library(${name} STATIC ${sources})
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
  set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  target_link_libraries(${name} PUBLIC sala_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  if(hopper_sources) # what no other GPU has; chosen at run time, so every build has it
    add_library(${name}_sm90a OBJECT ${hopper_sources})
    set_target_properties(${name}_sm90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
    target_link_libraries(${name}_sm90a PRIVATE sala_options)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_sm90a>)
  endif()
endfunction()
