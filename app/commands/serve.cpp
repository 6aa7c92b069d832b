// `vl2 serve`: an OpenAI-compatible server and its page, on nothing but the C API.
#ifdef VL2_HAVE_HTTPLIB
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "app/commands/commands.h"
#include "app/interrupt.h"
#include "app/server/chat_server.h"
#include "app/server/vl2_backend.h"
#include "app/vl2_handles.h"

namespace vl2 {

namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(50);

// What requests call the model: the folder's or file's name without its ending.
std::string model_name(const std::string& path) {
  std::filesystem::path file(path);
  if (!file.has_filename())
    file = file.parent_path();
  const std::string name = file.extension() == ".gguf" ? file.stem().string() : file.filename().string();
  return name.empty() || name == "." || name == ".." ? "vl2" : name;
}

server::ServerOptions server_options(const ServeOptions& options) {
  server::ServerOptions out;
  out.http.host = options.host;
  out.http.port = options.port;
  const char* key = std::getenv("VL2_API_KEY");
  out.http.api_key = !options.api_key.empty() ? options.api_key : key != nullptr ? key : "";
  out.http.host_names = options.host_names;
  out.slots = options.slots;
  out.most_waiting = options.queue;
  return out;
}

}  // namespace

Status serve_command(const ServeOptions& options) {
  std::string problem;
  const auto server = server::ChatServer::start(server_options(options), problem);
  if (server == nullptr)
    return fail(Code::BadArgument, "serve: ", problem);
  catch_interrupts();
  Result<ModelHandle> model = open_model(options.model, 0);
  if (!model.ok() && interrupted()) {
    reset_interrupt();  // asked to end before it began: nothing was left undone
    return {};
  }
  VL2_TRY(model.status());
  if (const auto error = server->set_backend(server::make_vl2_backend(model.value().release(), model_name(options.model.model))))
    return fail(Code::OutOfMemory, "serve: ", error->message);
  const bool has_colons = options.host.find(':') != std::string::npos;
  std::printf("http://%s%s%s:%u\n", has_colons ? "[" : "", options.host.c_str(), has_colons ? "]" : "", server->port());
  std::fflush(stdout);
  if (server->slot_count() < options.slots && !options.model.quiet)
    std::fprintf(stderr, "serve: memory holds %u of %u slots\n", server->slot_count(), options.slots);

  while (!interrupted())
    std::this_thread::sleep_for(kLookAgain);
  const bool all_answered = server->drain(std::chrono::seconds(options.drain_seconds));
  reset_interrupt();  // it did what the signal asked for
  return all_answered ? Status{}
                      : fail(Code::Cancelled, "serve: requests were still being answered after ", options.drain_seconds, " s");
}

}  // namespace vl2

#else

#include "app/commands/commands.h"

namespace vl2 {

Status serve_command(const ServeOptions&) {
  return fail(Code::Unsupported,
              "serve: this build has no server, since cpp-httplib 0.18 was not found (see third_party/setup.sh)");
}

}  // namespace vl2

#endif
