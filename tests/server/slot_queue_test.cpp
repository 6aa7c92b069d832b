#include "app/server/slot_queue.h"

#include <doctest/doctest.h>
#include <thread>

#include "tests/server/fake_backend.h"
#include "tests/server/server_fixture.h"

using namespace vl2::server;

namespace {

std::unique_ptr<SlotQueue> make_queue(FakeBackend& backend, uint32_t slots, uint32_t waiting) {
  std::vector<std::unique_ptr<ChatSlot>> made(slots);
  for (auto& slot : made)
    backend.create_slot(slot);
  return std::make_unique<SlotQueue>(std::move(made), waiting);
}

bool never() {
  return false;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("slot_queue: slots go to those who waited longest") {
    FakeBackend backend;
    const auto queue = make_queue(backend, 1, 10);
    auto first = queue->acquire({}, never);
    REQUIRE(first.outcome == SlotQueue::Outcome::Granted);
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i) {
      threads.emplace_back([&, i] {
        const auto turn = queue->acquire({}, never);
        CHECK(turn.outcome == SlotQueue::Outcome::Granted);
        CHECK(queue->busy_count() == 1);
        const std::lock_guard lock(mutex);
        order.push_back(i);
      });
      CHECK(becomes_true([&] { return queue->waiting_count() == static_cast<uint32_t>(i) + 1; }));
    }
    CHECK(queue->acquire({}, never).outcome == SlotQueue::Outcome::Full);
    first.lease.reset();
    for (std::thread& thread : threads)
      thread.join();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(queue->busy_count() == 0);
  }

  TEST_CASE("slot_queue: a conversation goes back to the slot that knows its beginning, a new one to the slot that knows least") {
    FakeBackend backend;
    const auto queue = make_queue(backend, 3, 0);
    const auto slot_of = [&](const std::vector<uint64_t>& signature) { return &queue->acquire(signature, never).lease->slot(); };
    ChatSlot* const a = slot_of({1});
    ChatSlot* const b = slot_of({2});
    CHECK(a != b);
    CHECK(slot_of({1, 5}) == a);
    CHECK(slot_of({2, 6}) == b);
    CHECK(slot_of({1, 5, 7}) == a);
    ChatSlot* const c = slot_of({3});
    CHECK(c != a);
    CHECK(c != b);
    auto held = queue->acquire({1, 5, 7, 8}, never);
    CHECK(&held.lease->slot() == a);
    CHECK(slot_of({1, 5, 7, 8, 9}) != a);  // it is busy
  }

  TEST_CASE("slot_queue: messages are told apart by role, text and pictures") {
    const auto picture = std::make_shared<const std::string>("x"), other = std::make_shared<const std::string>("y");
    const std::vector<std::vector<ChatMessage>> all = {
        {{ChatRole::User, "a", {}}},        {{ChatRole::User, "b", {}}},      {{ChatRole::Assistant, "a", {}}},
        {{ChatRole::User, "a", {picture}}}, {{ChatRole::User, "a", {other}}}, {{ChatRole::User, "a", {picture, picture}}}};
    for (size_t i = 0; i < all.size(); ++i)
      for (size_t k = 0; k < all.size(); ++k)
        CHECK((conversation_signature(all[i]) == conversation_signature(all[k])) == (i == k));
  }

  TEST_CASE("slot_queue: what a conversation has in common with another counts from its beginning, picture and all") {
    const auto picture = std::make_shared<const std::string>("x"), other = std::make_shared<const std::string>("y");
    const auto common = [](const ChatMessage& a, const ChatMessage& b) {
      const auto first = conversation_signature({a}), second = conversation_signature({b});
      const size_t length = std::min(first.size(), second.size());
      return std::mismatch(first.begin(), first.begin() + static_cast<ptrdiff_t>(length), second.begin()).first - first.begin();
    };
    const std::string rules(640, 'r');
    CHECK(common({ChatRole::User, "a", {}}, {ChatRole::User, "b", {}}) == 0);
    CHECK(common({ChatRole::User, "a", {}}, {ChatRole::Assistant, "a", {}}) == 0);
    // Another question about the same picture shares the picture, one about another picture nothing.
    const auto shown = common({ChatRole::User, "a", {picture}}, {ChatRole::User, "b", {picture}});
    CHECK(shown > 20);
    CHECK(common({ChatRole::User, "a", {picture}}, {ChatRole::User, "a", {other}}) == 0);
    // A picture counts for more than a long text, two for more than one, and a question in front of it hides it.
    CHECK(common({ChatRole::User, rules + "a", {}}, {ChatRole::User, rules + "b", {}}) == 10);
    CHECK(common({ChatRole::User, "a", {picture, other}}, {ChatRole::User, "b", {picture, other}}) == 2 * shown);
    CHECK(common({ChatRole::User, "a <image>", {picture}}, {ChatRole::User, "b <image>", {picture}}) == 0);
    // The first of two pictures has no mark and stands in front: the marked one is the second.
    CHECK(common({ChatRole::User, "a <image>", {picture, other}}, {ChatRole::User, "b <image>", {picture, other}}) == shown);
    CHECK(common({ChatRole::User, "a <image> b", {picture}}, {ChatRole::User, "a <image> c", {picture}}) > shown);
    // Marks that have no picture are refused later, and do no harm here.
    CHECK(common({ChatRole::User, "<image> <image> <image>", {picture}}, {ChatRole::User, "<image>", {picture}}) == shown);
  }

  TEST_CASE("slot_queue: a second question about a picture goes to the slot that has read it, though another holds less") {
    FakeBackend backend;
    const auto queue = make_queue(backend, 3, 0);
    const auto slot_of = [&](const std::string& text, const std::string& picture) {
      const auto file = std::make_shared<const std::string>(picture);
      return &queue->acquire(conversation_signature({{ChatRole::User, text, {file}}}), never).lease->slot();
    };
    ChatSlot* const a = slot_of("What is the total?", "a receipt");
    ChatSlot* const b = slot_of("What is the total?", "another receipt");
    CHECK(a != b);
    CHECK(slot_of("Who sold it?", "a receipt") == a);
    CHECK(slot_of("Who sold it?", "another receipt") == b);
    ChatSlot* const c = slot_of("What is the total?", "a third one");
    CHECK(c != a);
    CHECK(c != b);
    CHECK(slot_of("What is the total?", "a fourth one") == a);  // all hold as much, a was asked longest ago
    CHECK(slot_of("What is the total?", "a third one") == c);
    CHECK(slot_of("What is the total?", "a fifth one") == b);
  }

  TEST_CASE("slot_queue: rules that all conversations begin with do not bring them all to one slot") {
    FakeBackend backend;
    const auto queue = make_queue(backend, 2, 0);
    const auto picture = std::make_shared<const std::string>("x"), other = std::make_shared<const std::string>("y");
    const ChatMessage rules{ChatRole::System, std::string(200, 'r'), {}};
    const auto slot_of = [&](const std::vector<ChatMessage>& messages) {
      return &queue->acquire(conversation_signature(messages), never).lease->slot();
    };
    ChatSlot* const a = slot_of({rules, {ChatRole::User, "a", {picture}}});
    CHECK(slot_of({rules, {ChatRole::User, "a", {other}}}) != a);
    CHECK(slot_of({rules, {ChatRole::User, "b", {picture}}}) == a);
  }

  TEST_CASE("slot_queue: closing sends everybody away who waits") {
    FakeBackend backend;
    const auto queue = make_queue(backend, 1, 10);
    const auto held = queue->acquire({}, never);
    std::thread waiter([&] { CHECK(queue->acquire({}, never).outcome == SlotQueue::Outcome::Closed); });
    CHECK(becomes_true([&] { return queue->waiting_count() == 1; }));
    queue->close();
    waiter.join();
    CHECK(queue->acquire({}, never).outcome == SlotQueue::Outcome::Closed);
  }
}
