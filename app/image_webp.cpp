// WebP to RGB, through libwebp where the build has it.
#include "app/image_decoders.h"

#ifdef VL2_HAVE_WEBP
#include <webp/decode.h>
#endif

namespace vl2 {

#ifdef VL2_HAVE_WEBP
Result<Image> decode_webp(Bytes file) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(file.data(), file.size(), &features) != VP8_STATUS_OK)
    return fail(Code::BadFile, "WebP: truncated or corrupt header in ", file.size(), " bytes");
  if (features.has_animation != 0)
    return fail(Code::Unsupported, "WebP: this one is animated; save one frame of it");
  VL2_ASSIGN(Image image, new_image("WebP", static_cast<uint64_t>(features.width), static_cast<uint64_t>(features.height)));
  // Alpha is dropped: libwebp leaves the colours of transparent pixels as they are.
  if (WebPDecodeRGBInto(file.data(), file.size(), image.rgb.data(), image.rgb.size(), features.width * 3) == nullptr)
    return fail(Code::BadFile, "WebP: truncated or corrupt: its data does not unpack to ", features.width, " x ", features.height,
                " pixels");
  return image;
}
#else
Result<Image> decode_webp(Bytes) {
  return fail(Code::Unsupported, "WebP: this program was built without libwebp; run third_party/setup.sh and build again");
}
#endif

}  // namespace vl2
