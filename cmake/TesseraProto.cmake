# tessera_proto_library(name ROOT folder PROTOS file.proto ... [IMPORTS folder ...])
#
# Defines tessera::name from .proto files: messages, and gRPC stubs for the files with a service.
# PROTOS are full paths below ROOT or one of IMPORTS, the folders that import lines start from;
# #include lines start there too: #include "tessera/v1/job_service.grpc.pb.h". Generated code is
# compiled without our warnings, and at -O1: it is large, and time spent in it is time spent in the
# Protobuf library.
function(tessera_proto_library name)
  cmake_parse_arguments(arg "" "ROOT" "PROTOS;IMPORTS" ${ARGN})
  tessera_refuse_unknown(tessera_proto_library ${name} "${arg_UNPARSED_ARGUMENTS}")
  set(out ${CMAKE_BINARY_DIR}/generated/${name})
  file(MAKE_DIRECTORY ${out})
  set(roots ${arg_ROOT} ${arg_IMPORTS})
  list(TRANSFORM roots PREPEND --proto_path= OUTPUT_VARIABLE import_flags)
  foreach(dir IN LISTS Protobuf_INCLUDE_DIRS)
    list(APPEND import_flags --proto_path=${dir})
  endforeach()

  set(sources "")
  foreach(proto IN LISTS arg_PROTOS)
    foreach(root IN LISTS roots)
      file(RELATIVE_PATH relative ${root} ${proto})
      if(NOT relative MATCHES "^\\.\\.")
        break()
      endif()
    endforeach()
    string(REGEX REPLACE "\\.proto$" "" stem ${relative})
    set(outputs ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND protobuf::protoc ${import_flags} --cpp_out=${out} --dependency_out=${out}/${stem}.d
        ${proto}
      DEPENDS ${proto}
      DEPFILE ${out}/${stem}.d
      COMMENT "Generating ${stem}.pb.cc"
      VERBATIM)
    # Stubs only where there is a service: an empty .grpc.pb.cc costs as much as a full one.
    file(STRINGS ${proto} services REGEX "^service ")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${proto})
    if(services)
      set(stubs ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
      # A command of its own: protoc's list of dependencies names one of its outputs, and Ninja would
      # take the others for out of date for ever.
      add_custom_command(
        OUTPUT ${stubs}
        COMMAND protobuf::protoc ${import_flags} --grpc_out=${out}
          --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${proto}
        DEPENDS ${proto} ${out}/${stem}.pb.h
        COMMENT "Generating ${stem}.grpc.pb.cc"
        VERBATIM)
      list(APPEND outputs ${stubs})
    endif()
    list(APPEND sources ${outputs})
  endforeach()

  set(target tessera_${name})
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
  target_compile_options(${target} PRIVATE -w -g0)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(${target} PRIVATE -O1)
  endif()
  add_library(tessera::${name} ALIAS ${target})
  add_custom_target(${target}_generated DEPENDS ${sources})  # For clang-tidy: headers only.
endfunction()
