// Which item each revision of a job's results belongs to: what a client that streams results reads
// after the revision that it has.
//
// Only an item's latest revision is kept. A job whose fits revise its items again and again must
// not grow with them, so a block of revisions shrinks with the entries that are left in it, and
// goes with the last: never more than some ten bytes an item that has a revision, four where none
// was revised twice.
//
// Threads: none; belongs to its ItemTable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coordinator/core/types.h"

namespace tessera::core {

class RevisionLog {
 public:
  // `item` has got `revision` (from 1 on; each is given once, in any order, as pages are loaded in
  // any) and no longer counts under `previous`, 0 if it had none.
  void Add(uint32_t revision, ItemIndex item, uint32_t previous);
  // The item of `revision` has none any more. Does nothing for 0 or an unknown one.
  void Drop(uint32_t revision);

  // Items whose latest revision is above `after`, by revision, at most `max`.
  std::vector<ItemIndex> After(uint32_t after, size_t max) const;

  size_t bytes() const;

 private:
  static constexpr uint32_t kPerBlock = 256;
  static constexpr ItemIndex kNone = ~ItemIndex{0};

  // Revisions number * kPerBlock + 1 to (number + 1) * kPerBlock. Dense: the item of each, kNone
  // where it was superseded, up to the last. Sparse, from when less than half are left: the places
  // of those, rising, beside their items.
  struct Block {
    std::vector<ItemIndex> items;
    std::vector<uint8_t> places;  // Empty while dense.
    uint32_t live = 0;

    void Put(uint32_t place, ItemIndex item);
    void Erase(uint32_t place);
    void MakeDense();
    void MakeSparse();
  };

  std::vector<Block> blocks_;
};

}  // namespace tessera::core
