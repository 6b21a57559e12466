# Precompiled headers. Each is compiled once per build folder; targets borrow it (REUSE_FROM), which
# works because all of our targets are compiled with the same flags. They save time and add
# nothing: the `tidy` preset builds without them, so a missing #include is still found.
#
#   grpc   gRPC, Protobuf, Abseil and the standard library: for what includes <grpcpp/...>
#   test   GoogleTest, Abseil and the standard library: what tests get unless they ask for grpc

option(TESSERA_PCH "Use precompiled headers" ON)

set(tessera_pch_std
  <algorithm> <array> <cstdint> <functional> <map> <memory> <optional> <string> <utility> <vector>)
set(tessera_pch_absl
  <absl/container/flat_hash_map.h> <absl/container/flat_hash_set.h> <absl/status/status.h>
  <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/string_view.h>
  <absl/time/time.h>)

function(tessera_pch name)
  cmake_parse_arguments(arg "" "" "HDRS;DEPS" ${ARGN})
  if(NOT TESSERA_PCH)
    return()
  endif()
  set(source ${CMAKE_BINARY_DIR}/pch/${name}.cc)
  if(NOT EXISTS ${source})
    file(WRITE ${source} "")
  endif()
  add_library(tessera_pch_${name} OBJECT EXCLUDE_FROM_ALL ${source})
  target_link_libraries(tessera_pch_${name} PRIVATE
    tessera_flags absl::flat_hash_map absl::statusor absl::time Threads::Threads ${arg_DEPS})
  target_precompile_headers(tessera_pch_${name} PRIVATE
    ${arg_HDRS} ${tessera_pch_std} ${tessera_pch_absl})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(tessera_pch_${name} PRIVATE -fpch-preprocess)  # For ccache.
  endif()
endfunction()

function(tessera_use_pch target name)
  if(NOT TESSERA_PCH)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM tessera_pch_${name})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()

tessera_pch(grpc HDRS <grpcpp/grpcpp.h> <google/protobuf/message.h> DEPS gRPC::grpc++)
if(BUILD_TESTING)
  tessera_pch(test HDRS <gmock/gmock.h> <gtest/gtest.h> DEPS GTest::gmock)
endif()
