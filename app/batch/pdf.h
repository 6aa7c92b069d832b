// PDF files by way of poppler's programs: how many pages, and one page as a picture.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "app/image_file.h"
#include "runtime/status.h"

namespace vl2::batch {

/// Whether pdftoppm and pdfinfo are there.
///
/// Errors  NotFound, with the package that has them
Status check_pdf_programs();

/// Whether a file is a PDF, by its first 1024 bytes, which is where readers look; false for one that cannot be read.
bool begins_as_pdf(const std::string& path);

/// Errors  BadFile: damaged, or locked by a password; Cancelled: `stop` said so; those of run_child
Result<uint32_t> count_pdf_pages(const std::string& path, const std::function<bool()>& stop);

struct PdfPage {
  Image image;
  std::string warning;  ///< the first thing that pdftoppm complained of, although it drew something; mostly empty
};

/// Draws a page, the longer side `long_side` pixels: memory does not depend on how large the page is.
///
/// page    from 1
/// Errors  as count_pdf_pages(); messages begin with the path and the page
Result<PdfPage> draw_pdf_page(const std::string& path, uint32_t page, uint32_t long_side, const std::function<bool()>& stop);

/// The pixels of a binary PPM file (P6, 8 bits): what pdftoppm prints.
///
/// Errors  BadFile
Result<Image> decode_ppm(std::string_view file);

}  // namespace vl2::batch
