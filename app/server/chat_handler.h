// POST /v1/chat/completions: from the request's bytes to the last event of its answer.
#pragma once

#include <atomic>
#include <string>

#include "app/server/chat_backend.h"
#include "app/server/chat_request.h"
#include "app/server/http_server.h"
#include "app/server/metrics.h"
#include "app/server/slot_queue.h"

namespace vl2::server {

/// The answer to a request that failed.
HttpResponse refuse(const ApiError& error);
/// What a failure of the model is for a client.
ApiError api_error(const BackendError& error);

/// Any thread, many requests at a time. What it is made with outlives it.
///
/// Answers  OpenAI's chat.completion, or its chunks as server-sent events. Beside OpenAI's members: "vl2": {"boxes", "tagged_text"}.
///          Each box is {"label", "box": 0..999, "pixels", "picture", and with logprobs "probability"}; in a stream each chunk that
///          has "boxes" has all of them so far. A seed makes an answer that depends on nothing said before on this server
class ChatHandler {
 public:
  ChatHandler(ChatBackend& backend, SlotQueue& queue, Metrics& metrics, const RequestLimits& limits)
      : backend_(backend), queue_(queue), metrics_(metrics), limits_(limits) {}

  HttpResponse handle(const HttpRequest& http);
  /// Ends the answers that are being given, after a token at most.
  void cancel_all() { cancelled_ = true; }

 private:
  class Answer;
  ApiError queue_full() const;
  HttpResponse whole_answer(Answer& answer);
  static bool stream_answer(Answer& answer, const HttpSend& send);

  ChatBackend& backend_;
  SlotQueue& queue_;
  Metrics& metrics_;
  const RequestLimits limits_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace vl2::server
