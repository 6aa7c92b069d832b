#include "app/batch/page_list.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <glob.h>
#include <iostream>
#include <string_view>
#include <thread>
#include <utility>

#include "app/batch/pdf.h"

namespace vl2::batch {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kNoEnd = UINT32_MAX;
constexpr std::array kPictureEndings = {".png", ".jpg", ".jpeg", ".webp", ".bmp"};

std::string ending_of(const std::string& path) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

bool is_picture_name(const std::string& path) {
  return std::find(kPictureEndings.begin(), kPictureEndings.end(), ending_of(path)) != kPictureEndings.end();
}

// Names decide, as files need not be opened for it then; the first bytes where the name says nothing.
bool is_pdf(const std::string& path) {
  return ending_of(path) == ".pdf" || (!is_picture_name(path) && begins_as_pdf(path));
}

bool take_page(std::string_view& text, uint32_t& page) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), page);
  if (error != std::errc() || page == 0)
    return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

uint32_t hash_text(const std::string& text, uint32_t seed) {
  uint64_t hash = 0xcbf29ce484222325ull ^ seed;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

// ---- PageRanges ----------------------------------------------------------------------------------------------------------------

Result<PageRanges> PageRanges::parse(const std::string& text) {
  const Status bad = fail(Code::BadArgument, "--pages ", text, ": wanted pages from 1 as in 1-3,7,9-");
  PageRanges result;
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  for (std::string_view rest = text; !rest.empty();) {
    uint32_t first = 0;
    if (!take_page(rest, first))
      return bad;
    uint32_t last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = kNoEnd;
      if (!rest.empty() && rest[0] != ',' && !take_page(rest, last))
        return bad;
    }
    if (last < first || (!rest.empty() && (rest[0] != ',' || rest.size() == 1)))
      return bad;
    if (!rest.empty())
      rest.remove_prefix(1);
    ranges.emplace_back(first, last);
  }
  std::sort(ranges.begin(), ranges.end());
  for (const auto& range : ranges) {
    if (!result.ranges_.empty() && range.first <= result.ranges_.back().second)
      result.ranges_.back().second = std::max(result.ranges_.back().second, range.second);
    else
      result.ranges_.push_back(range);
  }
  return result;
}

uint32_t PageRanges::count(uint32_t pages) const {
  if (ranges_.empty())
    return pages;
  uint32_t count = 0;
  for (const auto& [first, last] : ranges_)
    if (first <= pages)
      count += std::min(last, pages) - first + 1;
  return count;
}

uint32_t PageRanges::nth(uint32_t k, uint32_t pages) const {
  for (const auto& [first, last] : ranges_) {
    const uint32_t here = first <= pages ? std::min(last, pages) - first + 1 : 0;
    if (k < here)
      return first + k;
    k -= here;
  }
  return k + 1;
}

// ---- PageList ------------------------------------------------------------------------------------------------------------------

Result<PageList> PageList::make(const PageListOptions& options, const std::function<bool()>& stop) {
  PageList list;
  VL2_ASSIGN(list.ranges_, PageRanges::parse(options.pages));
  for (const std::string& input : options.inputs)
    VL2_TRY(input == "-" ? list.add_list(input, options.recursive) : list.add(input, options.recursive, true));
  if (!options.list.empty())
    VL2_TRY(list.add_list(options.list, options.recursive));
  VL2_TRY(list.count_pages(stop));
  if (list.size() == 0)
    return fail(Code::BadArgument, "batch: ",
                list.inputs_.empty() ? "no pictures and no PDF files there"
                                     : "--pages " + options.pages + ": none of the PDF files has these");
  return list;
}

Status PageList::add(const std::string& path, bool recursive, bool must_exist) {
  std::error_code error;
  const auto kind = fs::status(path, error);
  if (fs::is_directory(kind))
    return add_folder(path, recursive);
  if (fs::is_regular_file(kind)) {
    inputs_.push_back({path, fs::file_size(path, error), 0, {}});
    return {};
  }
  if (!must_exist) {
    inputs_.push_back({path, 0, 0, path + (fs::exists(kind) ? ": is no regular file" : ": no such file")});
    return {};
  }
  if (fs::exists(kind))
    return fail(Code::BadArgument, path, ": is no regular file and no folder");
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    return fail(Code::IoError, path, ": cannot be read: ", error.message());
  if (path.find_first_of("*?[") != std::string::npos)
    return add_pattern(path, recursive);
  return fail(Code::NotFound, path, ": no such file or folder");
}

Status PageList::add_folder(const std::string& path, bool recursive) {
  std::vector<std::string> files, folders = {path};
  while (!folders.empty()) {
    const std::string folder = std::exchange(folders.back(), {});
    folders.pop_back();
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string file = entry->path().string(), name = entry->path().filename().string();
      std::error_code ignored;
      if (name.starts_with('.'))
        continue;
      if (entry->is_directory(ignored)) {
        if (recursive && !entry->is_symlink(ignored))  // a link may lead back up
          folders.push_back(file);
      } else if (is_picture_name(file) || ending_of(file) == ".pdf") {
        files.push_back(file);
      }
    }
    if (error)
      return fail(Code::IoError, folder, ": the folder cannot be read: ", error.message());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files)
    VL2_TRY(add(file, false, false));
  return {};
}

Status PageList::add_pattern(const std::string& pattern, bool recursive) {
  glob_t found{};
  const int problem = ::glob(pattern.c_str(), GLOB_ERR, nullptr, &found);
  const std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + (problem == 0 ? found.gl_pathc : 0));  // sorted
  ::globfree(&found);
  if (problem != 0)
    return fail(Code::NotFound, pattern,
                problem == GLOB_NOMATCH ? ": no file or folder has such a name" : ": a folder cannot be read");
  for (const std::string& path : paths)
    VL2_TRY(add(path, recursive, true));
  return {};
}

Status PageList::add_list(const std::string& path, bool recursive) {
  std::ifstream file;
  if (path != "-") {
    std::error_code error;
    file.open(path);
    if (!file || fs::is_directory(path, error))
      return fail(Code::NotFound, path, ": the list cannot be read: ", file ? "it is a folder" : std::strerror(errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r')
      line.pop_back();
    if (line.find('\0') != std::string::npos)
      return fail(Code::BadFile, path == "-" ? "standard input" : path, ": wanted a path a line, and got a zero byte");
    if (!line.empty())
      VL2_TRY(add(line, recursive, false));
  }
  return in.bad() ? fail(Code::IoError, path, ": the list cannot be read: ", std::strerror(errno)) : Status();
}

// Several at a time, since each one starts a program.
Status PageList::count_pages(const std::function<bool()>& stop) {
  std::vector<size_t> documents;
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].problem.empty() && is_pdf(inputs_[i].path))
      documents.push_back(i);
  if (!documents.empty())
    VL2_TRY(check_pdf_programs());
  std::atomic<size_t> next{0};
  const auto count = [&] {
    for (size_t at = next++; at < documents.size() && !stop(); at = next++) {
      Input& input = inputs_[documents[at]];
      auto pages = count_pdf_pages(input.path, stop);
      if (pages.ok() && *pages > input.file_bytes)
        pages = fail(Code::BadFile, *pages, " pages in a file of ", input.file_bytes, " bytes");
      if (pages.ok())
        input.pdf_pages = *pages;
      else
        input.problem = input.path + ": " + pages.message();
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min<size_t>(documents.size(), std::clamp(std::thread::hardware_concurrency(), 1u, 8u)); ++i)
    threads.emplace_back(count);
  for (std::thread& thread : threads)
    thread.join();
  if (stop())
    return fail(Code::Cancelled, "batch: stopped");
  for (const Input& input : inputs_)
    starts_.push_back(starts_.back() + (input.pdf_pages > 0 ? ranges_.count(input.pdf_pages) : 1));
  return {};
}

Page PageList::at(uint64_t index) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), index);
  const size_t at = static_cast<size_t>(after - starts_.begin()) - 1;
  const Input& input = inputs_[at];
  const auto k = static_cast<uint32_t>(index - starts_[at]);
  return {index, input.path, input.pdf_pages > 0 ? ranges_.nth(k, input.pdf_pages) : 0, input.file_bytes, input.problem};
}

uint64_t PageList::input_end(uint64_t index) const {
  return *std::upper_bound(starts_.begin(), starts_.end(), index);
}

ListBefore PageList::before(const std::map<std::string, FailedInput>& failed) const {
  ListBefore list;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const auto then = failed.find(inputs_[i].path);
    const bool known = then != failed.end();
    const uint64_t bytes = known ? then->second.file_bytes : inputs_[i].file_bytes;
    list.page_count += known && then->second.as_a_whole ? 1 : starts_[i + 1] - starts_[i];
    list.signature =
        hash_text(inputs_[i].path + '\0' + std::to_string(bytes) + '\0' + std::to_string(list.page_count), list.signature);
  }
  return list;
}

}  // namespace vl2::batch
