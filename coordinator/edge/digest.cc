#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "coordinator/core/archive.h"
#include "coordinator/edge/host.h"

namespace tessera::edge {
namespace {

// Fixed and public: the digest compares states, it keeps no secret. Two make it 128 bits wide.
constexpr SipKey kKeys[] = {{0x7465737365726120, 0x737461746520646e},
                            {0x6469676573742066, 0x6f72206275676720}};

}  // namespace

std::string StateDigest(const core::PartitionState& state) {
  uint64_t digest[2] = {0, 0};
  std::string chained;
  state.ForEachObject([&](const core::ObjectKey& key, absl::string_view bytes) {
    // Each object is hashed with the digest of those before it. Lengths keep two neighbours apart.
    for (int i = 0; i < 2; ++i) {
      chained.clear();
      core::Writer writer(&chained);
      writer.Put(digest[i]);
      writer.Put(key.ToString());
      writer.PutVarint(bytes.size());
      absl::StrAppend(&chained, bytes);
      digest[i] = SipHash24(kKeys[i], chained);
    }
  });
  return absl::StrCat(absl::Hex(digest[0], absl::kZeroPad16),
                      absl::Hex(digest[1], absl::kZeroPad16));
}

}  // namespace tessera::edge
