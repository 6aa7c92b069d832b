// The C API: answers of sessions, piece by piece, and what is in them.
#include <algorithm>
#include <cmath>

#include "app/reply_numbers.h"
#include "app/vl2_api_session.h"

using namespace vl2;
using namespace vl2::api;

namespace {

// vl2_reply_options as the model has them.
Outcome reply_options(const vl2_reply_options& given, ReplyOptions& options) {
  const auto refuse_option = [](const char* name, auto value, const char* wanted) {
    return refuse(VL2_ERROR_ARGUMENT, "vl2_reply_options: ", name, " ", value, ", wanted ", wanted);
  };
  constexpr uint32_t kFlags =
      VL2_REPLY_TAGS | VL2_REPLY_PROBABILITIES | VL2_REPLY_CONTINUE | VL2_REPLY_LOOP_GUARD | VL2_REPLY_SHARE_BEGINNING;
  if ((given.flags & ~kFlags) != 0)
    return refuse_option("flags", given.flags, "VL2_REPLY_* or-ed");
  if (const std::string problem = refusal_of_reply_numbers(given); !problem.empty())
    return refuse(VL2_ERROR_ARGUMENT, "vl2_reply_options: ", problem);
  options.probabilities = (given.flags & VL2_REPLY_PROBABILITIES) != 0;
  if (given.alternative_count > VL2_MAX_ALTERNATIVES)
    return refuse_option("alternative_count", given.alternative_count, "at most 20");
  if (given.alternative_count > 0 && !options.probabilities)
    return refuse_option("alternative_count", given.alternative_count, "0 without VL2_REPLY_PROBABILITIES");
  options.alternatives = given.alternative_count;
  options.sampling = {.temperature = given.temperature,
                      .top_k = given.top_k,
                      .top_p = given.top_p == 0 ? 1 : given.top_p,
                      .min_p = given.min_p,
                      .repetition_penalty = given.repeat_penalty == 0 ? 1 : given.repeat_penalty,
                      .seed = given.seed};
  options.max_tokens = given.max_tokens == 0 ? UINT32_MAX : given.max_tokens;
  options.keep_special = (given.flags & VL2_REPLY_TAGS) != 0;
  options.go_on = (given.flags & VL2_REPLY_CONTINUE) != 0;
  options.share_beginning = (given.flags & VL2_REPLY_SHARE_BEGINNING) != 0;
  options.loop_guard = (given.flags & VL2_REPLY_LOOP_GUARD) != 0;
  return {};
}

Outcome check_messages(const vl2_session& session, bool go_on) {
  const Conversation& conversation = *session.conversation;
  if (!session.pictures.empty())
    return refuse(VL2_ERROR_STATE, "vl2_session_start: ", session.pictures.size(),
                  " pictures were added and no message after them");
  if (conversation.message_count() == 0)
    return refuse(VL2_ERROR_STATE, "vl2_session_start: there are no messages");
  const bool answered = conversation.last_role() == Role::Assistant;
  if (answered && !go_on)
    return refuse(VL2_ERROR_STATE, "vl2_session_start: the last message is the assistant's, wanted VL2_REPLY_CONTINUE for that");
  if (!answered && go_on)
    return refuse(VL2_ERROR_STATE, "vl2_session_start: VL2_REPLY_CONTINUE, and the last message is not the assistant's");
  return {};
}

Outcome start(vl2_session& session, const vl2_reply_options* given) {
  if (Outcome outcome = check_not_answering(session, "vl2_session_start"); outcome.status != VL2_OK)
    return outcome;
  vl2_reply_options options{};
  if (Outcome outcome = read_options(given, offsetof(vl2_reply_options, schema), "vl2_reply_options", options);
      outcome.status != VL2_OK)
    return outcome;
  ReplyOptions wanted;
  if (Outcome outcome = reply_options(options, wanted); outcome.status != VL2_OK)
    return outcome;
  if (Outcome outcome = check_messages(session, wanted.go_on); outcome.status != VL2_OK)
    return outcome;
  if (options.schema != nullptr) {
    std::string_view schema;
    if (Outcome outcome = read_text(options.schema, options.schema_bytes, "vl2_reply_options: schema", schema);
        outcome.status != VL2_OK)
      return outcome;
    VL2_ASSIGN(wanted.schema, answer_schema(*session.model, schema));
  }

  session.conversation->forget_stop();  // before the wait for a turn: a stop that comes while waiting counts
  std::unique_lock turn(session.model->turn);
  const ReadProgress progress = [&](ReadPhase phase, uint32_t done, uint32_t total) -> Status {
    turn.unlock();  // others get theirs, and a callback may take as long as it likes
    const vl2_phase which = phase == ReadPhase::Pictures ? VL2_PHASE_ENCODE : VL2_PHASE_READ;
    const bool cancelled = options.progress != nullptr && options.progress(options.progress_user, which, done, total) != 0;
    turn.lock();
    return cancelled ? fail(Code::Cancelled, "vl2_session_start: cancelled by the progress callback") : Status{};
  };
  VL2_TRY(session.conversation->start(wanted, progress));
  session.on_piece = options.piece;
  session.piece_user = options.piece_user;
  return {};
}

// The next piece into session.piece and `piece`.
Outcome next(vl2_session& session, vl2_piece& piece) {
  std::unique_lock turn(session.model->turn, std::defer_lock);
  const bool elsewhere = session.conversation->decodes_elsewhere();  // takes the turn itself, with others who are there
  if (!elsewhere && session.conversation->next_needs_device())
    turn.lock();
  auto next_piece = session.conversation->next();
  if (elsewhere && !session.conversation->answering())
    session.model->steps->leaves(session.conversation->session());
  VL2_ASSIGN(std::optional<Piece> made, std::move(next_piece));
  if (turn.owns_lock())
    turn.unlock();
  if (!made)
    return {VL2_END, ""};
  session.piece = std::move(*made);
  const Piece& given = session.piece;
  session.alternatives.clear();
  for (const TokenProbability& token : given.alternatives)
    session.alternatives.push_back({token.id, token.logprob});
  piece = {};
  piece.struct_size = sizeof(vl2_piece);
  piece.has_token = given.has_token;
  piece.text = given.text.c_str();
  piece.text_bytes = given.text.size();
  piece.token_index = given.has_token ? given.index : UINT32_MAX;
  piece.token_id = given.has_token ? given.id : UINT32_MAX;
  piece.logprob = given.logprob;
  piece.alternative_count = static_cast<uint32_t>(session.alternatives.size());
  piece.alternatives = session.alternatives.empty() ? nullptr : session.alternatives.data();
  return {};
}

Outcome reply(vl2_session& session, const vl2_reply_options* options) {
  if (Outcome outcome = start(session, options); outcome.status != VL2_OK)
    return outcome;
  for (;;) {
    vl2_piece piece{};
    const Outcome outcome = next(session, piece);
    if (outcome.status != VL2_OK)
      return outcome.status == VL2_END ? Outcome() : outcome;
    if (session.on_piece != nullptr && session.on_piece(session.piece_user, &piece) != 0)
      session.conversation->end();  // what is left of a broken character still comes
  }
}

const Shown& shown(const vl2_session& session) {
  if (session.shown == nullptr) {
    auto made = std::make_unique<Shown>();
    made->reply = session.conversation->reply();
    const auto& picture = made->reply.picture;
    // JSON is shown as it is: what looks like a tag in it is letters.
    if (made->reply.of_schema)
      made->grounding.text = made->reply.text;
    else
      made->grounding = parse_grounding(made->reply.tagged_text, picture ? picture->width : 1, picture ? picture->height : 1);
    StreamDecoder stream(*session.model->tokenizer, true);
    size_t bytes = 0;
    for (const TokenId id : made->reply.ids)
      made->token_ends.push_back(bytes += stream.push(id).size());
    session.shown = std::move(made);
  }
  return *session.shown;
}

// The answer's details, or nullptr where there are none.
const Shown* shown_if_any(const vl2_session* session) noexcept {
  try {
    return session != nullptr && session->conversation->has_reply() ? &shown(*session) : nullptr;
  } catch (...) {
    return nullptr;
  }
}

vl2_stop_reason stop_reason(const std::optional<StopReason>& reason) {
  if (!reason)
    return VL2_STOP_NONE;
  switch (*reason) {
    case StopReason::EndOfSequence: return VL2_STOP_END;
    case StopReason::MaxTokens: return VL2_STOP_MAX_TOKENS;
    case StopReason::ContextFull: return VL2_STOP_CONTEXT_FULL;
    case StopReason::Stopped: return VL2_STOP_STOPPED;
    case StopReason::Loop: return VL2_STOP_LOOP;
  }
  return VL2_STOP_NONE;
}

vl2_box box_of(const Shown& all, const GroundedBox& from) {
  vl2_box box{};
  box.left = from.pixels[0];
  box.top = from.pixels[1];
  box.right = from.pixels[2];
  box.bottom = from.pixels[3];
  std::copy(from.box.begin(), from.box.end(), box.thousandths);
  box.picture = all.reply.picture_count - 1;  // UINT32_MAX without any
  const auto& ends = all.token_ends;
  const auto first = std::upper_bound(ends.begin(), ends.end(), from.first_byte);
  auto last = std::lower_bound(first, ends.end(), from.end_byte);
  if (last != ends.end())
    ++last;
  box.first_token = static_cast<uint32_t>(first - ends.begin());
  box.token_count = static_cast<uint32_t>(last - first);
  box.probability = -1;
  if (!all.reply.logprobs.empty()) {
    double sum = 0;
    for (uint32_t i = 0; i < box.token_count; ++i)
      sum += static_cast<double>(all.reply.logprobs[box.first_token + i]);
    box.probability = static_cast<float>(std::exp(sum));
  }
  box.label = from.label.c_str();
  return box;
}

}  // namespace

// ---- Answers -----------------------------------------------------------------------------------------------------------------

vl2_status vl2_session_start(vl2_session* session, const vl2_reply_options* options) {
  return with_session(session, "vl2_session_start", [&](vl2_session& s) { return start(s, options); });
}

vl2_status vl2_session_next(vl2_session* session, vl2_piece* piece) {
  return with_session(session, "vl2_session_next", [&](vl2_session& s) -> Outcome {
    if (!s.conversation->has_reply())
      return refuse(VL2_ERROR_STATE, "vl2_session_next: no answer was started");
    if (Outcome outcome = check_struct(piece, sizeof(vl2_piece), "vl2_piece"); outcome.status != VL2_OK)
      return outcome;
    vl2_piece value{};
    if (Outcome outcome = next(s, value); outcome.status != VL2_OK)
      return outcome;
    return fill_struct(piece, sizeof(vl2_piece), "vl2_piece", value);
  });
}

vl2_status vl2_session_end(vl2_session* session) {
  return with_session(session, "vl2_session_end", [&](vl2_session& s) -> Outcome {
    s.conversation->end();
    s.model->steps->leaves(s.conversation->session());
    return {};
  });
}

vl2_status vl2_session_reply(vl2_session* session, const vl2_reply_options* options) {
  return with_session(session, "vl2_session_reply", [&](vl2_session& s) { return reply(s, options); });
}

void vl2_session_stop(vl2_session* session) {
  if (session != nullptr)
    session->conversation->request_stop();
}

vl2_status vl2_session_get_reply(const vl2_session* session, vl2_reply* target) {
  return with_const_session(session, "vl2_session_get_reply", [&](const vl2_session& s) -> Outcome {
    if (!s.conversation->has_reply())
      return refuse(VL2_ERROR_STATE, "vl2_session_get_reply: no answer was started");
    const Shown& all = shown(s);
    const Reply& from = all.reply;
    vl2_reply value{};
    value.stop_reason = stop_reason(from.stop);
    value.text = from.text.c_str();
    value.text_bytes = from.text.size();
    value.tagged_text = from.tagged_text.c_str();
    value.tagged_text_bytes = from.tagged_text.size();
    value.plain_text = all.grounding.text.c_str();
    value.plain_text_bytes = all.grounding.text.size();
    value.token_ids = from.ids.data();
    value.logprobs = from.logprobs.empty() ? nullptr : from.logprobs.data();
    value.answer_tokens = static_cast<uint32_t>(from.ids.size());
    value.prompt_tokens = from.prompt_tokens;
    value.cached_tokens = from.cached_tokens;
    value.picture_tokens = from.picture_tokens;
    value.resize_ms = from.times.pictures.resize_ms;
    value.encode_ms = from.times.pictures.encode_ms;
    value.prefill_ms = from.times.prefill_ms;
    value.decode_ms = from.times.decode_ms;
    value.encoded_views = from.encoded_views;
    value.kept_pictures = from.kept_pictures;
    return fill_struct(target, offsetof(vl2_reply, encoded_views), "vl2_reply", value);
  });
}

// ---- Boxes -------------------------------------------------------------------------------------------------------------------

uint32_t vl2_session_box_count(vl2_session* session) {
  const Shown* const all = shown_if_any(session);
  return all == nullptr ? 0 : static_cast<uint32_t>(all->grounding.boxes.size());
}

vl2_status vl2_session_get_box(vl2_session* session, uint32_t index, vl2_box* box) {
  return with_const_session(session, "vl2_session_get_box", [&](const vl2_session& s) -> Outcome {
    if (!s.conversation->has_reply())
      return refuse(VL2_ERROR_STATE, "vl2_session_get_box: no answer was started");
    const Shown& all = shown(s);
    if (index >= all.grounding.boxes.size())
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_get_box: got index ", index, ", there are ", all.grounding.boxes.size(),
                    " boxes");
    return fill_struct(box, sizeof(vl2_box), "vl2_box", box_of(all, all.grounding.boxes[index]));
  });
}

uint32_t vl2_session_problem_count(vl2_session* session) {
  const Shown* const all = shown_if_any(session);
  return all == nullptr ? 0 : static_cast<uint32_t>(all->grounding.problems.size());
}

const char* vl2_session_problem(vl2_session* session, uint32_t index) {
  const Shown* const all = shown_if_any(session);
  return all == nullptr || index >= all->grounding.problems.size() ? nullptr : all->grounding.problems[index].c_str();
}
