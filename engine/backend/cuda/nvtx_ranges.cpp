// Ranges carry a registered name, a category and a number.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/nvtx_ranges.h"

#include <iterator>

namespace sala {
namespace {

/// Category 0 means none.
std::uint32_t category_of(RangeKind kind) {
  return static_cast<std::uint32_t>(kind) + 1;
}

}  // namespace

NvtxRanges::NvtxRanges() : domain_(nvtxDomainCreateA("sala")) {
  if (domain_ == nullptr) return;
  for (std::size_t i = 0; i < std::size(kRangeKindNames); ++i) {
    nvtxDomainNameCategoryA(domain_, category_of(static_cast<RangeKind>(i)), kRangeKindNames[i]);
  }
}

NvtxRanges::~NvtxRanges() {
  if (domain_ != nullptr) nvtxDomainDestroy(domain_);
}

std::size_t NvtxRanges::label(const std::string& name, RangeKind kind) {
  if (domain_ == nullptr) return 0;
  const auto [entry, is_new] = numbers_.emplace(name, labels_.size());
  if (is_new) labels_.push_back({nvtxDomainRegisterStringA(domain_, name.c_str()), kind});
  return entry->second;
}

void NvtxRanges::push(std::size_t label, std::int64_t payload) {
  if (domain_ == nullptr) return;
  nvtxEventAttributes_t range{};
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.category = category_of(labels_[label].kind);
  range.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
  range.message.registered = labels_[label].name;
  if (payload >= 0) {
    range.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
    range.payload.ullValue = static_cast<std::uint64_t>(payload);
  }
  nvtxDomainRangePushEx(domain_, &range);
}

void NvtxRanges::pop() {
  if (domain_ != nullptr) nvtxDomainRangePop(domain_);
}

}  // namespace sala
