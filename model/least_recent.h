// Which keys have which of a number of places, of which the one that was not used for longest is given up first.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

namespace vl2 {

class LeastRecent {
 public:
  /// All places are free; keys are 0 .. keys - 1.
  LeastRecent(uint32_t keys, uint32_t places);
  /// Moved only: a copy's order would be the original's.
  LeastRecent(LeastRecent&&) = default;

  /// The place of a key, or -1.
  int find(uint32_t key) const { return place_of_[key]; }
  uint32_t places() const { return static_cast<uint32_t>(key_of_.size()); }
  bool full() const { return used_ == places(); }

  /// Makes a place the one that was used last.
  void use(uint32_t place) { order_.splice(order_.begin(), order_, where_[place]); }
  /// Makes it the one that is given up next, once none is free.
  void age(uint32_t place);
  /// Gives a key that has none a place, a free one or else that which was not used for longest, and makes it the one used last.
  uint32_t take(uint32_t key);
  /// Frees the place of a key, if it has one.
  void drop(uint32_t key);

 private:
  std::vector<int> place_of_, key_of_;                // -1: none
  std::list<uint32_t> order_;                         // places, used last first; free ones at the end
  std::vector<std::list<uint32_t>::iterator> where_;  // in it
  uint32_t used_ = 0;
};

}  // namespace vl2
