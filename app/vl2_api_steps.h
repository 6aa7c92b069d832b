// Sessions that want their next tokens at the same time get them in one step.
//
// No thread of its own: the first caller to come leads. It waits a moment for those of the last step, who come back as soon as they
// have handed out their tokens, takes the device's turn, decodes for all who are there, and wakes them. A caller who is alone
// waits for nobody.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "app/turn_lock.h"
#include "model/batch_decode.h"

namespace vl2::api {

/// Any thread. Engine and turn outlive it, the sessions need not.
class StepScheduler {
 public:
  StepScheduler(Engine& engine, TurnLock& turn) : engine_(engine), turn_(turn), most_rows_(BatchDecode::most_rows(engine)) {}

  /// The next tokens of a session, at least one and at most `count`; the device's turn is taken here, and must not be held.
  ///
  /// Errors  those of Session::decode() and BatchDecode::decode()
  Result<std::vector<uint32_t>> decode(Session& session, uint32_t count, const SampleOptions& options);

  /// Nobody need wait for this session: its answer is over.
  void leaves(const Session& session);

  /// Steps so far, and tokens' worth of sessions in them.
  struct Counts {
    uint64_t steps = 0, sessions = 0;
  };
  Counts counts() const;

 private:
  struct Request {
    BatchRow row;
    uint32_t count;
    bool done = false;
    Result<std::vector<uint32_t>> ids = std::vector<uint32_t>();
  };

  void lead(std::unique_lock<std::mutex>& guard);
  void run(const std::vector<Request*>& requests);

  Engine& engine_;
  TurnLock& turn_;
  const uint32_t most_rows_;  // of a step: with more waiting, or with experts in few slots, sets of sessions take turns
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request*> waiting_;       // longest first
  std::set<const Session*> expected_;  // of the last step, not back yet
  bool leading_ = false;
  double last_step_ms_ = 0;
  Counts counts_;
  std::unique_ptr<BatchDecode> batch_;  // of whoever holds turn_
  bool batch_failed_ = false;
};

}  // namespace vl2::api
