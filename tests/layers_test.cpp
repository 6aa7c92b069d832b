// Who includes whom: shaders/interface | runtime | runtime/ops | model | app, each itself and what stands to its left.
#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace {

namespace fs = std::filesystem;

// The layer of a path from the project's root, or -1 for one that belongs to none.
int layer_of(const std::string& path) {
  const std::vector<std::string> prefixes = {"shaders/interface/", "runtime/", "runtime/ops/", "model/", "app/"};
  int layer = -1;
  for (size_t i = 0; i < prefixes.size(); ++i)
    if (path.rfind(prefixes[i], 0) == 0)
      layer = static_cast<int>(i);
  return layer;
}

std::string quoted_include(const std::string& line) {
  const std::string start = "#include \"";
  if (line.rfind(start, 0) != 0)
    return "";
  std::string path = line.substr(start.size(), line.find('"', start.size()) - start.size());
  return path.rfind("interface/", 0) == 0 ? "shaders/" + path : path;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("layers: no file includes what stands above it") {
    const fs::path root = vl2::source_dir();
    int seen = 0;
    for (const char* folder : {"shaders/interface", "runtime", "model", "app"}) {
      for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
        const std::string extension = entry.path().extension().string();
        if (extension != ".h" && extension != ".cpp")
          continue;
        const std::string path = fs::relative(entry.path(), root).string();
        std::ifstream file(entry.path());
        for (std::string line; std::getline(file, line);) {
          const std::string included = quoted_include(line);
          if (layer_of(included) < 0)
            continue;
          ++seen;
          CHECK_MESSAGE(layer_of(included) <= layer_of(path), path << " includes " << included);
        }
      }
    }
    CHECK(seen > 100);  // the lines were found at all
  }

  TEST_CASE("layers: what a user of the library can do is all that run does") {
    const fs::path root = vl2::source_dir();
    // Of the C++ below the API they see Status alone, by way of these.
    const std::vector<std::string> allowed = {
        "app/annotate.h",   "app/answering.h", "app/dry_run.h",     "app/commands/commands.h",
        "app/image_file.h", "app/interrupt.h", "app/line_reader.h", "app/output_path.h",
        "app/progress.h",   "app/vl2.h",       "app/vl2_handles.h"};
    for (const std::string path : {"app/answering.cpp", "app/dry_run.cpp", "app/commands/chat.cpp", "app/commands/run.cpp"}) {
      std::ifstream file(root / path);
      int seen = 0;
      for (std::string line; std::getline(file, line);) {
        const std::string included = quoted_include(line);
        if (included.empty())
          continue;
        ++seen;
        CHECK_MESSAGE(std::count(allowed.begin(), allowed.end(), included) == 1, path << " includes " << included);
      }
      CHECK(seen >= 2);
    }
    for (const std::string& path : allowed) {
      std::ifstream file(root / path);
      for (std::string line; std::getline(file, line);) {
        const std::string included = quoted_include(line);
        CHECK_MESSAGE((layer_of(included) < 0 || layer_of(included) == 4 || included == "runtime/status.h"),
                      path << " includes " << included);
      }
    }
    std::ifstream header(root / "app/vl2.h");
    std::string includes;
    for (std::string line; std::getline(header, line);)
      if (line.rfind("#include", 0) == 0)
        includes += line + "\n";
    CHECK(includes == "#include <stddef.h>\n#include <stdint.h>\n");
  }

  TEST_CASE("layers: a batch, too, is made of what a user of the library has") {
    const fs::path root = vl2::source_dir();
    const std::vector<std::string> program = {"app/answering.h",  "app/commands/commands.h", "app/dry_run.h",  "app/image_file.h",
                                              "app/interrupt.h",  "app/output_path.h",       "app/progress.h", "app/vl2.h",
                                              "app/vl2_handles.h"};
    std::vector<fs::path> files = {root / "app/commands/batch.cpp"};
    for (const auto& entry : fs::directory_iterator(root / "app/batch"))
      files.push_back(entry.path());
    int seen = 0;
    for (const fs::path& path : files) {
      std::ifstream file(path);
      for (std::string line; std::getline(file, line);) {
        const std::string included = quoted_include(line);
        seen += included.empty() ? 0 : 1;
        CHECK_MESSAGE((included.empty() || included.rfind("app/batch/", 0) == 0 || included == "runtime/status.h" ||
                       std::count(program.begin(), program.end(), included) == 1),
                      path.string() << " includes " << included);
      }
    }
    CHECK(seen > 20);
  }

  TEST_CASE("layers: the server stands on the C API, and only its command knows the rest of the program") {
    const fs::path root = vl2::source_dir();
    const std::vector<std::string> command_too = {"app/commands/commands.h", "app/interrupt.h", "app/progress.h",
                                                  "app/vl2_handles.h"};
    std::vector<fs::path> files = {root / "app/commands/serve.cpp"};
    for (const auto& entry : fs::directory_iterator(root / "app/server"))
      files.push_back(entry.path());
    int of_vl2 = 0;
    for (const fs::path& path : files) {
      std::ifstream file(path);
      for (std::string line; std::getline(file, line);) {
        const std::string included = quoted_include(line);
        of_vl2 += included == "app/vl2.h";
        const bool command = path == files.front() && std::count(command_too.begin(), command_too.end(), included) == 1;
        CHECK_MESSAGE((included.empty() || included == "app/vl2.h" || included == "app/reply_numbers.h" ||
                       included.rfind("app/server/", 0) == 0 || command),
                      path.string() << " includes " << included);
      }
    }
    CHECK(of_vl2 == 1);  // vl2_backend.h: the rest is built and tested without a model
  }

  TEST_CASE("layers: only runtime includes Vulkan, and a third-party header stands in few files") {
    const fs::path root = vl2::source_dir();
    for (const char* folder : {"model", "app"})
      for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
        const std::string extension = entry.path().extension().string();
        if (extension != ".h" && extension != ".cpp")
          continue;
        std::ifstream file(entry.path());
        for (std::string line; std::getline(file, line);) {
          CHECK_MESSAGE(line.find("#include <volk") == std::string::npos, entry.path().string());
          CHECK_MESSAGE(line.find("#include <vulkan") == std::string::npos, entry.path().string());
        }
      }
  }
}
