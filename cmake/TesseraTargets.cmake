# The words that CMakeLists.txt files are written in. Paths in #include lines start at the root:
# #include "coordinator/core/partition.h".

# tessera_library(name [HDRS ...] [SRCS ...] [DEPS ...] [PCH grpc])
#
# Defines tessera::name. Without SRCS it is header-only. HDRS are listed for IDEs and readers.
function(tessera_library name)
  cmake_parse_arguments(arg "" "PCH" "HDRS;SRCS;DEPS" ${ARGN})
  tessera_refuse_unknown(tessera_library ${name} "${arg_UNPARSED_ARGUMENTS}")
  set(target tessera_${name})
  if(NOT arg_SRCS)
    add_library(${target} INTERFACE ${arg_HDRS})
    target_include_directories(${target} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${target} INTERFACE ${arg_DEPS})
  else()
    add_library(${target} STATIC ${arg_SRCS} ${arg_HDRS})
    target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${target} PUBLIC ${arg_DEPS} PRIVATE tessera_flags)
    if(arg_PCH)
      tessera_use_pch(${target} ${arg_PCH})
    endif()
  endif()
  add_library(tessera::${name} ALIAS ${target})
endfunction()

# tessera_program(name SRCS ... [DEPS ...] [PCH grpc])
#
# Builds bin/name.
function(tessera_program name)
  cmake_parse_arguments(arg "" "PCH" "SRCS;DEPS" ${ARGN})
  tessera_refuse_unknown(tessera_program ${name} "${arg_UNPARSED_ARGUMENTS}")
  add_executable(${name} ${arg_SRCS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} tessera_flags)
  if(arg_PCH)
    tessera_use_pch(${name} ${arg_PCH})
  endif()
endfunction()

# tessera_test(name SRCS ... [DEPS ...] [LABELS ...] [TIMEOUT seconds] [PCH grpc] [NO_GTEST_MAIN])
#
# A GoogleTest program, one ctest entry: processes are what costs, not tests in them. It runs beside
# others, in any order: port 0, own folder. LABELS are fast (the default), slow (left out of
# `./dev test`, run by `--full`), sim and integration. TIMEOUT is 60 unless said; sanitizers get 5
# times as long. In its environment: TESSERA_SOURCE_DIR, TESSERA_BIN_DIR.
function(tessera_test name)
  cmake_parse_arguments(arg "NO_GTEST_MAIN" "PCH;TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  tessera_refuse_unknown(tessera_test ${name} "${arg_UNPARSED_ARGUMENTS}")
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_executable(${name} ${arg_SRCS})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gmock GTest::gtest tessera_flags)
  if(NOT arg_NO_GTEST_MAIN)
    target_link_libraries(${name} PRIVATE GTest::gmock_main)
  endif()
  if(NOT arg_PCH)
    set(arg_PCH test)
  endif()
  tessera_use_pch(${name} ${arg_PCH})
  add_test(NAME ${name} COMMAND ${name})
  tessera_test_properties(${name} "${arg_LABELS}" "${arg_TIMEOUT}")
endfunction()

# tessera_script_test(name COMMAND ... [LABELS ...] [TIMEOUT seconds])
#
# A test that is not a GoogleTest program. COMMAND may use $<TARGET_FILE:...>; it runs in the
# source folder of the caller. Exit status 77 means skipped.
function(tessera_script_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "COMMAND;LABELS" ${ARGN})
  tessera_refuse_unknown(tessera_script_test ${name} "${arg_UNPARSED_ARGUMENTS}")
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  tessera_test_properties(${name} "${arg_LABELS}" "${arg_TIMEOUT}")
endfunction()

# tessera_benchmark(name SRCS ... [DEPS ...])
#
# A google-benchmark program, bin/bench/name. Target `benches` is all of them, and nothing else.
function(tessera_benchmark name)
  cmake_parse_arguments(arg "" "PCH" "SRCS;DEPS" ${ARGN})
  tessera_refuse_unknown(tessera_benchmark ${name} "${arg_UNPARSED_ARGUMENTS}")
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_executable(${name} ${arg_SRCS})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/bench)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE
    ${arg_DEPS} benchmark::benchmark benchmark::benchmark_main tessera_flags)
  if(arg_PCH)
    tessera_use_pch(${name} ${arg_PCH})
  endif()
  add_dependencies(benches ${name})
endfunction()

# Below: for the functions above only.

add_custom_target(benches)

function(tessera_refuse_unknown function name unknown)
  if(unknown)
    message(FATAL_ERROR "${function}(${name}): what is '${unknown}'?")
  endif()
endfunction()

function(tessera_test_properties name labels timeout)
  if(NOT labels)
    set(labels fast)
  endif()
  if(NOT timeout)
    set(timeout 60)
  endif()
  set(environment
    TESSERA_SOURCE_DIR=${PROJECT_SOURCE_DIR}
    TESSERA_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
  if(TESSERA_SANITIZE)
    math(EXPR timeout "${timeout} * 5")
    list(APPEND environment
      # gRPC, Protobuf and Abseil come uninstrumented from the distribution.
      "TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp"
      "UBSAN_OPTIONS=print_stacktrace=1")
  endif()
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${timeout} ENVIRONMENT "${environment}")
endfunction()
