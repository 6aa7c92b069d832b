#include "app/interrupt.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace vl2 {
namespace {

std::atomic<int> asked{0}, limit{2};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");

void on_signal(int signal) {
  const int counts = signal == SIGTERM && limit > 2 ? 2 : 1;
  if (asked.fetch_add(counts) + counts >= limit)
    _exit(kInterruptedExitStatus);
}

}  // namespace

void catch_interrupts(int ends_at) {
  limit = ends_at;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // reading and writing files go on as if nothing had happened
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
  return asked.load() > 0;
}

int interrupt_count() {
  return asked.load();
}

void reset_interrupt() {
  asked.store(0);
}

}  // namespace vl2
