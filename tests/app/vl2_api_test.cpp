// The C API where no device is needed: tokens, plans of pictures, and every way to misuse it.
#include <cstring>
#include <thread>
#include <unistd.h>

#include "app/image_file.h"
#include "app/turn_lock.h"
#include "tests/support/api.h"
#include "tests/support/program.h"

using namespace vl2;

TEST_SUITE("cpu") {
  TEST_CASE("vl2_api: version, features and names") {
    CHECK(std::string(vl2_version()) == "0.1.0");
    CHECK(vl2_version_number() == 1000);
    CHECK(vl2_has_feature("png") == 1);
    CHECK(vl2_has_feature("gguf") == 1);
    CHECK(vl2_has_feature("teleport") == 0);
    CHECK(vl2_has_feature(nullptr) == 0);
    CHECK(std::string(vl2_status_name(VL2_ERROR_CONTEXT_FULL)) == "context_full");
    CHECK(std::string(vl2_status_name(static_cast<vl2_status>(15))) == "unknown");
    CHECK(std::string(vl2_stop_reason_name(VL2_STOP_END)) == "eos");
    CHECK(std::string(vl2_stop_reason_name(VL2_STOP_NONE)).empty());
  }

  TEST_CASE("vl2_api: NULL for a handle is refused with a word, or is nothing") {
    vl2_model_free(nullptr);
    vl2_session_free(nullptr);
    vl2_image_free(nullptr);
    vl2_device_list_free(nullptr);
    vl2_session_stop(nullptr);
    CHECK(vl2_device_list_count(nullptr) == 0);
    CHECK(vl2_image_width(nullptr) == 0);
    CHECK(vl2_image_height(nullptr) == 0);
    CHECK(vl2_image_rgb(nullptr) == nullptr);
    CHECK(vl2_model_token_bytes(nullptr, 0, nullptr) == nullptr);
    CHECK(std::string(vl2_model_last_error(nullptr)).empty());
    CHECK(std::string(vl2_session_last_error(nullptr)).empty());
    CHECK(vl2_session_message_count(nullptr) == 0);
    CHECK(vl2_session_picture_count(nullptr) == 0);
    CHECK(vl2_session_token_count(nullptr) == 0);
    CHECK(vl2_session_context_tokens(nullptr) == 0);
    CHECK(vl2_session_box_count(nullptr) == 0);
    CHECK(vl2_session_problem_count(nullptr) == 0);
    CHECK(vl2_session_problem(nullptr, 0) == nullptr);

    auto info = sized<vl2_model_info>();
    auto plan = sized<vl2_plan>();
    auto picture = sized<vl2_picture_plan>();
    auto piece = sized<vl2_piece>();
    auto reply = sized<vl2_reply>();
    auto box = sized<vl2_box>();
    auto device = sized<vl2_device_info>();
    auto message = sized<vl2_message>();
    auto shown = sized<vl2_picture>();
    vl2_model* model = nullptr;
    vl2_session* session = nullptr;
    vl2_image* image = nullptr;
    const uint8_t byte = 0;
    uint32_t id = 0;
    size_t count = 0;
    const std::pair<vl2_status, const char*> calls[] = {
        {vl2_device_list_create(nullptr), "list is NULL"},
        {vl2_device_list_get(nullptr, 0, &device), "list is NULL"},
        {vl2_model_load(nullptr, nullptr, &model), "path is NULL"},
        {vl2_model_load("x", nullptr, nullptr), "model is NULL"},
        {vl2_model_load_descriptor(0, nullptr, nullptr, nullptr), "model is NULL"},
        {vl2_model_get_info(nullptr, &info), "model is NULL"},
        {vl2_model_check(nullptr, 0), "model is NULL"},
        {vl2_plan_load(nullptr, nullptr, &plan), "path is NULL"},
        {vl2_plan_load("x", nullptr, nullptr), "vl2_plan is NULL"},
        {vl2_model_tokenize(nullptr, "a", 1, 0, &id, 1, &count), "model is NULL"},
        {vl2_model_detokenize(nullptr, &id, 1, 0, nullptr, 0, &count), "model is NULL"},
        {vl2_image_decode(nullptr, 1, &image), "file is NULL"},
        {vl2_image_decode(&byte, 1, nullptr), "image is NULL"},
        {vl2_model_plan_picture(nullptr, 1, 1, 1, &picture), "model is NULL"},
        {vl2_session_create(nullptr, nullptr, &session), "model is NULL"},
        {vl2_session_create(nullptr, nullptr, nullptr), "session is NULL"},
        {vl2_session_add_image(nullptr, &byte, 1, 1), "session is NULL"},
        {vl2_session_add_image_file(nullptr, &byte, 1), "session is NULL"},
        {vl2_session_add_message(nullptr, VL2_ROLE_USER, "a", 1), "session is NULL"},
        {vl2_session_save(nullptr, "x"), "session is NULL"},
        {vl2_session_load(nullptr, "x", nullptr, &session), "model is NULL"},
        {vl2_session_get_message(nullptr, 0, &message), "session is NULL"},
        {vl2_session_get_picture(nullptr, 0, &shown), "session is NULL"},
        {vl2_session_truncate(nullptr, 0), "session is NULL"},
        {vl2_session_clear(nullptr), "session is NULL"},
        {vl2_session_count_prompt(nullptr, &id), "session is NULL"},
        {vl2_session_start(nullptr, nullptr), "session is NULL"},
        {vl2_session_next(nullptr, &piece), "session is NULL"},
        {vl2_session_end(nullptr), "session is NULL"},
        {vl2_session_reply(nullptr, nullptr), "session is NULL"},
        {vl2_session_get_reply(nullptr, &reply), "session is NULL"},
        {vl2_session_get_box(nullptr, 0, &box), "session is NULL"},
    };
    for (const auto& [status, unused] : calls)
      CHECK(status == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("vl2_session_get_box: session is NULL"));
    CHECK(vl2_model_load(nullptr, nullptr, &model) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("path is NULL"));
    CHECK(vl2_image_decode(nullptr, 1, &image) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("vl2_image_decode: file is NULL"));
  }

  TEST_CASE("vl2_api: a struct of another size is refused, of another version taken") {
    vl2_model* model = nullptr;
    auto options = sized<vl2_load_options>();
    const auto first_version = static_cast<uint32_t>(offsetof(vl2_load_options, cache_type));
    for (const uint32_t size : {0u, 3u, first_version - 1, 0xdeadbeefu}) {
      options.struct_size = size;
      CHECK(vl2_model_load(kPico.c_str(), &options, &model) == VL2_ERROR_ARGUMENT);
      CHECK(last_error_has("vl2_load_options: struct_size is " + std::to_string(size)));
    }
    options.struct_size = offsetof(vl2_load_options, cache_type);  // as the first version had it
    options.flags = VL2_LOAD_NO_WEIGHTS;
    options.cache_type = 77;  // is not looked at
    vl2_model* older = nullptr;
    CHECK(vl2_model_load(kPico.c_str(), &options, &older) == VL2_OK);
    vl2_model_free(older);
    struct Newer {
      vl2_load_options known;
      uint64_t later;
    } newer{};
    newer.known.struct_size = sizeof(newer);
    newer.known.flags = VL2_LOAD_NO_WEIGHTS;
    CHECK(vl2_model_load(kPico.c_str(), &newer.known, &model) == VL2_OK);
    const ModelHandle owner(model);
    newer.later = 1;
    vl2_model* other = nullptr;
    CHECK(vl2_model_load(kPico.c_str(), &newer.known, &other) == VL2_ERROR_UNSUPPORTED);
    CHECK(last_error_has("is not 0"));

    vl2_picture_plan plan{};
    CHECK(vl2_model_plan_picture(model, 30, 30, 1, &plan) == VL2_ERROR_ARGUMENT);
    struct NewerPlan {
      vl2_picture_plan known;
      uint64_t later;
    } newer_plan{};
    newer_plan.known.struct_size = sizeof(newer_plan);
    newer_plan.later = 99;
    CHECK(vl2_model_plan_picture(model, 30, 30, 1, &newer_plan.known) == VL2_OK);
    CHECK(newer_plan.known.tokens == 421);
    CHECK(newer_plan.known.struct_size == sizeof(newer_plan));
    CHECK(newer_plan.later == 0);
  }

  TEST_CASE("vl2_api: a struct that has grown is filled as far as an older caller's goes, and no byte further") {
    const ModelHandle model = load_words();
    auto whole = sized<vl2_model_info>();
    REQUIRE(vl2_model_get_info(model.get(), &whole) == VL2_OK);
    for (const size_t size : {offsetof(vl2_model_info, notice), offsetof(vl2_model_info, host_weight_bytes),
                              offsetof(vl2_model_info, decode_steps), sizeof(vl2_model_info)}) {
      CAPTURE(size);
      vl2_model_info info;
      std::memset(&info, 0xa5, sizeof(info));
      info.struct_size = static_cast<uint32_t>(size);
      CHECK(vl2_model_get_info(model.get(), &info) == VL2_OK);
      CHECK(info.struct_size == size);
      CHECK(info.vocabulary == whole.vocabulary);
      CHECK(info.path == whole.path);
      const auto* const bytes = reinterpret_cast<const unsigned char*>(&info);
      CHECK(std::memcmp(bytes + sizeof(uint32_t), reinterpret_cast<const unsigned char*>(&whole) + sizeof(uint32_t),
                        size - sizeof(uint32_t)) == 0);
      for (size_t at = size; at < sizeof(info); ++at)
        CHECK(bytes[at] == 0xa5);
    }
    vl2_model_info info;
    std::memset(&info, 0xa5, sizeof(info));
    info.struct_size = static_cast<uint32_t>(offsetof(vl2_model_info, notice)) - 1;
    CHECK(vl2_model_get_info(model.get(), &info) == VL2_ERROR_ARGUMENT);
    CHECK(info.vocabulary == 0xa5a5a5a5);
  }

  TEST_CASE("vl2_api: options and files that are wrong are named") {
    vl2_model* model = nullptr;
    auto options = sized<vl2_load_options>();
    CHECK(vl2_model_load("/no/such/model", nullptr, &model) == VL2_ERROR_NOT_FOUND);
    CHECK(last_error_has("/no/such/model"));
    CHECK(model == nullptr);
    options.flags = 64;
    CHECK(vl2_model_load(kPico.c_str(), &options, &model) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("flags are 64"));
    options.flags = 0;
    options.cache_type = 2;
    CHECK(vl2_model_load(kPico.c_str(), &options, &model) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("cache_type is 2 and reserved2 0, wanted 0 or 1 and 0"));
    options.cache_type = 0;
    options.quantize = "Q99";
    CHECK(vl2_model_load(kPico.c_str(), &options, &model) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("quantize is Q99, wanted one of F32, F16"));
    CHECK(vl2_model_load_descriptor(-1, nullptr, nullptr, &model) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("descriptor -1"));
    int pipe_ends[2];
    REQUIRE(::pipe(pipe_ends) == 0);
    CHECK(vl2_model_load_descriptor(pipe_ends[0], "a pipe", nullptr, &model) == VL2_ERROR_FILE);
    CHECK(last_error_has("a pipe: not a regular file"));
    ::close(pipe_ends[0]);
    ::close(pipe_ends[1]);
  }

  TEST_CASE("vl2_api: text comes back from its ids, and too little room says how much is wanted") {
    const ModelHandle model = load_words();
    const std::string text = "What is the total of \u00e9\u00e8? <image> 1234";
    size_t count = 0;
    REQUIRE(vl2_model_tokenize(model.get(), text.c_str(), VL2_NUL_TERMINATED, 0, nullptr, 0, &count) == VL2_OK);
    REQUIRE(count > 5);
    std::vector<uint32_t> ids(count, 0);
    size_t again = 0;
    CHECK(vl2_model_tokenize(model.get(), text.data(), text.size(), 0, ids.data(), count - 1, &again) ==
          VL2_ERROR_BUFFER_TOO_SMALL);
    CHECK(again == count);
    CHECK(ids == std::vector<uint32_t>(count, 0));
    CHECK(std::string(vl2_model_last_error(model.get())).find("got room for") != std::string::npos);
    REQUIRE(vl2_model_tokenize(model.get(), text.data(), text.size(), 0, ids.data(), count, &again) == VL2_OK);

    std::string back(text.size(), '?');
    size_t bytes = 0;
    CHECK(vl2_model_detokenize(model.get(), ids.data(), count, 0, back.data(), 3, &bytes) == VL2_ERROR_BUFFER_TOO_SMALL);
    CHECK(bytes == text.size());
    CHECK(back == std::string(text.size(), '?'));
    REQUIRE(vl2_model_detokenize(model.get(), ids.data(), count, 0, back.data(), back.size(), &bytes) == VL2_OK);
    CHECK(back == text);
    std::string pieces;
    for (const uint32_t id : ids) {
      const char* const part = vl2_model_token_bytes(model.get(), id, &bytes);
      REQUIRE(part != nullptr);
      pieces.append(part, bytes);
    }
    CHECK(pieces == text);
    CHECK(vl2_model_token_bytes(model.get(), UINT32_MAX, &bytes) == nullptr);

    // "<image>" is letters unless control tokens are asked for.
    auto info = sized<vl2_model_info>();
    REQUIRE(vl2_model_get_info(model.get(), &info) == VL2_OK);
    CHECK(std::find(ids.begin(), ids.end(), info.image_token) == ids.end());
    uint32_t one = 0;
    CHECK(vl2_model_tokenize(model.get(), "<image>", 7, VL2_TOKENS_CONTROL, &one, 1, &count) == VL2_OK);
    CHECK(one == info.image_token);

    CHECK(vl2_model_tokenize(model.get(), "a\xff", 2, 0, nullptr, 0, &count) == VL2_ERROR_ARGUMENT);
    CHECK(last_error_has("UTF-8"));
    CHECK(vl2_model_tokenize(model.get(), nullptr, 2, 0, nullptr, 0, &count) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_tokenize(model.get(), "a", 1, 8, nullptr, 0, &count) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_tokenize(model.get(), "a", 1, 0, nullptr, 4, &count) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_tokenize(model.get(), "a", 1, 0, nullptr, 0, nullptr) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_tokenize(model.get(), nullptr, 0, 0, nullptr, 0, &count) == VL2_OK);
    CHECK(count == 0);
  }

  TEST_CASE("vl2_api: a picture is planned as it will be cut") {
    const ModelHandle model = load_words();
    auto plan = sized<vl2_picture_plan>();
    REQUIRE(vl2_model_plan_picture(model.get(), 1150, 380, 1, &plan) == VL2_OK);
    CHECK(plan.tiles_wide == 3);
    CHECK(plan.tiles_high == 1);
    CHECK(plan.canvas_width == 1152);
    CHECK(plan.canvas_height == 384);
    CHECK(plan.resized_width == 1152);
    CHECK(plan.resized_height == 381);
    CHECK(plan.tokens == 813);
    REQUIRE(vl2_model_plan_picture(model.get(), 1150, 380, VL2_MAX_TILED_PICTURES + 1, &plan) == VL2_OK);
    CHECK(plan.tokens == 421);
    CHECK(vl2_model_plan_picture(model.get(), 0, 380, 1, &plan) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_plan_picture(model.get(), 5, 5, 0, &plan) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_plan_picture(model.get(), 1u << 20, 1u << 20, 1, &plan) == VL2_ERROR_ARGUMENT);
    CHECK(vl2_model_plan_picture(model.get(), 5, 5, 1, nullptr) == VL2_ERROR_ARGUMENT);

    vl2_session* session = nullptr;
    CHECK(vl2_session_create(model.get(), nullptr, &session) == VL2_ERROR_STATE);
    CHECK(vl2_model_check(model.get(), 0) == VL2_ERROR_STATE);
  }

  TEST_CASE("vl2_api: a picture file in memory is decoded, anything else is refused") {
    const std::string file = read_file(kPictures + "receipt.png");
    const auto* const bytes = reinterpret_cast<const uint8_t*>(file.data());
    vl2_image* image = nullptr;
    REQUIRE(vl2_image_decode(bytes, file.size(), &image) == VL2_OK);
    const auto wanted = read_image_file(kPictures + "receipt.png");
    REQUIRE(wanted.ok());
    CHECK(vl2_image_width(image) == wanted->width);
    CHECK(vl2_image_height(image) == wanted->height);
    CHECK(std::memcmp(vl2_image_rgb(image), wanted->rgb.data(), wanted->rgb.size()) == 0);
    vl2_image_free(image);
    CHECK(vl2_image_decode(bytes, file.size() / 2, &image) == VL2_ERROR_FILE);
    CHECK(image == nullptr);
    CHECK(vl2_image_decode(bytes + 1, 40, &image) == VL2_ERROR_FILE);
    CHECK(vl2_image_decode(bytes, 0, &image) == VL2_ERROR_FILE);
  }

  TEST_CASE("vl2_api: TurnLock serves in the order of asking, and a wait that ends is forgotten") {
    TurnLock lock;
    lock.lock();
    CHECK(!lock.try_lock_for(std::chrono::milliseconds(0)));
    CHECK(!lock.try_lock_for(std::chrono::milliseconds(5)));
    std::vector<int> order;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const std::lock_guard turn(lock);
        order.push_back(i);
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(30));  // it waits by then
    }
    lock.unlock();
    lock.lock();  // behind all of them
    CHECK(order == std::vector<int>{0, 1, 2, 3});
    lock.unlock();
    for (std::thread& thread : threads)
      thread.join();
    CHECK(lock.try_lock_for(std::chrono::milliseconds(0)));
    lock.unlock();
  }
}
