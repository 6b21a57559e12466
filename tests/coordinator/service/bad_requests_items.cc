// Items, in batches.
#include "absl/strings/str_cat.h"
#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using grpc::StatusCode;

BadRequest Row(const char* name, const std::vector<std::string>& batches, StatusCode code,
               const char* reason, const char* field) {
  BadRequest row = {.name = name,
                    .token = kAcme,
                    .method = "JobService/AddItems",
                    .messages = {},
                    .code = code,
                    .reason = reason,
                    .field = field};
  for (const std::string& batch : batches) row.messages.push_back({batch});
  return row;
}

// A batch of one item at the end of $MAIN.
BadRequest Item(const char* name, absl::string_view item, const char* reason, const char* field) {
  return Row(name, {absl::StrCat("job: '$MAIN' offset: 10 items { ", item, " }")},
             StatusCode::INVALID_ARGUMENT, reason, field);
}

}  // namespace

std::vector<BadRequest> BadItemRequests() {
  const std::string good = "items { key: 'new' content { name: 'text' text: 'of it' } }";
  const std::string content = "content { name: 'text' text: 'of it' }";
  std::string many;
  for (int i = 0; i < 10'001; ++i) absl::StrAppend(&many, "items { key: 'i", i, "' } ");
  return {
      Row("no batch", {}, StatusCode::INVALID_ARGUMENT, "FIELD_REQUIRED", "job"),
      Row("a batch without a job", {absl::StrCat("offset: 0 ", good)}, StatusCode::INVALID_ARGUMENT,
          "FIELD_REQUIRED", "job"),
      Row("a batch without items", {"job: '$MAIN' offset: 10"}, StatusCode::INVALID_ARGUMENT,
          "FIELD_REQUIRED", "items"),
      Row("too many items", {absl::StrCat("job: '$MAIN' offset: 10 ", many)},
          StatusCode::INVALID_ARGUMENT, "FIELD_OUT_OF_LIMITS", "items"),
      Row("an offset below nothing", {absl::StrCat("job: '$MAIN' offset: -1 ", good)},
          StatusCode::INVALID_ARGUMENT, "FIELD_OUT_OF_LIMITS", "offset"),
      Row("an offset with a gap", {absl::StrCat("job: '$MAIN' offset: 11 ", good)},
          StatusCode::OUT_OF_RANGE, "OFFSET_MISMATCH", ""),
      Row("a batch across the committed offset",
          {absl::StrCat("job: '$MAIN' offset: 9 items { key: 'k9' ", content, " } ", good)},
          StatusCode::OUT_OF_RANGE, "OFFSET_MISMATCH", ""),
      Row("a job that is not there",
          {absl::StrCat("job: 'tenants/acme/jobs/p0-none' offset: 0 ", good)},
          StatusCode::NOT_FOUND, "JOB_NOT_FOUND", ""),
      Row("a job that is sealed", {absl::StrCat("job: '$SEALED' offset: 1 ", good)},
          StatusCode::FAILED_PRECONDITION, "JOB_SEALED", ""),
      Row("a job that has ended", {absl::StrCat("job: '$ENDED' offset: 0 ", good)},
          StatusCode::FAILED_PRECONDITION, "JOB_ENDED", ""),
      Row("a second batch of another job",
          {absl::StrCat("job: '$MAIN' offset: 0 items { key: 'k0' ", content, " }"),
           absl::StrCat("job: '$SEALED' offset: 1 ", good)},
          StatusCode::INVALID_ARGUMENT, "FIELDS_CONFLICT", "job"),
      Row("a key with another content",
          {"job: '$MAIN' offset: 10 items { key: 'k0' content { name: 'text' text: 'other' } }"},
          StatusCode::ALREADY_EXISTS, "ITEM_DIFFERS", ""),
      Row("a key twice in a batch, with two contents",
          {absl::StrCat("job: '$MAIN' offset: 10 ", good,
                        " items { key: 'new' content { name: 'text' text: 'other' } }")},
          StatusCode::ALREADY_EXISTS, "ITEM_DIFFERS", ""),
      Row("an item in a language that not every worker of the job has",
          {"job: '$MAIN' offset: 10 items { key: 'new' language: 'fr' content { name: 'text' text: "
           "'oui' } }"},
          StatusCode::UNIMPLEMENTED, "NOT_SERVED", "items[0].language"),
      Item("no key", content, "FIELD_REQUIRED", "items[0].key"),
      Item("a key with a line break", absl::StrCat("key: 'a\\nb' ", content), "FIELD_MALFORMED",
           "items[0].key"),
      Item("a key that is too long", absl::StrCat("key: '", std::string(257, 'k'), "' ", content),
           "FIELD_OUT_OF_LIMITS", "items[0].key"),
      Item("no content", "key: 'new'", "FIELD_REQUIRED", "items[0].content"),
      Item("a part without content", "key: 'new' content { name: 'text' }", "FIELD_REQUIRED",
           "items[0].content[0].content"),
      Item("a part without a name", "key: 'new' content { text: 't' }", "FIELD_REQUIRED",
           "items[0].content[0].name"),
      Item("a part twice", absl::StrCat("key: 'new' ", content, content), "VALUE_DUPLICATED",
           "items[0].content[1].name"),
      Item("a medium that is not fetched safely",
           "key: 'new' content { name: 'i' link { uri: 'http://x/y' media_type: 'image/png' } }",
           "FIELD_MALFORMED", "items[0].content[0].link.uri"),
      Item("a medium without a type",
           "key: 'new' content { name: 'i' link { uri: 'https://x/y' } }", "FIELD_REQUIRED",
           "items[0].content[0].link.media_type"),
      Item("an item that is too large",
           absl::StrCat("key: 'new' content { name: 'text' text: '", std::string(66'000, 'x'),
                        "' }"),
           "FIELD_OUT_OF_LIMITS", "items[0]"),
      Item("a length that is no number", absl::StrCat("key: 'new' length: nan ", content),
           "FIELD_OUT_OF_LIMITS", "items[0].length"),
      Item("an importance next to nothing", absl::StrCat("key: 'new' importance: 0.0001 ", content),
           "FIELD_OUT_OF_LIMITS", "items[0].importance"),
      Item("a stratum that is no id", absl::StrCat("key: 'new' stratum: 'Hard ones' ", content),
           "FIELD_MALFORMED", "items[0].stratum"),
      Item("a language that is none", absl::StrCat("key: 'new' language: '-' ", content),
           "FIELD_MALFORMED", "items[0].language"),
      Item("a note without a key",
           absl::StrCat("key: 'new' metadata { key: '' value: 'v' } ", content), "FIELD_REQUIRED",
           "items[0].metadata[\"\"]"),
      Item("a gold answer without a value",
           absl::StrCat("key: 'new' gold { fields { field: 'follows' } } ", content),
           "FIELD_REQUIRED", "items[0].gold.fields[0].value"),
  };
}

}  // namespace tessera::testing
