# What we build on, found as the distribution ships it; no version is pinned. Names used in DEPS
# lines: gRPC::grpc++, protobuf::libprotobuf, absl::..., hiredis::hiredis,
# nlohmann_json::nlohmann_json, OpenSSL::SSL, OpenSSL::Crypto, GTest::gmock, benchmark::benchmark.

find_package(absl CONFIG REQUIRED)
find_package(Protobuf CONFIG QUIET)  # Newer releases ship a CMake config; Debian's does not.
if(NOT TARGET protobuf::libprotobuf)
  find_package(Protobuf REQUIRED)
endif()
find_package(gRPC CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(HIREDIS REQUIRED hiredis)
find_library(HIREDIS_LIBRARY hiredis HINTS ${HIREDIS_LIBRARY_DIRS} REQUIRED)
find_path(HIREDIS_INCLUDE hiredis/hiredis.h REQUIRED)
add_library(hiredis::hiredis INTERFACE IMPORTED)
# Only the library and its folder: pkg-config's -D would set these targets apart from the
# precompiled headers for nothing.
set_target_properties(hiredis::hiredis PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES ${HIREDIS_INCLUDE}
  INTERFACE_LINK_LIBRARIES ${HIREDIS_LIBRARY})

# Optional: the coordinator's allocator (coordinator/CMakeLists.txt). No header is needed.
find_library(JEMALLOC_LIBRARY NAMES jemalloc libjemalloc.so.2)

if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  find_package(benchmark CONFIG REQUIRED)
endif()
