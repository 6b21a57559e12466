// At stake: when a coordinator ends, no stream is forgotten and none is ended twice.
#include <gtest/gtest.h>

#include "coordinator/service/service_context.h"

namespace tessera::service {
namespace {

class FakeStream final : public OpenStreams::Stream {
 public:
  FakeStream(OpenStreams* streams, bool drains) : streams_(streams), drains_(drains) {
    streams_->Add(this);
  }
  void End(absl::Status status) override {
    ++ends_;
    status_ = std::move(status);
    streams_->Remove(this);
  }
  bool drains() const override { return drains_; }

  int ends() const { return ends_; }
  const absl::Status& status() const { return status_; }

 private:
  OpenStreams* const streams_;
  const bool drains_;
  int ends_ = 0;
  absl::Status status_;
};

TEST(OpenStreamsTest, ThoseThatLeaveByThemselvesGetTheTimeTo) {
  OpenStreams streams;
  FakeStream gateway(&streams, true);
  FakeStream watcher(&streams, false);
  streams.EndThoseThatDoNotDrain(absl::UnavailableError("ending"));
  EXPECT_EQ(watcher.ends(), 1);
  EXPECT_EQ(gateway.ends(), 0);
  EXPECT_EQ(streams.size(), 1u);
  streams.EndAll(absl::UnavailableError("ending"));
  EXPECT_EQ(gateway.ends(), 1);
  EXPECT_EQ(watcher.ends(), 1);
  EXPECT_EQ(gateway.status(), absl::UnavailableError("ending"));
}

TEST(OpenStreamsTest, AStreamThatComesTooLateIsEndedAtOnce) {
  OpenStreams streams;
  streams.EndThoseThatDoNotDrain(absl::UnavailableError("ending"));
  FakeStream watcher(&streams, false);
  FakeStream gateway(&streams, true);
  EXPECT_EQ(watcher.ends(), 1);
  EXPECT_EQ(gateway.ends(), 0);
  streams.EndAll(absl::UnavailableError("ending"));
  FakeStream late(&streams, true);
  EXPECT_EQ(gateway.ends(), 1);
  EXPECT_EQ(late.ends(), 1);
}

}  // namespace
}  // namespace tessera::service
