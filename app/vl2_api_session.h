// What the files about sessions share: the handle, and how a call works on it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "app/vl2_api_internal.h"

namespace vl2::api {

// What the pointers of the last answer point at; made when first asked for, gone with the next call.
struct Shown {
  Reply reply;
  Grounding grounding;
  std::vector<size_t> token_ends;  // [answer tokens], where each ends in tagged_text
};

}  // namespace vl2::api

struct vl2_session {
  std::shared_ptr<vl2::api::ModelState> model;
  std::unique_ptr<vl2::Conversation> conversation;
  std::vector<vl2::OwnedPicture> pictures;  // of the message being written
  vl2_piece_fn on_piece = nullptr;          // of the reply under way
  void* piece_user = nullptr;
  vl2::Piece piece;
  std::vector<vl2_alternative> alternatives;
  mutable std::unique_ptr<vl2::api::Shown> shown;
  mutable std::string error;
  std::atomic<bool> in_use{false};  // by a call that may run callbacks
};

namespace vl2::api {

// What work(session) says, an exception included; a failure becomes the session's last error.
template <typename Session, typename Work>
Outcome outcome_kept(Session& session, const Work& work) {
  Outcome outcome;
  try {
    outcome = work(session);
  } catch (...) {
    outcome = outcome_of_exception();
  }
  if (outcome.status < 0)
    session.error = outcome.message;
  return outcome;
}

// Runs `work` on a session; the last error of the handle is set by what goes wrong. What was shown before is gone.
template <typename Work>
vl2_status with_session(vl2_session* session, const char* where, const Work& work) {
  return guarded([&]() -> Outcome {
    if (session == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, where, ": session is NULL");
    if (session->in_use.exchange(true))
      return refuse(VL2_ERROR_STATE, where, ": another call on this session is under way");
    struct Release {
      std::atomic<bool>& flag;
      ~Release() { flag = false; }
    } const release{session->in_use};
    session->shown.reset();
    return outcome_kept(*session, work);
  });
}

// The same for calls that only look.
template <typename Work>
vl2_status with_const_session(const vl2_session* session, const char* where, const Work& work) {
  return guarded([&]() -> Outcome {
    if (session == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, where, ": session is NULL");
    return outcome_kept(*session, work);
  });
}

inline Outcome check_not_answering(const vl2_session& session, const char* where) {
  if (session.conversation->answering())
    return refuse(VL2_ERROR_STATE, where, ": an answer is being given; vl2_session_end() ends it");
  return {};
}

}  // namespace vl2::api
