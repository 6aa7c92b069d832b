#include <cstdio>
#include <cstring>

#include "app/commands/commands.h"
#include "app/model_loading.h"
#include "app/output_path.h"
#include "model/chat_template.h"
#include "model/npy.h"
#include "model/session.h"
#include "model/tokenizer.h"

namespace vl2 {

namespace {

Result<std::vector<uint32_t>> read_ids(const std::string& path) {
  VL2_ASSIGN(const NpyArray array, read_npy(path));
  if (array.shape.size() != 1 || (array.dtype != NpyDType::I32 && array.dtype != NpyDType::I64))
    return fail(Code::BadFile, path, ": wanted i32 or i64 [T]");
  if (array.shape[0] == 0)
    return fail(Code::BadArgument, path, ": holds no ids");
  std::vector<uint32_t> ids(array.shape[0]);
  for (size_t i = 0; i < ids.size(); ++i) {
    int64_t id = 0;
    if (array.dtype == NpyDType::I64) {
      std::memcpy(&id, &array.data[8 * i], 8);
    } else {
      int32_t narrow = 0;
      std::memcpy(&narrow, &array.data[4 * i], 4);
      id = narrow;
    }
    if (id < 0 || id > UINT32_MAX)
      return fail(Code::BadArgument, path, ": token ", i, " is id ", id);
    ids[i] = static_cast<uint32_t>(id);
  }
  return ids;
}

// Each picture takes the next run of image tokens.
Result<std::vector<PictureRun>> find_runs(const std::vector<uint32_t>& ids, uint32_t image_id,
                                          const std::vector<EncodedPicture>& pictures) {
  std::vector<PictureRun> runs;
  uint32_t at = 0;
  const auto count = static_cast<uint32_t>(ids.size());
  for (const EncodedPicture& picture : pictures) {
    while (at < count && ids[at] != image_id)
      ++at;
    const uint32_t rows = picture.sequence.dim(0);
    for (uint32_t i = 0; i < rows; ++i)
      if (at + i >= count || ids[at + i] != image_id)
        return fail(Code::BadArgument, "logits: picture ", runs.size(), " takes ", rows, " image tokens (id ", image_id,
                    "), the ids have ", i, " at ", at);
    runs.push_back({at, &picture});
    at += rows;
  }
  for (; at < count; ++at)
    if (ids[at] == image_id)
      return fail(Code::BadArgument, "logits: token ", at, " is an image token, and no picture is left for it");
  return runs;
}

Result<uint32_t> image_token_id(const LogitsOptions& options) {
  if (options.image_token_id >= 0)
    return static_cast<uint32_t>(options.image_token_id);
  VL2_ASSIGN(const auto tokenizer, load_tokenizer(options.model.model));
  VL2_ASSIGN(const ControlIds control, ControlIds::find(tokenizer));
  return control.image;
}

Status write_greedy(Session& session, const LogitsOptions& options) {
  VL2_ASSIGN(const std::vector<uint32_t> ids, session.decode(options.greedy, {}));
  for (const uint32_t id : ids)
    std::printf("%u ", id);
  std::printf("\n");
  if (options.greedy_out.empty())
    return {};
  const uint64_t shape[] = {ids.size()};
  return write_npy(options.greedy_out, NpyDType::I32, shape, std::as_bytes(std::span(ids)));
}

}  // namespace

Status logits_command(const LogitsOptions& options) {
  VL2_TRY(check_output_file(options.out));
  VL2_TRY(check_output_file(options.greedy_out));
  VL2_ASSIGN(const std::vector<uint32_t> ids, read_ids(options.ids));
  if (options.last == 0 || options.last > ids.size())
    return fail(Code::BadArgument, "logits: --last ", options.last, ", wanted 1 to ", ids.size(), ", the number of ids");
  VL2_ASSIGN(const std::vector<Image> images, read_images(options.images));
  uint32_t image_id = UINT32_MAX;
  if (!images.empty() || options.image_token_id >= 0) {
    VL2_ASSIGN(image_id, image_token_id(options));
  }
  VL2_ASSIGN(const auto engine, load_engine(options.model, images));
  VL2_ASSIGN(const auto session, Session::create(*engine));
  std::vector<EncodedPicture> pictures;
  for (const Image& image : images) {
    VL2_ASSIGN(EncodedPicture encoded, session->encode(picture_of(image), static_cast<uint32_t>(images.size())));
    pictures.push_back(std::move(encoded));
  }
  VL2_ASSIGN(const std::vector<PictureRun> runs, find_runs(ids, image_id, pictures));
  std::vector<float> logits;
  const LogitsRequest request{options.last, &logits};
  VL2_TRY(session->prefill(ids, runs, request));
  const uint64_t vocab = engine->config().language.vocab_size;
  const uint64_t shape[] = {logits.size() / vocab, vocab};
  if (!options.out.empty())
    VL2_TRY(write_npy(options.out, NpyDType::F32, shape, std::as_bytes(std::span(logits))));
  return options.greedy > 0 ? write_greedy(*session, options) : Status{};
}

}  // namespace vl2
