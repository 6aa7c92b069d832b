// app/progress.cpp and app/interrupt.cpp: what reaches the terminal, and what Ctrl-C does.
#include "app/progress.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <functional>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "app/interrupt.h"

using namespace vl2;

namespace {

// What `action` writes to standard error.
std::string captured(const std::function<void()>& action) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  action();
  std::fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::string text(4096, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

// The exit status of a child that runs `action`; 1000 + the signal when one ended it.
int exit_status(const std::function<int()>& action) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0)
    _exit(action());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("progress: bytes for people") {
    CHECK(human_bytes(0) == "0 B");
    CHECK(human_bytes(999) == "999 B");
    CHECK(human_bytes(1000) == "1.0 kB");
    CHECK(human_bytes(999'949) == "999.9 kB");
    CHECK(human_bytes(999'950) == "1.0 MB");
    CHECK(human_bytes(54'960'268'496) == "55.0 GB");
    CHECK(human_bytes(UINT64_MAX) == "18446744.1 TB");
  }

  TEST_CASE("progress: times for people") {
    CHECK(human_time(0) == "0 s");
    CHECK(human_time(59.4) == "59 s");
    CHECK(human_time(59.6) == "1 min 00 s");
    CHECK(human_time(3599) == "59 min 59 s");
    CHECK(human_time(7500) == "2 h 05 min");
    CHECK(human_time(-1) == "0 s");
    CHECK(human_time(1e300) == "277777 h 46 min");
  }

  TEST_CASE("progress: pages that were there before the first call do not count for the rate") {
    const std::string text = captured([] {
      Progress progress(true);
      progress.pages("reading pages", 100, 104);
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      progress.pages("reading pages", 102, 104);
    });
    const size_t at = text.find("102 of 104  ");
    REQUIRE(at != std::string::npos);
    const double rate = std::atof(text.c_str() + at + 12);  // 2 pages in half a second, and more when the machine is busy
    CHECK(rate > 0.1);
    CHECK(rate <= 4.0);
    CHECK(text.find(" s left") != std::string::npos);
  }

  TEST_CASE("progress: writes over one line and takes it away") {
    const std::string text = captured([] {
      Progress progress(true);
      progress.bytes("loading", 1'500'000, 3'000'000);
      progress.step("encoding picture 1 of 2");
      progress.note("done");
      progress.tokens("answering", 1, 0);
    });
    CHECK(text ==
          "\r\033[Kloading  1.5 MB of 3.0 MB  50 %\r\033[Kencoding picture 1 of 2\r\033[Kdone\n\r\033[Kanswering  1 "
          "tokens\r\033[K");
  }

  TEST_CASE("progress: a thousand updates in no time write only a few lines, and the last one is among them") {
    const std::string text = captured([] {
      Progress progress(true);
      for (uint64_t i = 1; i <= 1000; ++i)
        progress.bytes("loading", i, 1000);
    });
    CHECK(text.size() < 1000);  // all of them would be 30 000 characters
    CHECK(text.find("100 %") != std::string::npos);
  }

  TEST_CASE("progress: silent when not enabled, and not enabled where standard error is no terminal") {
    CHECK(captured([] {
            Progress progress(false);
            progress.bytes("loading", 1, 2);
            progress.tokens("answering", 1, 2);
            progress.step("a step");
            progress.note("a note");
            CHECK_FALSE(wants_progress(false));
            CHECK_FALSE(wants_progress(true));
          }).empty());
  }

  TEST_CASE("interrupt: the first Ctrl-C is only noted, the second exits with 130") {
    CHECK(exit_status([] {
            catch_interrupts();
            if (interrupted())
              return 1;
            std::raise(SIGINT);
            return interrupted() ? 7 : 2;
          }) == 7);
    CHECK(exit_status([] {
            catch_interrupts();
            std::raise(SIGINT);
            std::raise(SIGINT);
            return 7;
          }) == 130);
    CHECK(exit_status([] {
            catch_interrupts();
            std::raise(SIGTERM);
            reset_interrupt();
            std::raise(SIGINT);
            return interrupted() ? 7 : 2;
          }) == 7);
    CHECK(exit_status([] {
            catch_interrupts(3);
            std::raise(SIGINT);
            std::raise(SIGINT);
            return interrupt_count() == 2 ? 7 : 2;
          }) == 7);
    CHECK(exit_status([] {
            catch_interrupts(3);
            std::raise(SIGTERM);  // counts as two of three
            if (interrupt_count() != 2)
              return 2;
            std::raise(SIGINT);
            return 7;
          }) == 130);
    CHECK_FALSE(interrupted());  // the children's affair
  }
}
