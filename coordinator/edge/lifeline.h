// Lets a callback outlive the object that it would call.
//
//   store->Append(id, bytes, lifeline_.Guard([this](absl::Status s) { OnAppended(s); }));
//
// A guarded callback does nothing once its Lifeline is gone. Make the Lifeline the last member, so
// that it is the first to go.
#pragma once

#include <memory>
#include <utility>

namespace tessera::edge {

class Lifeline {
 public:
  Lifeline() = default;
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  template <typename F>
  auto Guard(F callback) const {
    return [alive = std::weak_ptr<Token>(token_),
            callback = std::move(callback)]<typename... Args>(Args&&... args) mutable {
      if (!alive.expired()) callback(std::forward<Args>(args)...);
    };
  }

 private:
  struct Token {};
  std::shared_ptr<Token> token_ = std::make_shared<Token>();
};

}  // namespace tessera::edge
