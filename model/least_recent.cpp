#include "model/least_recent.h"

#include <cassert>
#include <iterator>

namespace vl2 {

LeastRecent::LeastRecent(uint32_t keys, uint32_t places) : place_of_(keys, -1), key_of_(places, -1) {
  for (uint32_t place = 0; place < places; ++place)
    where_.push_back(order_.insert(order_.end(), place));
}

uint32_t LeastRecent::take(uint32_t key) {
  assert(place_of_[key] < 0);
  const uint32_t place = order_.back();
  if (key_of_[place] >= 0)
    place_of_[static_cast<uint32_t>(key_of_[place])] = -1;
  else
    ++used_;
  key_of_[place] = static_cast<int>(key);
  place_of_[key] = static_cast<int>(place);
  use(place);
  return place;
}

void LeastRecent::age(uint32_t place) {
  const auto first_free = std::prev(order_.end(), static_cast<std::ptrdiff_t>(places() - used_));
  order_.splice(first_free, order_, where_[place]);
}

void LeastRecent::drop(uint32_t key) {
  if (place_of_[key] < 0)
    return;
  const auto place = static_cast<uint32_t>(place_of_[key]);
  place_of_[key] = key_of_[place] = -1;
  --used_;
  order_.splice(order_.end(), order_, where_[place]);
}

}  // namespace vl2
