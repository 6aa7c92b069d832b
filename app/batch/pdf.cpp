#include "app/batch/pdf.h"

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string_view>

#include "app/batch/child_process.h"

namespace vl2::batch {

namespace {

constexpr int kSeconds = 120;  // a page of a map takes some; one that never ends is an error of that page alone

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// A name that begins with a hyphen would be taken for an option.
std::string as_file(const std::string& path) {
  return path.starts_with('-') ? "./" + path : path;
}

Status problem_of(const ChildOutput& output, const char* program) {
  if (output.exit_status < 0)
    return fail(Code::BadFile, program, " was ended by signal ", -output.exit_status);
  const std::string said = first_line(output.err);
  return fail(Code::BadFile, program, ": ", said.empty() ? "exit status " + std::to_string(output.exit_status) : said);
}

// The next number of a PPM's header, and the one character behind it.
bool take_number(std::string_view& text, uint32_t& number) {
  while (!text.empty() && (text[0] == ' ' || text[0] == '\n' || text[0] == '\t' || text[0] == '\r'))
    text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size())
    return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return true;
}

}  // namespace

Status check_pdf_programs() {
  for (const char* name : {"pdftoppm", "pdfinfo"})
    if (!find_program(name))
      return fail(Code::NotFound, name, ", which PDF files are read with, was not found: install poppler-utils");
  return {};
}

bool begins_as_pdf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::array<char, 1024> start{};
  in.read(start.data(), start.size());
  return std::string_view(start.data(), static_cast<size_t>(in.gcount())).find("%PDF-") != std::string_view::npos;
}

Result<uint32_t> count_pdf_pages(const std::string& path, const std::function<bool()>& stop) {
  VL2_ASSIGN(const ChildOutput output, run_child({"pdfinfo", as_file(path)}, {.seconds = kSeconds}, stop));
  if (output.exit_status != 0)
    return problem_of(output, "pdfinfo");
  constexpr std::string_view kMark = "\nPages:";
  const std::string text = "\n" + output.out;
  const size_t at = text.rfind(kMark);  // the last: titles, which can hold anything, come before
  if (at == std::string::npos)
    return fail(Code::BadFile, "pdfinfo says nothing about its pages");
  const size_t digits = text.find_first_not_of(" \t", at + kMark.size());
  uint32_t pages = 0;
  if (digits != std::string::npos)
    std::from_chars(text.data() + digits, text.data() + text.size(), pages);
  if (pages == 0)
    return fail(Code::BadFile, "a PDF file without pages");
  return pages;
}

Result<PdfPage> draw_pdf_page(const std::string& path, uint32_t page, uint32_t long_side, const std::function<bool()>& stop) {
  const auto in_place = [&](const Status& status) { return fail(status.code(), path, ", page ", page, ": ", status.message()); };
  const std::string number = std::to_string(page), side = std::to_string(long_side);
  const ChildLimits limits = {.out_bytes = size_t{long_side} * long_side * 3 + 1024, .seconds = kSeconds};
  const auto output = run_child({"pdftoppm", "-f", number, "-l", number, "-scale-to", side, as_file(path)}, limits, stop);
  if (!output.ok())
    return in_place(output.status());
  if (output->exit_status != 0)
    return in_place(problem_of(*output, "pdftoppm"));
  auto image = decode_ppm(output->out);
  if (!image.ok())
    return in_place(output->err.empty() ? image.status() : problem_of(*output, "pdftoppm"));
  return PdfPage{image.take(), first_line(output->err)};
}

Result<Image> decode_ppm(std::string_view file) {
  Image image;
  uint32_t largest = 0;
  std::string_view rest = file;
  if (!rest.starts_with("P6"))
    return fail(Code::BadFile, "ppm: ", file.empty() ? "nothing was drawn" : "the file does not begin with P6");
  rest.remove_prefix(2);
  if (!take_number(rest, image.width) || !take_number(rest, image.height) || !take_number(rest, largest) || largest != 255)
    return fail(Code::BadFile, "ppm: a header that is none");
  const uint64_t bytes = uint64_t{image.width} * image.height * 3;
  if (bytes == 0 || bytes / 3 > kMaxImagePixels || rest.size() != bytes)
    return fail(Code::BadFile, "ppm: ", image.width, " x ", image.height, " pixels in ", rest.size(), " bytes");
  image.rgb.assign(rest.begin(), rest.end());
  return image;
}

}  // namespace vl2::batch
