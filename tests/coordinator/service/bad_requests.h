// Requests that must be refused, as data: who says what, and how it is answered.
//
// They are made to a coordinator with the jobs that BadRequestsTest creates: $MAIN runs and has
// items k0 to k9, $SEALED is sealed, $ENDED is cancelled, all of tenants/acme; $ASSIGNMENT is held
// by worker ann of platforms/market and has $ITEM and another item of $MAIN, but not $OTHER_ITEM.
// $GENEROUS has granted ann as many bonuses as a job may, with the ids bonus0, bonus1, ...
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

namespace tessera::testing {

struct BadRequest {
  const char* name;
  const char* token;
  const char* method;
  std::vector<std::vector<std::string>> messages;  // As ServiceWorld takes them.
  grpc::StatusCode code;
  const char* reason;
  const char* field = "";  // Empty: none is asked for.
};

// The same code and reason, and no word about whether there is such a thing.
std::vector<BadRequest> RequestsOfOthers();
std::vector<BadRequest> BadJobRequests();
std::vector<BadRequest> BadItemRequests();
std::vector<BadRequest> BadWorkRequests();
std::vector<BadRequest> BadOperatorRequests();

}  // namespace tessera::testing
