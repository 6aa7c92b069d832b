#include "app/output_path.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <unistd.h>

namespace vl2 {

namespace fs = std::filesystem;

namespace {

Status check_writable(const std::string& path, const fs::path& folder) {
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return fail(Code::IoError, path, ": cannot be written: ", std::strerror(errno));
  return {};
}

}  // namespace

Status check_output_file(const std::string& path) {
  if (path.empty())
    return {};
  std::error_code error;
  if (fs::is_directory(path, error))
    return fail(Code::IoError, path, ": cannot be written: it is a folder");
  const fs::path parent = fs::path(path).parent_path();
  const fs::path folder = parent.empty() ? fs::path(".") : parent;
  if (!fs::is_directory(folder, error))
    return fail(Code::IoError, path, ": cannot be written: ", folder.string(), " is no folder");
  return check_writable(path, folder);
}

Status make_output_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    return fail(Code::IoError, path, ": cannot be made a folder", error ? ": " + error.message() : std::string());
  return check_writable(path, path);
}

Status replace_text_file(const std::string& path, const std::string& text) {
  VL2_TRY(check_output_file(path));
  const std::string beside = path + ".part-" + std::to_string(::getpid());
  std::error_code error;
  std::ofstream file(beside, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) {
    const int why = errno;
    fs::remove(beside, error);
    return fail(Code::IoError, path, ": cannot be written: ", std::strerror(why));
  }
  fs::rename(beside, path, error);
  if (!error)
    return {};
  const std::string why = error.message();
  fs::remove(beside, error);
  return fail(Code::IoError, path, ": cannot be written: ", why);
}

}  // namespace vl2
