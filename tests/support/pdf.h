// Small PDF files for tests: a line of large text a page.
#pragma once

#include <string>
#include <vector>

namespace vl2 {

/// The bytes of a PDF whose k-th page, 200 x 100 points, says texts[k] (ASCII without brackets and backslashes).
inline std::string pdf_of(const std::vector<std::string>& texts) {
  std::string kids, file = "%PDF-1.4\n";
  std::vector<size_t> places;
  const auto add = [&](const std::string& body) {
    places.push_back(file.size());
    file += std::to_string(places.size()) + " 0 obj\n" + body + "\nendobj\n";
  };
  for (size_t i = 0; i < texts.size(); ++i)
    kids += std::to_string(4 + 2 * i) + " 0 R ";
  add("<< /Type /Catalog /Pages 2 0 R >>");
  add("<< /Type /Pages /Count " + std::to_string(texts.size()) + " /Kids [" + kids + "] >>");
  add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>");
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string drawing = "BT /F1 24 Tf 20 40 Td (" + texts[i] + ") Tj ET";
    add("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents " + std::to_string(5 + 2 * i) +
        " 0 R /Resources << /Font << /F1 3 0 R >> >> >>");
    add("<< /Length " + std::to_string(drawing.size()) + " >>\nstream\n" + drawing + "\nendstream");
  }
  const size_t table = file.size();
  file += "xref\n0 " + std::to_string(places.size() + 1) + "\n0000000000 65535 f \n";
  for (const size_t place : places) {
    const std::string digits = std::to_string(place);
    file += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
  }
  return file + "trailer\n<< /Size " + std::to_string(places.size() + 1) + " /Root 1 0 R >>\nstartxref\n" +
         std::to_string(table) + "\n%%EOF\n";
}

}  // namespace vl2
