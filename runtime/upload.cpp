#include "runtime/upload.h"

#include <algorithm>
#include <cstring>

#include "runtime/device.h"
#include "runtime/recorder.h"

namespace vl2 {

// One piece of the ring: a staging buffer, and the recorder whose submission reads it.
struct Uploader::Slot {
  explicit Slot(Device& device) : recorder(device) {}
  Recorder recorder;
  std::unique_ptr<Buffer> staging;
};

Uploader::Uploader(Device& device) : device_(device) {}
Uploader::~Uploader() = default;

Result<Uploader::Slot*> Uploader::take_slot(uint64_t bytes) {
  std::unique_ptr<Slot>& slot = slots_[next_slot_];
  next_slot_ = (next_slot_ + 1) % std::size(slots_);
  if (slot == nullptr)
    slot = std::make_unique<Slot>(device_);
  VL2_TRY(slot->recorder.finish());
  if (slot->staging == nullptr || slot->staging->bytes() < bytes) {
    VL2_ASSIGN(slot->staging, device_.memory().allocate(bytes, MemoryKind::Upload, "staging"));
  }
  return slot.get();
}

Status Uploader::upload(const Buffer& buffer, uint64_t place, uint64_t bytes, uint64_t piece_bytes, const UploadSource& source) {
  if (place > buffer.bytes() || bytes > buffer.bytes() - place || piece_bytes == 0)
    return fail(Code::BadArgument, "upload: ", bytes, " bytes in pieces of ", piece_bytes, " to byte ", place, " of a buffer of ",
                buffer.bytes());
  if (!device_.executes() && (device_.memory().maps_device_buffers() || buffer.kind() == MemoryKind::Host))
    return {};
  const uint64_t chunk = std::max<uint64_t>(kStagingBytes / piece_bytes, 1) * piece_bytes;
  for (uint64_t first = 0; first < bytes; first += chunk) {
    const uint64_t count = std::min(chunk, bytes - first);
    if (buffer.mapped() != nullptr) {
      VL2_TRY(source(first, {buffer.mapped() + place + first, count}));
      VL2_TRY(buffer.flush(place + first, count));
      continue;
    }
    VL2_ASSIGN(Slot * slot, take_slot(std::max(count, std::min(kStagingBytes, bytes))));
    if (!device_.executes())  // there is nothing to fill; what it would be staged in counts all the same
      continue;
    VL2_TRY(source(first, {slot->staging->mapped(), count}));
    VL2_TRY(slot->staging->flush(0, count));
    const auto elements = static_cast<uint32_t>(count);
    VL2_TRY(slot->recorder.copy(make_view(*slot->staging, DType::U8, {elements}),
                                make_view(buffer, DType::U8, {elements}, place + first)));
    VL2_TRY(slot->recorder.submit());
  }
  return {};
}

Status Uploader::finish() {
  for (const auto& slot : slots_)
    if (slot != nullptr)
      VL2_TRY(slot->recorder.finish());
  return {};
}

Status upload_bytes(Device& device, const Buffer& buffer, std::span<const std::byte> bytes, uint64_t place) {
  Uploader uploader(device);
  VL2_TRY(uploader.upload(buffer, place, bytes.size(), 1, [&](uint64_t first, std::span<std::byte> target) -> Status {
    std::memcpy(target.data(), bytes.data() + first, target.size());
    return {};
  }));
  return uploader.finish();
}

}  // namespace vl2
