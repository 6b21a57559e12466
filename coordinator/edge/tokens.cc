#include "coordinator/edge/tokens.h"

namespace tessera::edge {

std::string TokenCheck(const IdMaker& ids, absl::string_view purpose, absl::string_view scope,
                       absl::string_view bytes) {
  // Lengths in front: no two triples are written alike.
  const uint64_t digest = ids.Digest(
      "token", absl::StrCat(purpose.size(), " ", scope.size(), " ", purpose, scope, bytes));
  std::string head;
  for (int i = 0; i < 5; ++i) head.push_back(static_cast<char>(digest >> (8 * i)));
  return Base32(head).substr(0, 7);
}

}  // namespace tessera::edge
