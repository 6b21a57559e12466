#include "tests/coordinator/service/service_world.h"

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/service/credentials.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/operator_service.pb.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::testing {

namespace {

using google::protobuf::Message;

const google::protobuf::MethodDescriptor* MethodOf(absl::string_view method) {
  // Mentions each file, so that the linker keeps it.
  static const bool linked = v1::GetJobRequest::descriptor() != nullptr &&
                             v1::GetPoolRequest::descriptor() != nullptr &&
                             v1::WorkRequest::descriptor() != nullptr;
  TESSERA_CHECK(linked);
  const auto* const found = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
      absl::StrCat("tessera.v1.", absl::StrReplaceAll(method, {{"/", "."}})));
  TESSERA_CHECK(found != nullptr) << method;
  return found;
}

std::unique_ptr<Message> NewMessage(const google::protobuf::Descriptor* type) {
  return std::unique_ptr<Message>(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

grpc::ByteBuffer ToBuffer(const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

void Parse(const grpc::ByteBuffer& buffer, Message& message) {
  std::vector<grpc::Slice> slices;
  TESSERA_CHECK(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  TESSERA_CHECK(message.ParseFromString(bytes));
}

void SetFrom(const grpc::Status& status, Outcome& outcome) {
  outcome.code = status.error_code();
  outcome.message = status.error_message();
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return;
  for (const auto& any : rich.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (any.UnpackTo(&info) && info.domain() == "tessera") {
      outcome.reason = info.reason();
      outcome.metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (any.UnpackTo(&bad)) {
      for (const auto& field : bad.field_violations()) outcome.fields.push_back(field.field());
    }
  }
}

bool SetFromRejected(const Message& message, Outcome& outcome) {
  const auto* const response = dynamic_cast<const v1::WorkResponse*>(&message);
  if (response == nullptr || response->rejected().empty()) return false;
  const v1::Rejected& rejected = response->rejected(0);
  outcome.code = static_cast<grpc::StatusCode>(rejected.code());
  outcome.message = rejected.message();
  outcome.reason = rejected.reason();
  if (!rejected.field().empty()) outcome.fields.push_back(rejected.field());
  return true;
}

bool Has(const Message& message, absl::string_view field_name) {
  const auto* const field = message.GetDescriptor()->FindFieldByName(std::string(field_name));
  if (field == nullptr) return false;
  const auto* const reflection = message.GetReflection();
  return field->is_repeated() ? reflection->FieldSize(message, field) > 0
                              : reflection->HasField(message, field);
}

}  // namespace

const char kGoodJob[] = R"pb(
  parent: "tenants/acme"
  job {
    display_name: "pairs"
    template {
      title: "Does it follow?"
      fields {
        name: "follows"
        choice {
          classes { value: "yes" }
          classes { value: "no" }
        }
      }
    }
    policy {
      budget_micros: 1000000
      currency_code: "USD"
      price { price_per_item_micros: 100 }
    }
  }
)pb";

const char kGoodHello[] = R"pb(hello { gateway: "gate" protocol_version: 1 })pb";

std::string TokensFile() {
  const auto line = [](absl::string_view token, absl::string_view rest) {
    return absl::StrCat("sha256:", absl::BytesToHexString(service::Sha256(token)), " ", rest, "\n");
  };
  return absl::StrCat("# Callers of every kind.\n\n",  //
                      line(kAcme, "requester tenant=acme  # the nightly import"),
                      line(kRival, "requester tenant=rival"),          //
                      line(kMarket, "gateway platform=market"),        //
                      line(kElsewhere, "gateway platform=elsewhere"),  //
                      line(kOperator, "operator *"),                   //
                      line(kEverybody, "requester,gateway,operator *"));
}

bool Outcome::HasField(absl::string_view field) const {
  return std::any_of(fields.begin(), fields.end(), [&](absl::string_view found) {
    if (!absl::ConsumePrefix(&found, field)) return false;
    return found.empty() || found[0] == '.' || found[0] == '[';
  });
}

ServiceWorld::ServiceWorld(const std::vector<std::string>& flags) {
  const std::string tokens = folder_.Join("tokens");
  std::ofstream(tokens) << TokensFile();
  CoordinatorProcess::Options options{
      .flags = {"--tokens-file", tokens, "--drain-timeout", "1s", "--no-trim"}};
  options.flags.insert(options.flags.end(), flags.begin(), flags.end());
  process_ = std::make_unique<CoordinatorProcess>(std::move(options));
  channel_ = process_->Channel();
}

std::string ServiceWorld::Expand(absl::string_view text) const {
  std::string out(text);
  // Longer names first, as one may begin another.
  for (auto name = names_.rbegin(); name != names_.rend(); ++name) {
    out = absl::StrReplaceAll(out, {{absl::StrCat("$", name->first), name->second}});
  }
  return out;
}

Outcome ServiceWorld::Call(absl::string_view token, absl::string_view method,
                           const Texts& request) {
  return Run(token, method, {request}, "");
}

Outcome ServiceWorld::CallStream(absl::string_view token, absl::string_view method,
                                 const std::vector<Texts>& requests) {
  return Run(token, method, requests, "");
}

void ServiceWorld::CallMany(absl::string_view token, absl::string_view method, int count,
                            const std::function<std::string(int)>& request) {
  constexpr int kInFlight = 100;
  const auto* const descriptor = MethodOf(method);
  struct Flight {
    grpc::ClientContext context;
    grpc::ByteBuffer reply;
    grpc::Status status;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> call;
  };
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  const auto land = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    TESSERA_CHECK(queue.Next(&tag, &ok));
    const std::unique_ptr<Flight> flight(static_cast<Flight*>(tag));
    TESSERA_CHECK(flight->status.ok()) << flight->status.error_message();
  };
  for (int i = 0; i < count; ++i) {
    const std::unique_ptr<Message> message = NewMessage(descriptor->input_type());
    TESSERA_CHECK(google::protobuf::TextFormat::ParseFromString(Expand(request(i)), message.get()));
    auto* const flight = new Flight;
    flight->context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
    flight->call = stub.PrepareUnaryCall(&flight->context, absl::StrCat("/tessera.v1.", method),
                                         ToBuffer(*message), &queue);
    flight->call->StartCall();
    flight->call->Finish(&flight->reply, &flight->status, flight);
    if (i >= kInFlight) land();
  }
  for (int i = 0; i < std::min(count, kInFlight); ++i) land();
}

Outcome ServiceWorld::Work(absl::string_view token, const std::vector<Texts>& requests,
                           absl::string_view until) {
  return Run(token, "WorkService/Work", requests, until);
}

std::string ServiceWorld::StateDigest() {
  const Outcome outcome =
      Call(kOperator, "OperatorService/GetPartition", {"name: 'partitions/p0'"});
  TESSERA_CHECK(outcome.code == grpc::StatusCode::OK) << outcome.message;
  return outcome.reply<v1::Partition>().state_digest();
}

core::RecordId ServiceWorld::LastRecord() {
  const absl::StatusOr<core::RecordId> last = Journal().LastRecord();
  TESSERA_CHECK_OK(last.status());
  return *last;
}

std::vector<std::string> ServiceWorld::ChangesAfter(core::RecordId record) {
  std::vector<std::string> changes;
  TESSERA_CHECK_OK(Journal().ForEachRecord(record, [&](const inspect::JournalRecord& journal) {
    if (journal.id == record) return true;
    if (!journal.record.payloads.empty()) changes.emplace_back("payloads");
    for (const core::Event& event : journal.events) {
      if (!std::holds_alternative<core::Ticked>(event)) changes.push_back(core::EventToJson(event));
    }
    return true;
  }));
  return changes;
}

inspect::Inspector& ServiceWorld::Journal() {
  if (journal_ == nullptr) {
    absl::StatusOr<std::unique_ptr<inspect::Inspector>> opened = inspect::Inspector::Open(
        {.redis = absl::StrCat("unix:", process_->Join("data/redis.sock"))});
    TESSERA_CHECK_OK(opened.status());
    journal_ = *std::move(opened);
  }
  return *journal_;
}

Outcome ServiceWorld::CallRaw(absl::string_view token, absl::string_view method,
                              const std::vector<std::string>& messages) {
  return RunBytes(token, method, messages, "");
}

Outcome ServiceWorld::Run(absl::string_view token, absl::string_view method,
                          const std::vector<Texts>& requests, absl::string_view until) {
  std::vector<std::string> messages;
  for (const Texts& texts : requests) {
    const std::unique_ptr<Message> request = NewMessage(MethodOf(method)->input_type());
    for (const std::string& text : texts) {
      google::protobuf::TextFormat::Parser parser;
      TESSERA_CHECK(parser.MergeFromString(Expand(text), request.get())) << Expand(text);
    }
    messages.push_back(request->SerializeAsString());
  }
  return RunBytes(token, method, messages, until);
}

// Every kind of call is a stream of messages each way to the generic stub.
Outcome ServiceWorld::RunBytes(absl::string_view token, absl::string_view method,
                               const std::vector<std::string>& messages, absl::string_view until) {
  const auto* const descriptor = MethodOf(method);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto next = [&] {
    TESSERA_CHECK(queue.Next(&tag, &ok));
    return ok;
  };

  grpc::GenericStub stub(channel_);
  const auto call = stub.PrepareCall(&context, absl::StrCat("/tessera.v1.", method), &queue);
  call->StartCall(nullptr);
  bool writing = next();
  for (const std::string& message : messages) {
    if (!writing) break;  // The server has ended the call.
    const grpc::Slice slice(message);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    writing = next();
  }
  if (writing && until.empty()) {
    call->WritesDone(nullptr);
    next();
  }
  Outcome outcome;
  bool found = false;
  while (!found) {
    grpc::ByteBuffer buffer;
    call->Read(&buffer, nullptr);
    if (!next()) break;
    std::unique_ptr<Message> reply = NewMessage(descriptor->output_type());
    Parse(buffer, *reply);
    found = !until.empty() && (SetFromRejected(*reply, outcome) || Has(*reply, until));
    outcome.replies.push_back(std::move(reply));
  }
  if (found) context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  if (!found) SetFrom(status, outcome);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return outcome;
}

}  // namespace tessera::testing
