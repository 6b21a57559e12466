# What every translation unit is compiled with, and what only our own code is.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
find_package(Threads REQUIRED)

# Line tables are enough for a backtrace, and much cheaper than full debug information.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

# Replay must give the same bits on any machine: no fused multiply-add behind our back.
add_compile_options(-ffp-contract=off)

# File names in messages and debug information are relative to the root, so that objects do not
# depend on where the tree lies.
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)

# Some packages ask for it and some do not; a precompiled header serves only who was compiled alike.
add_compile_options(-pthread)

set(TESSERA_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=; empty means none")
if(TESSERA_SANITIZE)
  add_compile_options(-fsanitize=${TESSERA_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TESSERA_SANITIZE})
  if(TESSERA_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

# Warnings are of our code only: generated code and the headers of others are left alone. Where we
# work they are errors; whoever builds with a compiler that we have not met still gets a program.
option(TESSERA_WERROR "Warnings are errors" OFF)
add_library(tessera_flags INTERFACE)
target_compile_options(tessera_flags INTERFACE
  -Wall -Wextra -Wpedantic $<$<BOOL:${TESSERA_WERROR}>:-Werror>
  -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi -Wimplicit-fallthrough
  -Wno-missing-field-initializers  # Designated initialisers leave out what has a default.
)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tessera_flags INTERFACE
    # GCC 12 sees these through std::string and std::vector where there is nothing to see.
    -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
    -Wno-maybe-uninitialized -Wno-dangling-pointer
    -Wno-error=invalid-pch
  )
  if(TESSERA_SANITIZE MATCHES "thread")
    # Protobuf's headers change the layout of map fields under it; the distribution's library does not.
    add_compile_options(-U__SANITIZE_THREAD__)
    # absl and libstdc++ use fences that TSan does not model; they are not ours to change.
    target_compile_options(tessera_flags INTERFACE -Wno-tsan)
  endif()
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
      CCACHE_NOHASHDIR=1
    ${CCACHE_PROGRAM})
endif()
