// `vl2 chat`, `vl2 ground` and `vl2 ocr` as programs, with the demo model where answers matter.
#include <csignal>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/image_file.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kPicoModel = source_dir() + "/app/demo/pico";
const std::string kScene = source_dir() + "/app/demo/pictures/scene.png";  // 255 x 257
const std::string kReceipt = source_dir() + "/app/demo/pictures/receipt.png";
const std::string kForm = source_dir() + "/app/demo/pictures/form.png";

std::string printed(const Words& arguments, const std::string& input = "") {
  const ProgramResult result = run_program(arguments, {.environment = {}, .input = input});
  CHECK(result.exit_status == 0);
  CHECK_MESSAGE(result.err.empty(), result.err);
  return result.out;
}

ProgramResult refused(const Words& arguments, const std::string& input, const std::string& named) {
  ProgramResult result = run_program(arguments, {.environment = {}, .input = input});
  CHECK(result.exit_status == 2);
  CHECK(result.err.starts_with("vl2: "));
  CHECK(result.err.find('\n') == result.err.size() - 1);
  CHECK_MESSAGE(result.err.find(named) != std::string::npos, result.err);
  return result;
}

std::string write_picture(const std::string& path, uint32_t width, uint32_t height) {
  REQUIRE(write_png(path, Image{width, height, test_picture(width, height, 1)}).ok());
  return path;
}

Words lines_of(const std::string& text) {
  Words lines;
  for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
    lines.push_back(text.substr(at, text.find('\n', at) - at));
  return lines;
}

// `vl2` on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(Words words) {
    words.insert(words.begin(), program_path());
    std::vector<char*> arguments;
    for (std::string& word : words)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    child_ = ::forkpty(&descriptor_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      ::execv(arguments[0], arguments.data());
      ::_exit(99);
    }
    REQUIRE(child_ > 0);
  }
  ~Terminal() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(descriptor_);
  }

  void type(const std::string& keys) { REQUIRE(::write(descriptor_, keys.data(), keys.size()) > 0); }

  // What is shown from now until `text` is, that included; fails after a minute.
  std::string shown_until(const std::string& text) {
    for (;;) {
      if (const size_t at = shown_.find(text); at != std::string::npos) {
        const std::string part = shown_.substr(0, at + text.size());
        shown_.erase(0, at + text.size());
        return part;
      }
      char bytes[4096];
      pollfd waited{.fd = descriptor_, .events = POLLIN, .revents = 0};
      const bool ready = ::poll(&waited, 1, 60000) == 1;
      const ssize_t got = ready ? ::read(descriptor_, bytes, sizeof(bytes)) : 0;
      REQUIRE_MESSAGE(got > 0, "wanted " << text << ", shown: " << shown_);
      shown_.append(bytes, static_cast<size_t>(got));
    }
  }

  int exit_status() {
    for (char bytes[4096]; ::read(descriptor_, bytes, sizeof(bytes)) > 0;) {
    }
    int status = 0;
    REQUIRE(::waitpid(std::exchange(child_, -1), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t child_ = -1;
  int descriptor_ = -1;
  std::string shown_;
};

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("ground: asks as the model was taught, and takes nothing that would ask otherwise") {
    CHECK(*grounding_prompt("The giraffe at the back.", false) == "<|ref|>The giraffe at the back.<|/ref|>.");
    CHECK(*grounding_prompt(" Watermelon slices\t", true) == "Find all the <|ref|>Watermelon slices<|/ref|>");
    for (const char* bad : {"", " \t", "a<|/ref|>", "an <image>", "two\nlines", "cr\r"})
      CHECK_MESSAGE(grounding_prompt(bad, false).code() == Code::BadArgument, bad);
  }
}

TEST_SUITE("program") {
  TEST_CASE("vl2 chat: answers about the pictures so far, lists and draws boxes, and saves what was said") {
    const TemporaryFolder folder;
    const std::string boxes = folder / "boxes.png", transcript = folder / "chat.json";
    const std::string input = "/image " + kScene + "\n<|ref|>the blue circle<|/ref|>.\n/boxes\n/boxes " + boxes +
                              "\n\n  How many circles are there?  \n/boxes\n/save " + transcript + "\n/exit\nnever asked\n";
    const Words lines = lines_of(printed({"chat", "-m", kPicoModel}, input));
    REQUIRE(lines.size() == 4);
    CHECK(lines[0] == "the blue circle[[637, 665, 905, 927]]");
    // trunc(v / 999 * side) of 255 x 257.
    CHECK(lines[1] == "the blue circle  [162, 171, 231, 238]");
    CHECK(lines[3] == "no boxes");

    const std::string by_run = folder / "run.png";
    printed({"run", "-m", kPicoModel, "--image", kScene, "-p", "<|ref|>the blue circle<|/ref|>.", "--annotate", by_run});
    CHECK(read_file(boxes) == read_file(by_run));

    const json saved = json::parse(read_file(transcript));
    CHECK(saved["model"] == kPicoModel);
    REQUIRE(saved["messages"].size() == 4);
    CHECK(saved["messages"][0]["role"] == "user");
    CHECK(saved["messages"][0]["content"] == "<|ref|>the blue circle<|/ref|>.");
    CHECK(saved["messages"][0]["pictures"] == json::array({{{"file", kScene}, {"width", 255}, {"height", 257}}}));
    CHECK(saved["messages"][1]["role"] == "assistant");
    CHECK(saved["messages"][1]["stop"] == "eos");
    CHECK(saved["messages"][1]["boxes"][0]["pixels"] == json({162, 171, 231, 238}));
    CHECK(saved["messages"][2]["content"] == "How many circles are there?");
    CHECK_FALSE(saved["messages"][2].contains("pictures"));
    CHECK(saved["messages"][3]["content"] == lines[2]);
    for (const auto& entry : fs::directory_iterator(folder.path()))
      CHECK_MESSAGE(entry.path().string().find(".part") == std::string::npos, entry.path().string());
  }

  TEST_CASE("vl2 chat: two pictures, one of them by --image; /clear forgets both") {
    const Words lines = lines_of(printed({"chat", "-m", kPicoModel, "--image", kReceipt},
                                         "What is the total?\n/image " + kForm + "\nIn the second picture: What is the age?\n" +
                                             "/clear\n/image " + kForm + "\nWhat is the order?\n"));
    CHECK(lines == Words{"$641.56", "59", "334224"});
  }

  TEST_CASE("vl2 chat: the first answer is that of `vl2 run`; /regen gives others when drawing, and the same when not") {
    const Words draw = {"-m", small_model(), "-n", "24", "--temp", "2", "--seed", "5"};
    Words run = {"run", "-p", "Say something."}, chat = {"chat"};
    run.insert(run.end(), draw.begin(), draw.end());
    chat.insert(chat.end(), draw.begin(), draw.end());
    // The toy model says any byte, line ends included: by ends of its answers that it cannot say.
    const std::string first = printed(run), all = printed(chat, "Say something.\n/regen\n/regen\n");
    REQUIRE(first.size() > 10);
    REQUIRE(all.starts_with(first));
    const std::string rest = all.substr(first.size());
    CHECK(rest.size() > 20);
    CHECK(rest.find(first.substr(0, 10)) == std::string::npos);
    CHECK(printed(chat, "Say something.\n/regen\n/regen\n") == all);
    const Words greedy = lines_of(printed({"chat", "-m", kPicoModel, "--image", kReceipt}, "What is the total?\n/regen\n"));
    CHECK(greedy == Words{"$641.56", "$641.56"});
  }

  TEST_CASE("vl2 chat: a third picture that takes the tiles from all is warned of, once; small ones are not") {
    const TemporaryFolder folder;
    const std::string wide = write_picture(folder / "wide.png", 1150, 380), small = write_picture(folder / "small.png", 30, 30);
    const auto warnings = [&](const std::string& first, const std::string& other, const Words& more = {}) {
      Words words = {"chat", "-m", small_model()};
      words.insert(words.end(), more.begin(), more.end());
      std::string input = "/image " + first + "\n";
      for (int i = 0; i < 3; ++i)
        input += "/image " + other + "\n";
      const ProgramResult result = run_program(words, {.environment = {}, .input = input});
      CHECK(result.exit_status == 0);
      return result.err;
    };
    // 813 tokens of 3 x 1 tiles and twice 421, or three times 421.
    CHECK(
        warnings(wide, small) ==
        "vl2: warning: 3 pictures in one conversation: none is cut into tiles any more, which takes 1263 tokens instead of 1655, "
        "and small things cannot be read\n");
    CHECK(warnings(small, small).empty());
    CHECK(warnings(wide, small, {"-q"}).empty());
    const ProgramResult run = run_program({"run", "-m", small_model(), "--image", wide, "--image", small, "--image", small, "-p",
                                           "<image>, <image>, <image>", "-n", "1"});
    CHECK(run.err.find("1263 tokens instead of 1655") != std::string::npos);
  }

  TEST_CASE("vl2 chat: what cannot be done ends a script with one line, and nothing after it is done") {
    const TemporaryFolder folder;
    const Words chat = {"chat", "-m", small_model(), "-n", "4"};
    const std::string none = folder / "none.png", out = folder / "out";
    CHECK(refused(chat, "/image " + none + "\nhello\n", none).out.empty());
    CHECK(refused(chat, "/imagine\nhello\n", "/imagine: no such command").out.empty());
    CHECK(refused(chat, "/boxes\n", "no answer").out.empty());
    CHECK(refused(chat, "/regen\n", "nothing was asked").out.empty());
    CHECK(refused(chat, "/save\n", "wanted a file").out.empty());
    CHECK(refused(chat, "/clear all\n", "/clear takes nothing after it").out.empty());
    CHECK(refused(chat, "/save " + folder.path() + "\n", "it is a folder").out.empty());
    CHECK(refused(chat, "bad \xff text\n", "UTF-8").out.empty());
    refused(chat, "hello\n/boxes " + out + "\n", "nothing is written");
    CHECK_FALSE(fs::exists(out));
    CHECK(refused({"chat", "-m", small_model(), "-c", "16"}, "a longer question than sixteen tokens\n", "context").out.empty());
  }

  TEST_CASE("vl2 chat: Ctrl-C ends an answer, not the conversation") {
    const Words words = {"chat", "-m", small_model(), "-n", "3000", "--temp", "2", "--seed", "1"};
    const ProgramResult result =
        run_program(words, {.environment = {}, .input = "Say something.\n/help\n", .interrupt_after_bytes = 3});
    CHECK(result.exit_status == 0);
    CHECK_MESSAGE(result.err.empty(), result.err);
    CHECK(result.out.ends_with("it ends the conversation.\n"));
    CHECK(result.out.find("/image FILE") >= 3);  // behind what there was of the answer
  }

  TEST_CASE("vl2 chat: on a terminal it asks, tells what failed and goes on, and ends with Ctrl-C or Ctrl-D") {
    {
      Terminal terminal({"chat", "-m", small_model(), "-n", "3000", "--temp", "2"});
      terminal.shown_until("> ");
      terminal.type("/image none.png\n");
      terminal.shown_until("vl2: none.png");
      terminal.shown_until("> ");
      terminal.type("hello\n");
      terminal.shown_until("hello\r\n");
      ::usleep(300000);  // some tokens
      terminal.type("\x03");
      terminal.shown_until("> ");  // back at the prompt, some thousand tokens early
      terminal.type("\x03");
      CHECK(terminal.exit_status() == 0);
    }
    Terminal terminal({"chat", "-m", small_model()});
    terminal.shown_until("> ");
    terminal.type("\x04");
    CHECK(terminal.exit_status() == 0);
  }

  TEST_CASE("vl2 chat --session: three processes say what one says") {
    const TemporaryFolder folder;
    const std::string file = folder / "talk.vl2", picture = write_picture(folder / "a.png", 500, 375);
    const Words draw = {"chat", "-m", small_model(), "-n", "30", "--temp", "2", "--seed", "3"};
    Words with_file = draw;
    with_file.insert(with_file.end(), {"--session", file});
    const Words parts = {"/image " + picture + "\nWhat is this?\n", "/regen\nAnd where?\n",
                         "/save " + (folder / "all.json") + "\nWhy?\n"};
    std::string all, one_by_one;
    for (const std::string& part : parts) {
      all += part;
      one_by_one += printed(with_file, part);
    }
    CHECK(one_by_one.size() > 60);
    // /regen counts afresh in each process: here it is the first in both.
    CHECK(printed(draw, all) == one_by_one);
    const json saved = json::parse(read_file(folder / "all.json"));
    CHECK(saved["messages"].size() == 4);
    CHECK(saved["messages"][0]["pictures"][0]["width"] == 500);

    const std::string before = read_file(file);
    const ProgramResult other = refused({"chat", "-m", kPicoModel, "--session", file}, "hello\n", "saved with another model");
    CHECK(other.out.empty());
    write_file(file, before.substr(0, before.size() - 1));
    CHECK(refused(with_file, "hello\n", "wanted " + std::to_string(before.size())).out.empty());
    CHECK(read_file(file).size() + 1 == before.size());
    CHECK(refused({"chat", "-m", small_model(), "--session", folder / "none/talk.vl2"}, "", "is no folder").out.empty());
  }

  TEST_CASE("vl2 ground: a box a line in pixels, the same in JSON with its probability, and drawn") {
    const TemporaryFolder folder;
    const std::string drawn = folder / "drawn.png", by_run = folder / "run.png";
    const Words ground = {"ground", "-m", kPicoModel, "--image", kScene, "the blue circle"};
    const auto with = [&](const Words& more) {
      Words words = ground;
      words.insert(words.end(), more.begin(), more.end());
      return printed(words);
    };
    const std::string line = with({"--annotate", drawn});
    CHECK(line.starts_with("the blue circle  [162, 171, 231, 238]  "));
    CHECK(line.ends_with(" %\n"));
    printed({"run", "-m", kPicoModel, "--image", kScene, "-p", "<|ref|>the blue circle<|/ref|>.", "--annotate", by_run});
    CHECK(read_file(drawn) == read_file(by_run));
    const json answer = json::parse(with({"--json"}));
    REQUIRE(answer["boxes"].size() == 1);
    CHECK(answer["boxes"][0]["pixels"] == json({162, 171, 231, 238}));
    const double probability = answer["boxes"][0]["probability"];
    CHECK(probability > 0);
    CHECK(probability < 1);
    const std::string shown = line.substr(line.rfind("]  ") + 3);
    CHECK(std::stod(shown) == doctest::Approx(100 * probability).epsilon(0.06));  // two digits of it

    refused({"ground", "-m", kPicoModel, "--image", kScene, "<|grounding|>"}, "", "tags");
    refused({"ground", "-m", kPicoModel, "the blue circle"}, "", "--image");
    refused({"ground", "-m", kPicoModel, "--image", folder / "none.png", "it"}, "", "none.png");
  }

  TEST_CASE("vl2 ocr: asks for the text, or what -p says; JSON as run's") {
    const Words ocr = {"ocr", "-m", kPicoModel, "--image", kReceipt};
    const auto with = [&](const Words& more) {
      Words words = ocr;
      words.insert(words.end(), more.begin(), more.end());
      return printed(words);
    };
    CHECK(with({}) == printed({"run", "-m", kPicoModel, "--image", kReceipt, "-p", "What is written in the image?"}));
    CHECK(with({"-p", "What is the total?"}) == "$641.56\n");
    CHECK(json::parse(with({"-p", "What is the total?", "--json"}))["text"] == "$641.56");
  }
}
