// `vl2 serve` with the fake model, for clients that are tested against it: prints its port, ends when standard input does.
//
//   vl2_fake_server [KEY]    2 slots, 2 waiting; KEY: the API key to ask for
#include <cstdio>

#include "app/server/chat_server.h"
#include "tests/server/fake_backend.h"

int main(int argc, char** argv) {
  using namespace vl2::server;
  ServerOptions options;
  options.http.port = 0;
  options.slots = 2;
  options.most_waiting = 2;
  if (argc > 1)
    options.http.api_key = argv[1];
  std::string error;
  const auto server = ChatServer::start(options, error);
  if (server == nullptr || server->set_backend(std::make_unique<FakeBackend>())) {
    std::fprintf(stderr, "vl2_fake_server: %s\n", error.c_str());
    return 2;
  }
  std::printf("%u\n", server->port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
