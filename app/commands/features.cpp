#include <cstdio>

#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "app/output_path.h"
#include "app/tensor_file.h"
#include "model/session.h"

namespace vl2 {

Status features_command(const FeaturesOptions& options) {
  VL2_ASSIGN(const std::vector<Image> images, read_images(options.images));
  VL2_ASSIGN(const auto engine, load_engine(options.model, images));
  VL2_ASSIGN(const auto session, Session::create(*engine));
  VL2_TRY(make_output_folder(options.out));
  for (size_t k = 0; k < images.size(); ++k) {
    VL2_ASSIGN(const EncodedPicture encoded, session->encode(picture_of(images[k]), static_cast<uint32_t>(images.size())));
    const std::string suffix = "_" + std::to_string(k) + ".npy";
    VL2_TRY(save_tensor(session->recorder(), encoded.features, options.out + "/vision" + suffix));
    VL2_TRY(save_tensor(session->recorder(), encoded.tokens, options.out + "/projector" + suffix));
    VL2_TRY(save_tensor(session->recorder(), encoded.sequence, options.out + "/sequence" + suffix));
    std::printf("%s: tiles %u x %u, %u tokens\n", options.images[k].c_str(), encoded.grid.width, encoded.grid.height,
                encoded.sequence.dim(0));
  }
  return {};
}

}  // namespace vl2
