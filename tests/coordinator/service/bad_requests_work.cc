// Messages of the work stream: those that end it, and entries that are Rejected.
#include "absl/strings/str_cat.h"
#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using grpc::StatusCode;

// A stream of the market's with these messages.
BadRequest Stream(const char* name, const std::vector<std::string>& messages, StatusCode code,
                  const char* reason, const char* field) {
  BadRequest row = {.name = name,
                    .token = kMarket,
                    .method = "WorkService/Work",
                    .messages = {},
                    .code = code,
                    .reason = reason,
                    .field = field};
  for (const std::string& message : messages) row.messages.push_back({message});
  return row;
}

// An entry after a good hello.
BadRequest Entry(const char* name, const std::string& entry, StatusCode code, const char* reason,
                 const char* field) {
  return Stream(name, {kGoodHello, entry}, code, reason, field);
}

BadRequest Invalid(const char* name, const std::string& entry, const char* reason,
                   const char* field) {
  return Entry(name, entry, StatusCode::INVALID_ARGUMENT, reason, field);
}

}  // namespace

std::vector<BadRequest> BadWorkRequests() {
  const std::string answer = "answer { fields { choice: 'yes' } }";
  std::string many;
  for (int i = 0; i < 10'001; ++i) absl::StrAppend(&many, "drafts {} ");
  BadRequest other_platform_draft = Entry(
      "a draft for another platform's assignment",
      absl::StrCat("drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 ", answer, " }"),
      StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED", "");
  other_platform_draft.token = kElsewhere;
  BadRequest other_platform_submit =
      Entry("a submit of another platform's assignment", "submits { assignment: '$ASSIGNMENT' }",
            StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED", "");
  other_platform_submit.token = kElsewhere;
  BadRequest other_platform_return =
      Entry("a return of another platform's assignment", "returns { assignment: '$ASSIGNMENT' }",
            StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED", "");
  other_platform_return.token = kElsewhere;
  BadRequest other_platform_extend =
      Entry("an extension of another platform's assignment",
            "extends { assignment: '$ASSIGNMENT' expire_time { seconds: 33000000000 } }",
            StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED", "");
  other_platform_extend.token = kElsewhere;
  return {
      Stream("no hello", {"leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 }"},
             StatusCode::FAILED_PRECONDITION, "HELLO_MISPLACED", "hello"),
      Stream("a second hello", {kGoodHello, kGoodHello}, StatusCode::FAILED_PRECONDITION,
             "HELLO_MISPLACED", "hello"),
      Stream("a protocol that is not spoken", {"hello { gateway: 'g' protocol_version: 2 }"},
             StatusCode::FAILED_PRECONDITION, "PROTOCOL_VERSION", "hello.protocol_version"),
      Stream("a gateway without a name", {"hello { protocol_version: 1 }"},
             StatusCode::INVALID_ARGUMENT, "FIELD_REQUIRED", "hello.gateway"),
      Stream("a gateway with a malformed name", {"hello { gateway: 'G 1' protocol_version: 1 }"},
             StatusCode::INVALID_ARGUMENT, "FIELD_MALFORMED", "hello.gateway"),
      Stream("something held without a name",
             {"hello { gateway: 'g' protocol_version: 1 held {} }"}, StatusCode::INVALID_ARGUMENT,
             "FIELD_REQUIRED", "hello.held[0].assignment"),
      Stream("a position nowhere",
             {"hello { gateway: 'g' protocol_version: 1 positions { partition: 'p0' } }"},
             StatusCode::INVALID_ARGUMENT, "FIELD_MALFORMED", "hello.positions[0].partition"),
      Stream("a position that is not reached yet",
             {"hello { gateway: 'g' protocol_version: 1 positions { partition: 'partitions/p0' "
              "epoch: 1000 sequence: 1 } }"},
             StatusCode::DATA_LOSS, "HISTORY_LOST", ""),
      Stream("too many entries", {kGoodHello, many}, StatusCode::RESOURCE_EXHAUSTED, "STREAM_LIMIT",
             ""),

      Invalid("a lease without a demand", "leases { worker: 'ann' assignments_wanted: 1 }",
              "FIELD_REQUIRED", "demand_id"),
      Invalid("a lease without a worker", "leases { demand_id: 1 assignments_wanted: 1 }",
              "FIELD_REQUIRED", "worker"),
      Invalid("a worker that is none",
              "leases { demand_id: 1 worker: 'a n n' assignments_wanted: 1 }", "FIELD_MALFORMED",
              "worker"),
      Entry("another platform's worker",
            "leases { demand_id: 1 worker: 'platforms/elsewhere/workers/eve' assignments_wanted: 1 "
            "}",
            StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED", "worker"),
      Invalid("credit below nothing",
              "leases { demand_id: 1 worker: 'ann' assignments_wanted: -1 }", "FIELD_OUT_OF_LIMITS",
              "assignments_wanted"),
      Entry("credit above the limit",
            "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1001 }",
            StatusCode::RESOURCE_EXHAUSTED, "STREAM_LIMIT", "assignments_wanted"),
      Invalid("items without their job",
              "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 only_item_keys: 'k0' }",
              "FIELDS_CONFLICT", "only_item_keys"),
      Invalid("an item named twice",
              "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 only_job: '$MAIN' "
              "only_item_keys: 'k0' only_item_keys: 'k0' }",
              "VALUE_DUPLICATED", "only_item_keys[1]"),
      Invalid("a skill that is none",
              "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 skills: 'Very good' }",
              "FIELD_MALFORMED", "skills[0]"),
      Invalid(
          "a time to wait below nothing",
          "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 wait_max { seconds: -1 } }",
          "FIELD_OUT_OF_LIMITS", "wait_max"),
      Entry("a pool that is not there",
            "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 pool: 'pools/none' }",
            StatusCode::NOT_FOUND, "POOL_NOT_FOUND", "pool"),
      Entry("a job that is not there",
            "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 only_job: "
            "'tenants/acme/jobs/p0-none' }",
            StatusCode::NOT_FOUND, "JOB_NOT_FOUND", ""),
      Entry("work that is not served",
            "leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 capabilities: "
            "CAPABILITY_TRAIN }",
            StatusCode::UNIMPLEMENTED, "NOT_SERVED", "capabilities[0]"),

      Invalid("a draft of no assignment",
              absl::StrCat("drafts { item_key: '$ITEM' edit: 1 ", answer, " }"), "FIELD_REQUIRED",
              "assignment"),
      Invalid("a draft of edit 0",
              absl::StrCat("drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' ", answer, " }"),
              "FIELD_OUT_OF_LIMITS", "edit"),
      Entry("a draft of an assignment that is not there",
            absl::StrCat("drafts { assignment: 'made-up' item_key: 'k0' edit: 1 ", answer, " }"),
            StatusCode::NOT_FOUND, "ASSIGNMENT_NOT_FOUND", ""),
      Entry("a draft of an item of another assignment",
            absl::StrCat("drafts { assignment: '$ASSIGNMENT' item_key: '$OTHER_ITEM' edit: 1 ",
                         answer, " }"),
            StatusCode::NOT_FOUND, "ITEM_NOT_IN_ASSIGNMENT", ""),
      Entry("a draft of an item that is not there",
            absl::StrCat("drafts { assignment: '$ASSIGNMENT' item_key: 'none' edit: 1 ", answer,
                         " }"),
            StatusCode::NOT_FOUND, "ITEM_NOT_IN_ASSIGNMENT", "item_key"),
      Invalid("a draft of a choice that there is not",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer { fields { "
              "choice: 'perhaps' } } }",
              "ANSWER_DOES_NOT_FIT", ""),
      Invalid("a draft of another type",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer { fields { "
              "number: 1 } } }",
              "ANSWER_DOES_NOT_FIT", "answer.fields[0].choice"),
      Invalid("a draft of another field",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer { fields { "
              "field: 'other' choice: 'yes' } } }",
              "ANSWER_DOES_NOT_FIT", "answer.fields[0].field"),
      Invalid("an answer of nothing",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer {} }",
              "FIELD_REQUIRED", "answer.fields"),
      Invalid("a number that is none",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer { fields { "
              "number: nan } } }",
              "FIELD_OUT_OF_LIMITS", "answer.fields[0].number"),
      Invalid("probabilities that do not add up",
              "drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 1 answer { fields { "
              "choice: 'yes' probabilities: [0.5, 0.4] } } }",
              "FIELD_OUT_OF_LIMITS", "answer.fields[0].probabilities"),

      Invalid("a submit of an answer without its item",
              absl::StrCat("submits { assignment: '$ASSIGNMENT' answers { ", answer, " } }"),
              "FIELD_REQUIRED", "answers[0].item_key"),
      Invalid("a submit of an item without its answer",
              "submits { assignment: '$ASSIGNMENT' answers { item_key: '$ITEM' } }",
              "FIELD_REQUIRED", "answers[0].answer"),
      Invalid("an item answered twice",
              absl::StrCat("submits { assignment: '$ASSIGNMENT' answers { item_key: '$ITEM' ",
                           answer, " } answers { item_key: '$ITEM' ", answer, " } }"),
              "VALUE_DUPLICATED", "answers[1].item_key"),
      Invalid("a submit of a choice that there is not",
              "submits { assignment: '$ASSIGNMENT' answers { item_key: '$ITEM' answer { fields { "
              "choice: 'perhaps' } } } }",
              "ANSWER_DOES_NOT_FIT", "answers[0].answer"),
      Entry("a submit of an assignment that is not there", "submits { assignment: 'made-up' }",
            StatusCode::NOT_FOUND, "ASSIGNMENT_NOT_FOUND", ""),
      Entry("a submit with an item of another assignment",
            absl::StrCat("submits { assignment: '$ASSIGNMENT' answers { item_key: '$OTHER_ITEM' ",
                         answer, " } }"),
            StatusCode::NOT_FOUND, "ITEM_NOT_IN_ASSIGNMENT", ""),
      Invalid("time at work below nothing",
              "submits { assignment: '$ASSIGNMENT' active_duration { seconds: -5 } }",
              "FIELD_OUT_OF_LIMITS", "active_duration"),

      Entry("a return of an assignment that is not there", "returns { assignment: 'made-up' }",
            StatusCode::NOT_FOUND, "ASSIGNMENT_NOT_FOUND", ""),
      Invalid("a return for no reason there is", "returns { assignment: '$ASSIGNMENT' reason: 99 }",
              "FIELD_OUT_OF_LIMITS", "reason"),
      Invalid("a return of an item twice",
              "returns { assignment: '$ASSIGNMENT' item_keys: '$ITEM' item_keys: '$ITEM' }",
              "VALUE_DUPLICATED", "item_keys[1]"),
      Invalid("a return of some items with all drafts",
              "returns { assignment: '$ASSIGNMENT' item_keys: '$ITEM' drafts_too: true }",
              "FIELDS_CONFLICT", "drafts_too"),
      Entry("a return of an item that is not there",
            "returns { assignment: '$ASSIGNMENT' item_keys: 'none' }", StatusCode::NOT_FOUND,
            "ITEM_NOT_IN_ASSIGNMENT", ""),

      Invalid("an extension to nowhen", "extends { assignment: '$ASSIGNMENT' }", "FIELD_REQUIRED",
              "expire_time"),
      Invalid("an extension to a time that is none",
              "extends { assignment: '$ASSIGNMENT' expire_time { seconds: 999999999999 } }",
              "FIELD_MALFORMED", "expire_time"),
      Entry("an extension of an assignment that is not there",
            "extends { assignment: 'made-up' expire_time { seconds: 33000000000 } }",
            StatusCode::NOT_FOUND, "ASSIGNMENT_NOT_FOUND", ""),

      std::move(other_platform_draft),
      std::move(other_platform_submit),
      std::move(other_platform_return),
      std::move(other_platform_extend),
  };
}

}  // namespace tessera::testing
