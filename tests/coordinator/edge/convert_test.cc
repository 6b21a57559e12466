// What a requester leaves out is filled in as the contract says; what is not served is refused.
#include "coordinator/edge/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/errors.h"
#include "coordinator/core/items.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;

core::JobPolicy From(const v1::Policy& policy) {
  return PolicyFromProto(policy, 77, "policy").value();
}

TEST(PolicyTest, WhatIsLeftOutHasTheDefaultsOfTheContract) {
  v1::Policy policy;
  policy.set_budget_micros(5'000'000);
  policy.set_currency_code("EUR");
  const core::JobPolicy out = From(policy);
  EXPECT_EQ(out.priority, 1);
  EXPECT_EQ(out.budget_micros, 5'000'000);
  EXPECT_EQ(out.deadline, absl::InfiniteFuture());
  EXPECT_EQ(out.start_time, absl::InfinitePast());
  EXPECT_EQ(out.quality.target_confidence, 0.95);
  EXPECT_EQ(out.quality.answers_min, 2);
  EXPECT_EQ(out.quality.answers_max, 10);
  EXPECT_EQ(out.split.strategy, core::SplitStrategy::kUniform);
  EXPECT_EQ(out.split.items_min, 1);
  EXPECT_EQ(out.split.items_max, 10);
  EXPECT_EQ(out.split.cost.startup_seconds, 5);
  EXPECT_EQ(out.split.cost.seconds_per_unit, 10);
  EXPECT_EQ(out.split.cost.fatigue_seconds, 0.05);
  EXPECT_EQ(out.lease.base, absl::Minutes(2));
  EXPECT_EQ(out.lease.per_item, absl::Minutes(1));
  EXPECT_EQ(out.lease.late_grace, absl::Minutes(10));
  EXPECT_EQ(out.lease.extension_max, absl::Minutes(30));
  EXPECT_THAT(out.pools, ElementsAre("default"));
  EXPECT_EQ(out.finalise, core::FinaliseMode::kAutomatic);
  EXPECT_TRUE(out.approve_on_acceptance);
}

TEST(PolicyTest, DefaultsLeaveRoomForWhatIsGiven) {
  v1::Policy policy;
  policy.mutable_quality()->set_answers_max(1);
  EXPECT_EQ(From(policy).quality.answers_min, 1);
  policy.mutable_quality()->set_answers_max(0);
  policy.mutable_quality()->set_answers_min(12);
  EXPECT_EQ(From(policy).quality.answers_max, 12);
  policy.mutable_split()->set_items_min(40);
  EXPECT_EQ(From(policy).split.items_max, 40);
  policy.mutable_split()->set_startup_seconds(0);
  EXPECT_EQ(From(policy).split.cost.startup_seconds, 0);
  policy.mutable_lease()->mutable_late_grace();
  EXPECT_EQ(From(policy).lease.late_grace, absl::ZeroDuration());
}

TEST(PolicyTest, ARandomOrderWithoutASeedGetsOne) {
  v1::Policy policy;
  EXPECT_EQ(From(policy).split.seed, 0);
  policy.mutable_split()->set_random_order(true);
  EXPECT_EQ(From(policy).split.seed, 77);
  policy.mutable_split()->set_seed(5);
  EXPECT_EQ(From(policy).split.seed, 5);
}

TEST(PolicyTest, APriceOfNothingIsNotThePoolsPrice) {
  v1::Policy policy;
  policy.mutable_eligibility()->add_pools("pools/a");
  policy.mutable_eligibility()->add_pools("pools/b");
  v1::PoolPrice& own = *policy.mutable_price()->add_pool_prices();
  own.set_pool("pools/b");
  own.set_price_per_item_micros(3);
  EXPECT_EQ(From(policy).pool_prices.size(), 1);
  policy.mutable_price()->set_price_per_item_micros(0);
  const core::JobPolicy out = From(policy);
  ASSERT_EQ(out.pool_prices.size(), 2);
  EXPECT_EQ(out.pool_prices[1].pool, "a");
  EXPECT_EQ(out.pool_prices[1].price_micros, 0);
}

TEST(PolicyTest, WhatIsInForceReadsBackAsItself) {
  v1::Policy policy;
  policy.set_budget_micros(1);
  policy.mutable_split()->set_random_order(true);
  policy.mutable_deadline()->set_seconds(2'000'000'000);
  const core::JobPolicy first = From(policy);
  SetInForce(first, &policy);
  EXPECT_EQ(core::Encode(From(policy)), core::Encode(first));
  EXPECT_EQ(policy.value_micros(), 1'000'000);
  EXPECT_EQ(policy.quality().answers_max(), 10);
  EXPECT_EQ(policy.split().seed(), 77);
  EXPECT_THAT(policy.eligibility().pools(), ElementsAre("pools/default"));
}

TEST(PolicyTest, WhatIsNotServedIsRefusedByName) {
  const auto refused = [](void (*set)(v1::Policy&)) {
    v1::Policy policy;
    set(policy);
    return PolicyFromProto(policy, 1, "job.policy").status();
  };
  const absl::Status gold = refused([](v1::Policy& p) { p.mutable_gold()->set_rate(0.1); });
  EXPECT_THAT(gold, StatusIs(StatusCode::kUnimplemented));
  EXPECT_THAT(gold, HasReason("NOT_SERVED"));
  EXPECT_EQ(GetDetails(gold).fields.at(0).field, "job.policy.gold.rate");
  EXPECT_THAT(refused([](v1::Policy& p) { p.mutable_split()->mutable_segments(); }),
              HasReason("SEGMENTS_NOT_SERVED"));
  EXPECT_THAT(refused([](v1::Policy& p) { p.mutable_retention(); }), HasReason("NOT_SERVED"));
  EXPECT_THAT(refused([](v1::Policy& p) { p.mutable_eligibility()->add_qualifications(); }),
              HasReason("NOT_SERVED"));
}

TEST(PolicyTest, APriceThatCannotBeKeptAsItIsIsRefused) {
  const auto from = [](int64_t price, bool of_pool) {
    v1::Policy policy;
    v1::Pool pool;
    pool.set_price_per_item_micros(price);
    v1::PoolPrice& own = *policy.mutable_price()->add_pool_prices();
    own.set_pool("pools/default");
    own.set_price_per_item_micros(price);
    return of_pool ? PoolFromProto("default", pool).status()
                   : PolicyFromProto(policy, 1, "job.policy").status();
  };
  for (const bool of_pool : {false, true}) {
    const absl::Status broken = from(2'147'483'648, of_pool);
    EXPECT_THAT(broken, StatusIs(StatusCode::kInvalidArgument));
    EXPECT_THAT(broken, HasReason("FIELD_OUT_OF_LIMITS"));
    const ErrorDetails details = GetDetails(broken);
    ASSERT_THAT(details.fields, ::testing::SizeIs(1));
    EXPECT_EQ(details.fields[0].field,
              of_pool ? "pool.price_per_item_micros"
                      : "job.policy.price.pool_prices[0].price_per_item_micros");
    EXPECT_THAT(details.fields[0].description, ::testing::HasSubstr("whole number of thousands"));
    EXPECT_THAT(from(core::kPriceMaxMicros + 1000, of_pool), HasReason("FIELD_OUT_OF_LIMITS"));
    EXPECT_THAT(from(4'295'000'000, of_pool), IsOk());
    EXPECT_THAT(from(core::kPriceMaxMicros, of_pool), IsOk());
  }
}

TEST(TemplateTest, OnlyOneChoiceThatMustBeMadeIsServed) {
  v1::TaskTemplate task;
  EXPECT_THAT(ClassesOf(task, "t").status(), HasReason("ANSWER_TYPE_NOT_SERVED"));
  v1::Field& field = *task.add_fields();
  field.mutable_choice()->add_classes()->set_value("yes");
  field.mutable_choice()->add_classes()->set_value("no");
  EXPECT_THAT(ClassesOf(task, "t").value(), ElementsAre("yes", "no"));
  field.set_may_be_empty(true);
  EXPECT_THAT(ClassesOf(task, "t").status(), StatusIs(StatusCode::kUnimplemented));
  field.set_may_be_empty(false);
  task.add_fields()->mutable_text();
  EXPECT_THAT(ClassesOf(task, "t").status(), StatusIs(StatusCode::kUnimplemented));
}

TEST(AnswerTest, AnAnswerFitsItsTemplateOrIsNamed) {
  v1::Answer answer;
  EXPECT_THAT(ChoiceOf(answer, "f", "a").status(), HasReason("ANSWER_DOES_NOT_FIT"));
  answer.add_fields()->set_choice("yes");
  EXPECT_EQ(ChoiceOf(answer, "f", "a").value(), "yes");
  answer.mutable_fields(0)->set_field("f");
  EXPECT_EQ(ChoiceOf(answer, "f", "a").value(), "yes");
  answer.mutable_fields(0)->set_field("g");
  const absl::Status other = ChoiceOf(answer, "f", "answers[2].answer").status();
  EXPECT_EQ(GetDetails(other).fields.at(0).field, "answers[2].answer.fields[0].field");
  answer.mutable_fields(0)->set_field("f");
  answer.mutable_fields(0)->set_number(3);
  EXPECT_THAT(ChoiceOf(answer, "f", "a").status(), StatusIs(StatusCode::kInvalidArgument));
}

TEST(TimeTest, TimesAndDurationsComeBackToTheNanosecond) {
  for (const absl::Time time : {absl::FromUnixNanos(1'700'000'000'123'456'789),
                                absl::FromUnixNanos(-1), absl::UnixEpoch()}) {
    EXPECT_EQ(FromProto(TimeToProto(time)), time);
  }
  for (const absl::Duration duration :
       {absl::Nanoseconds(1), absl::Hours(100) + absl::Nanoseconds(5)}) {
    EXPECT_EQ(FromProto(DurationToProto(duration)), duration);
  }
}

TEST(BytesTest, EqualMessagesGiveEqualBytesWhateverTheOrderOfTheirMaps) {
  v1::Item a;
  v1::Item b;
  for (int i = 0; i < 50; ++i) (*a.mutable_metadata())[absl::StrCat("k", i)] = "v";
  for (int i = 49; i >= 0; --i) (*b.mutable_metadata())[absl::StrCat("k", i)] = "v";
  EXPECT_EQ(SerialiseCanonical(a), SerialiseCanonical(b));
}

TEST(ErrorTest, CodesAreTheContracts) {
  const absl::Status blocked = ToContract(
      Error(StatusCode::kPermissionDenied, "WORKER_BLOCKED", "no").Field("worker", "is blocked"));
  EXPECT_THAT(blocked, StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(blocked, HasReason("WORKER_BLOCKED"));
  EXPECT_EQ(GetDetails(blocked).fields.at(0).field, "worker");
  EXPECT_THAT(ToContract(Error(StatusCode::kFailedPrecondition, "ITEM_NOT_IN_ASSIGNMENT", "")),
              StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(ToContract(Error(StatusCode::kNotFound, "JOB_NOT_FOUND", "")),
              StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(ToContract(absl::OkStatus()), IsOk());
}

}  // namespace
}  // namespace tessera::edge
