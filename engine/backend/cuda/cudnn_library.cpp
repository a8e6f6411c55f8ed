// Loading of cuDNN, and its descriptors as owned objects.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cudnn_library.h"

#include <dlfcn.h>

#include <array>

#include "engine/base/error.h"

namespace sala {

namespace {

constexpr const char* kLibrary = "libcudnn.so.9";

/// Sets `function` to the symbol of that name.
template <typename Function>
void find(void* library, const char* name, Function& function) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) {
    throw Error("cudnn", "{} has no function {}; expected cuDNN 9, try another version", kLibrary,
                name);
  }
  function = reinterpret_cast<Function>(symbol);
}

}  // namespace

const CudnnLibrary& CudnnLibrary::get() {
  static const CudnnLibrary library;
  return library;
}

CudnnLibrary::CudnnLibrary() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error("cudnn", "{} cannot be loaded: {}; add its folder to LD_LIBRARY_PATH", kLibrary,
                dlerror());
  }
#define SALA_FIND(name) find(library, #name, functions_.name)
  SALA_FIND(cudnnGetVersion);
  SALA_FIND(cudnnGetLastErrorString);
  SALA_FIND(cudnnCreate);
  SALA_FIND(cudnnSetStream);
  SALA_FIND(cudnnBackendCreateDescriptor);
  SALA_FIND(cudnnBackendDestroyDescriptor);
  SALA_FIND(cudnnBackendFinalize);
  SALA_FIND(cudnnBackendSetAttribute);
  SALA_FIND(cudnnBackendGetAttribute);
  SALA_FIND(cudnnBackendExecute);
#undef SALA_FIND
  check(functions_.cudnnCreate(&handle_), "a handle");
}

void CudnnLibrary::check(Status status, const char* what) const {
  if (status == 0) return;
  std::array<char, 512> message{};
  functions_.cudnnGetLastErrorString(message.data(), message.size());
  throw Error("cudnn", "version {}: {} failed with status {}: {}", version(), what, status,
              message.data());
}

CudnnDescriptor::CudnnDescriptor(cudnn::DescriptorType type) {
  const CudnnLibrary& library = CudnnLibrary::get();
  library.check(library.call().cudnnBackendCreateDescriptor(type, &descriptor_), "a descriptor");
}

CudnnDescriptor::~CudnnDescriptor() {
  if (descriptor_ != nullptr) {
    CudnnLibrary::get().call().cudnnBackendDestroyDescriptor(descriptor_);
  }
}

void CudnnDescriptor::set_raw(cudnn::AttributeName name, cudnn::AttributeType type,
                              std::size_t count, const void* values) {
  const CudnnLibrary& library = CudnnLibrary::get();
  library.check(library.call().cudnnBackendSetAttribute(descriptor_, name, type,
                                                        static_cast<std::int64_t>(count), values),
                "an attribute");
}

void CudnnDescriptor::set(cudnn::AttributeName name, std::span<const std::int64_t> values) {
  set_raw(name, cudnn::kTypeInt64, values.size(), values.data());
}
void CudnnDescriptor::set(cudnn::AttributeName name, bool value) {
  set_raw(name, cudnn::kTypeBoolean, 1, &value);
}
void CudnnDescriptor::set(cudnn::AttributeName name, double value) {
  set_raw(name, cudnn::kTypeDouble, 1, &value);
}
void CudnnDescriptor::set(cudnn::AttributeName name, cudnn::DataType value) {
  set_enum(name, cudnn::kTypeDataType, value);
}
void CudnnDescriptor::set(cudnn::AttributeName name, const CudnnDescriptor& value) {
  set_raw(name, cudnn::kTypeDescriptor, 1, static_cast<const void*>(&value.descriptor_));
}
void CudnnDescriptor::set(cudnn::AttributeName name, std::span<const CudnnDescriptor> values) {
  std::vector<CudnnLibrary::Descriptor> raw;
  raw.reserve(values.size());
  for (const CudnnDescriptor& value : values) raw.push_back(value.raw());
  set_raw(name, cudnn::kTypeDescriptor, raw.size(), static_cast<const void*>(raw.data()));
}
void CudnnDescriptor::set(cudnn::AttributeName name, std::span<void* const> values) {
  set_raw(name, cudnn::kTypeVoidPtr, values.size(), static_cast<const void*>(values.data()));
}
void CudnnDescriptor::set_enum(cudnn::AttributeName name, cudnn::AttributeType type, int value) {
  set_raw(name, type, 1, &value);
}
void CudnnDescriptor::set_handle(cudnn::AttributeName name) {
  CudnnLibrary::Handle handle = CudnnLibrary::get().handle();
  set_raw(name, cudnn::kTypeHandle, 1, static_cast<const void*>(&handle));
}

void CudnnDescriptor::finalize(const char* what) {
  const CudnnLibrary& library = CudnnLibrary::get();
  library.check(library.call().cudnnBackendFinalize(descriptor_), what);
}

std::int64_t CudnnDescriptor::get_int64(cudnn::AttributeName name) const {
  const CudnnLibrary& library = CudnnLibrary::get();
  std::int64_t count = 0;
  std::int64_t value = 0;
  library.check(library.call().cudnnBackendGetAttribute(descriptor_, name, cudnn::kTypeInt64, 1,
                                                        &count, &value),
                "reading an attribute");
  return value;
}

std::vector<CudnnDescriptor> CudnnDescriptor::get_descriptors(cudnn::AttributeName name,
                                                              cudnn::DescriptorType type) const {
  const CudnnLibrary& library = CudnnLibrary::get();
  const auto read = [&](std::int64_t wanted, std::int64_t& count, void* values) {
    library.check(library.call().cudnnBackendGetAttribute(descriptor_, name, cudnn::kTypeDescriptor,
                                                          wanted, &count, values),
                  "reading descriptors");
  };
  std::int64_t count = 0;
  read(0, count, nullptr);
  std::vector<CudnnDescriptor> found;
  std::vector<CudnnLibrary::Descriptor> raw;
  raw.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) raw.push_back(found.emplace_back(type).raw());
  read(count, count, static_cast<void*>(raw.data()));
  // Asked for their number alone, the library also counts those it cannot run.
  while (static_cast<std::int64_t>(found.size()) > count) found.pop_back();
  return found;
}

}  // namespace sala
