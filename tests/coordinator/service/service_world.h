// A coordinator with callers of every kind, and calls as data: who calls what with which request.
//
//   ServiceWorld world;
//   Outcome outcome = world.Call(kAcme, "JobService/GetJob", {"name: '$MAIN'"});
//   outcome.code;    // grpc::StatusCode::OK
//
// Requests are in Protobuf's text format. `$NAME` in them stands for what a test has set with
// Define(): the names of jobs and assignments are not known beforehand.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/inspect/inspector.h"
#include "google/protobuf/message.h"
#include "tests/support/coordinator_process.h"

namespace tessera::testing {

// Tokens of the callers. The file that the coordinator reads holds their hashes.
inline constexpr char kNobody[] = "";
inline constexpr char kAcme[] = "token-of-acme";            // Requester of tenants/acme.
inline constexpr char kRival[] = "token-of-rival";          // Requester of tenants/rival.
inline constexpr char kMarket[] = "token-of-market";        // Gateway of platforms/market.
inline constexpr char kElsewhere[] = "token-of-elsewhere";  // Gateway of platforms/elsewhere.
inline constexpr char kOperator[] = "token-of-operator";    // Operator, everywhere.
inline constexpr char kEverybody[] = "token-of-everybody";  // All roles, everywhere.

// The text of a tokens file with all of these.
std::string TokensFile();

// What a call came to: its status or, on a work stream, the first Rejected.
struct Outcome {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  std::string reason;
  std::vector<std::string> fields;
  std::map<std::string, std::string> metadata;
  // The messages received, before that.
  std::vector<std::unique_ptr<google::protobuf::Message>> replies;

  // Whether it is about `field`, or about something within it.
  bool HasField(absl::string_view field) const;
  // The last reply.
  template <typename T>
  const T& reply() const {
    return dynamic_cast<const T&>(*replies.at(replies.size() - 1));
  }
};

class ServiceWorld {
 public:
  // `flags`: beside those for tokens, a short drain and a whole journal.
  explicit ServiceWorld(const std::vector<std::string>& flags = {});

  // Calls `Service/Method` as the holder of `token` with these messages, half-closes, and reads
  // until the end. Each message is a list of texts, of which later ones override earlier ones.
  using Texts = std::vector<std::string>;
  Outcome Call(absl::string_view token, absl::string_view method, const Texts& request);
  Outcome CallStream(absl::string_view token, absl::string_view method,
                     const std::vector<Texts>& requests);
  // Calls with these bytes as messages, whatever they are.
  Outcome CallRaw(absl::string_view token, absl::string_view method,
                  const std::vector<std::string>& messages);
  // Makes `count` calls with one message each, many at a time; all must be OK.
  void CallMany(absl::string_view token, absl::string_view method, int count,
                const std::function<std::string(int)>& request);
  // Opens a work stream, says the messages, and reads until something is Rejected, `until` has come
  // in a reply's field of that name, or the stream has ended.
  Outcome Work(absl::string_view token, const std::vector<Texts>& requests,
               absl::string_view until = "rejected");

  void Define(const std::string& name, const std::string& value) { names_[name] = value; }
  std::string Expand(absl::string_view text) const;

  // Of the whole state, as the operator sees it.
  std::string StateDigest();
  // The journal's last record, and what was decided after `record`, as JSON: that time passed is no
  // decision. Neither waits for a commit; StateDigest() does.
  core::RecordId LastRecord();
  std::vector<std::string> ChangesAfter(core::RecordId record);

  CoordinatorProcess& process() { return *process_; }

 private:
  Outcome Run(absl::string_view token, absl::string_view method, const std::vector<Texts>& requests,
              absl::string_view until);
  Outcome RunBytes(absl::string_view token, absl::string_view method,
                   const std::vector<std::string>& messages, absl::string_view until);
  inspect::Inspector& Journal();

  TempDir folder_;
  std::unique_ptr<CoordinatorProcess> process_;
  std::unique_ptr<inspect::Inspector> journal_;
  std::shared_ptr<grpc::Channel> channel_;
  std::map<std::string, std::string> names_;
};

// Message texts that are good as they are. CreateJob's needs a request_id.
extern const char kGoodJob[];
extern const char kGoodHello[];

}  // namespace tessera::testing
