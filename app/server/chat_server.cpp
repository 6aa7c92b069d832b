#include "app/server/chat_server.h"

#include <nlohmann/json.hpp>

#include "app/server/base64.h"
#include "app/server/chat_handler.h"
#include "app/server/page.h"
#include "app/server/picture_size.h"

namespace vl2::server {

namespace {

using nlohmann::json;

constexpr auto kHealthLasts = std::chrono::seconds(1);  // so that asking often costs the device nothing

HttpResponse ok(const json& value) {
  HttpResponse response;
  response.body = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

// A picture of a plan: {"width", "height"}, or {"url": a data URL}.
std::optional<ApiError> read_size(const json& image, const std::string& where, PictureSize& size) {
  const auto side = [&](const char* name) -> uint32_t {
    const auto it = image.find(name);
    return it != image.end() && it->is_number_unsigned() && it->get<uint64_t>() <= 1u << 28 ? it->get<uint32_t>() : 0;
  };
  if (image.is_object() && image.contains("url") && image["url"].is_string()) {
    std::string problem;
    const DataUrl data = read_data_url(image["url"].get_ref<const std::string&>(), problem);
    const auto found = problem.empty() ? picture_size(data.bytes) : std::nullopt;
    if (!found)
      return ApiError::bad_request(where,
                                   where + ".url: " + (problem.empty() ? "not a PNG, JPEG, WebP or BMP picture" : problem));
    size = *found;
    return std::nullopt;
  }
  if (image.is_object())
    size = {side("width"), side("height")};
  if (size.width == 0 || size.height == 0)
    return ApiError::bad_request(where, where + ": wanted {\"width\", \"height\"} in pixels, or {\"url\": a data URL}");
  return std::nullopt;
}

}  // namespace

std::unique_ptr<ChatServer> ChatServer::start(const ServerOptions& options, std::string& error) {
  if (!is_loopback(options.http.host) && options.http.api_key.empty()) {
    error = "--host " + options.http.host + ": other machines can reach this address, wanted --api-key with it";
    return nullptr;
  }
  std::unique_ptr<ChatServer> server(new ChatServer(options));
  server->http_ = HttpServer::open(
      options.http, server->routes(),
      [metrics = &server->metrics_](std::string_view path, int status) { metrics->count_request(path, status); }, error);
  if (server->http_ == nullptr)
    return nullptr;
  server->http_->run();
  return server;
}

ChatServer::ChatServer(const ServerOptions& options) : options_(options) {}

ChatServer::~ChatServer() {
  if (http_ != nullptr)
    drain(std::chrono::milliseconds(0));
}

std::optional<BackendError> ChatServer::set_backend(std::unique_ptr<ChatBackend> backend) {
  std::vector<std::unique_ptr<ChatSlot>> slots;
  for (uint32_t i = 0; i < options_.slots; ++i) {
    std::unique_ptr<ChatSlot> slot;
    const auto error = backend->create_slot(slot);
    if (error && slots.empty())
      return error;
    if (error)
      break;
    slots.push_back(std::move(slot));
  }
  backend_ = std::move(backend);
  queue_ = std::make_unique<SlotQueue>(std::move(slots), options_.most_waiting);
  chat_ = std::make_unique<ChatHandler>(*backend_, *queue_, metrics_, options_.requests);
  ready_ = true;
  return std::nullopt;
}

bool ChatServer::drain(std::chrono::milliseconds grace) {
  http_->stop_accepting();
  const bool answered = http_->wait_until_idle(grace);
  if (!answered && ready_) {
    queue_->close();
    chat_->cancel_all();
  }
  http_->wait_until_idle(std::chrono::hours(1));
  return answered;
}

std::vector<HttpRoute> ChatServer::routes() {
  std::vector<HttpRoute> routes;
  for (const PageFile& file : page_files())
    routes.push_back({"GET", std::string(file.path), true, [&file](const HttpRequest&) {
                        HttpResponse response{200, std::string(file.type), std::string(file.bytes), {}, {}};
                        response.headers.emplace_back("Content-Security-Policy", page_policy());
                        response.headers.emplace_back("Referrer-Policy", "no-referrer");
                        return response;
                      }});
  const auto add = [&](const char* method, const char* path, HttpResponse (ChatServer::*handle)(const HttpRequest&)) {
    routes.push_back({method, path, false, [this, handle](const HttpRequest& request) { return when_ready(handle, request); }});
  };
  add("POST", "/v1/chat/completions", &ChatServer::chat);
  add("GET", "/v1/models", &ChatServer::models);
  add("POST", "/v1/images/plan", &ChatServer::plan_images);
  add("POST", "/tokenize", &ChatServer::tokenize);
  routes.push_back({"GET", "/health", true, [this](const HttpRequest&) { return health(); }});
  routes.push_back({"GET", "/metrics", false, [this](const HttpRequest&) { return metrics(); }});
  return routes;
}

HttpResponse ChatServer::when_ready(HttpResponse (ChatServer::*handle)(const HttpRequest&), const HttpRequest& request) {
  if (!ready_)
    return refuse(ApiError::unavailable("the model is still loading", "loading", 2));
  return (this->*handle)(request);
}

HttpResponse ChatServer::chat(const HttpRequest& request) {
  return chat_->handle(request);
}

HttpResponse ChatServer::models(const HttpRequest&) {
  const ModelFacts& facts = backend_->facts();
  const json extension = {{"context", facts.context_tokens},
                          {"has_eyes", facts.has_eyes},
                          {"slots", queue_->slot_count()},
                          {"max_pictures", options_.requests.pictures},
                          {"max_pixels", options_.requests.picture_pixels},
                          {"max_body_bytes", options_.http.body_bytes}};
  return ok({{"object", "list"},
             {"data", {{{"id", facts.name}, {"object", "model"}, {"created", 0}, {"owned_by", "vl2"}, {"vl2", extension}}}}});
}

HttpResponse ChatServer::plan_images(const HttpRequest& request) {
  json body;
  if (const auto error = parse_json(request.body, body))
    return refuse(*error);
  const auto images = body.find("images");
  if (images == body.end() || !images->is_array() || images->empty() || images->size() > options_.requests.pictures)
    return refuse(
        ApiError::bad_request("images", "images: wanted an array of 1 to " + std::to_string(options_.requests.pictures)));
  json out = json::array();
  uint64_t tokens = 0;
  bool tiled = false;
  for (size_t i = 0; i < images->size(); ++i) {
    const std::string where = "images[" + std::to_string(i) + "]";
    PictureSize size;
    PicturePlan plan;
    if (const auto error = read_size((*images)[i], where, size))
      return refuse(*error);
    if (const auto error = backend_->plan_picture(size.width, size.height, static_cast<uint32_t>(images->size()), plan)) {
      ApiError refusal = api_error(*error);
      refusal.param = where;
      return refuse(refusal);
    }
    tokens += plan.tokens;
    tiled = tiled || plan.tiles_wide * plan.tiles_high > 1;
    out.push_back({{"width", size.width},
                   {"height", size.height},
                   {"tiles_wide", plan.tiles_wide},
                   {"tiles_high", plan.tiles_high},
                   {"tokens", plan.tokens}});
  }
  return ok({{"object", "vl2.image_plan"},
             {"images", out},
             {"tokens", tokens},
             {"tiled", tiled},
             {"context", backend_->facts().context_tokens}});
}

HttpResponse ChatServer::tokenize(const HttpRequest& request) {
  json body;
  if (const auto error = parse_json(request.body, body))
    return refuse(*error);
  const auto content = body.find("content");
  if (content == body.end() || !content->is_string())
    return refuse(ApiError::bad_request("content", "content: wanted a text"));
  const auto special = body.find("parse_special");
  if (special != body.end() && !special->is_boolean())
    return refuse(ApiError::bad_request("parse_special", "parse_special: wanted true or false"));
  std::vector<uint32_t> ids;
  if (const auto error =
          backend_->tokenize(content->get_ref<const std::string&>(), special != body.end() && special->get<bool>(), ids))
    return refuse(api_error(*error));
  return ok({{"tokens", ids}});
}

HttpResponse ChatServer::health() {
  if (!ready_)
    return {503, "application/json", R"({"status":"loading"})", {{"Retry-After", "2"}}, {}};
  BackendHealth health;
  {
    const std::lock_guard lock(health_mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (health_asked_ == std::chrono::steady_clock::time_point{} || now - health_asked_ > kHealthLasts) {
      health_ = backend_->check();
      health_asked_ = now;
    }
    health = health_;
  }
  if (health == BackendHealth::Lost)
    return {503, "application/json", R"({"status":"lost"})", {}, {}};
  const bool degraded = health == BackendHealth::Degraded || queue_->slot_count() < options_.slots;
  return ok({{"status", degraded ? "degraded" : "ok"}});
}

HttpResponse ChatServer::metrics() {
  std::vector<Metrics::Outside> outside;
  const auto add = [&](const char* name, const char* type, const char* help, auto value) {
    outside.push_back({name, type, help, static_cast<double>(value)});
  };
  add("vl2_connections", "gauge", "Open connections", http_->connection_count());
  if (ready_) {
    add("vl2_slots", "gauge", "Answers that can be given at a time", queue_->slot_count());
    add("vl2_slots_busy", "gauge", "Answers that are being given", queue_->busy_count());
    add("vl2_requests_waiting", "gauge", "Requests that wait for a slot", queue_->waiting_count());
    const PictureCacheFigures cache = backend_->picture_cache();
    add("vl2_picture_cache_hits_total", "counter", "Pictures that need not be encoded, as the model had kept them", cache.hits);
    add("vl2_picture_cache_misses_total", "counter", "Pictures that had to be encoded", cache.misses);
    add("vl2_picture_cache_evictions_total", "counter", "Pictures kept that had to go for others", cache.evictions);
    add("vl2_picture_cache_pictures", "gauge", "Pictures kept now", cache.pictures);
    add("vl2_beginning_hits_total", "counter", "Answers that went on from what another slot had read", cache.beginning_hits);
    add("vl2_picture_cache_beginnings", "gauge", "Conversations up to their first pictures kept now", cache.beginnings);
    add("vl2_picture_cache_bytes", "gauge", "Device memory that both take", cache.bytes);
    add("vl2_picture_cache_limit_bytes", "gauge", "Device memory that they may take; 0: none are kept", cache.limit_bytes);
    const ChatBackend::StepCounts steps = backend_->steps();
    add("vl2_decode_steps_total", "counter", "Steps in which answers got their next tokens", steps.steps);
    add("vl2_decode_step_answers_total", "counter", "Answers that took part in them, added up", steps.answers);
  }
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text(outside), {}, {}};
}

}  // namespace vl2::server
