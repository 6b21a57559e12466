#include "tests/bench/requester.h"

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tessera::bench {

Requester::Requester(const testing::CoordinatorProcess& coordinator, absl::string_view tenant,
                     Options options)
    : payload_(static_cast<size_t>(options.payload_bytes), 'x'),
      stub_(v1::JobService::NewStub(coordinator.Channel())) {
  v1::CreateJobRequest create;
  create.set_parent(absl::StrCat("tenants/", tenant));
  create.set_request_id("bench");
  v1::TaskTemplate& task = *create.mutable_job()->mutable_template_();
  task.set_title("Is it so?");
  v1::Field& field = *task.add_fields();
  field.set_name("so");
  for (const char* value : {"no", "yes"}) field.mutable_choice()->add_classes()->set_value(value);
  v1::Policy& policy = *create.mutable_job()->mutable_policy();
  policy.set_budget_micros(1'000'000'000'000'000);
  policy.set_currency_code("USD");
  policy.mutable_quality()->set_answers_min(1);
  policy.mutable_quality()->set_answers_max(1);
  policy.mutable_price()->set_price_per_item_micros(1000);
  policy.mutable_split()->set_items_max(1);
  grpc::ClientContext context;
  v1::Job job;
  const grpc::Status created = stub_->CreateJob(&context, create, &job);
  TESSERA_CHECK(created.ok()) << created.error_message();
  job_ = job.name();
  request_.set_job(job_);
  writer_ = stub_->AddItems(&context_, &response_);
}

Requester::~Requester() {
  writer_->WritesDone();
  const grpc::Status status = writer_->Finish();
  TESSERA_CHECK(status.ok()) << status.error_message();
  TESSERA_CHECK(response_.committed_offset() == offset_) << response_.ShortDebugString();
}

void Requester::Add(const std::vector<std::string>& keys) {
  const int size = static_cast<int>(keys.size());
  while (request_.items_size() > size) request_.mutable_items()->RemoveLast();
  for (int i = 0; i < size; ++i) {
    if (i == request_.items_size()) {
      v1::Part& part = *request_.add_items()->add_content();
      part.set_name("text");
      part.set_text(payload_);
    }
    request_.mutable_items(i)->set_key(keys[static_cast<size_t>(i)]);
  }
  request_.set_offset(offset_);
  TESSERA_CHECK(writer_->Write(request_)) << "the coordinator ended the stream of items";
  offset_ += size;
}

v1::Job Requester::Get() {
  grpc::ClientContext context;
  v1::GetJobRequest request;
  request.set_name(job_);
  v1::Job job;
  const grpc::Status got = stub_->GetJob(&context, request, &job);
  TESSERA_CHECK(got.ok()) << got.error_message();
  return job;
}

}  // namespace tessera::bench
