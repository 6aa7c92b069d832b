#include "app/interrupt.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace vl2 {
namespace {

std::atomic<bool> asked{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

void on_signal(int) {
  if (asked.exchange(true))
    _exit(kInterruptedExitStatus);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // reading and writing files go on as if nothing had happened
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
  return asked.load();
}

void reset_interrupt() {
  asked.store(false);
}

}  // namespace vl2
