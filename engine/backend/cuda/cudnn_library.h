// cuDNN, loaded at run time when the machine has it: the few functions and numbers of its backend
// API that attention needs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace sala {

/// Functions of libcudnn.so.9 and one handle for the present device. Status 0 is success.
class CudnnLibrary {
 public:
  /// Loads the library at the first call and keeps it. Throws Error saying what is missing.
  static const CudnnLibrary& get();

  using Status = int;
  using Handle = void*;
  using Descriptor = void*;
  struct Functions {
    std::size_t (*cudnnGetVersion)();
    void (*cudnnGetLastErrorString)(char* message, std::size_t size);
    Status (*cudnnCreate)(Handle*);
    Status (*cudnnSetStream)(Handle, cudaStream_t);
    Status (*cudnnBackendCreateDescriptor)(int type, Descriptor*);
    Status (*cudnnBackendDestroyDescriptor)(Descriptor);
    Status (*cudnnBackendFinalize)(Descriptor);
    Status (*cudnnBackendSetAttribute)(Descriptor, int name, int type, std::int64_t count,
                                       const void* values);
    Status (*cudnnBackendGetAttribute)(Descriptor, int name, int type, std::int64_t wanted,
                                       std::int64_t* count, void* values);
    Status (*cudnnBackendExecute)(Handle, Descriptor plan, Descriptor pack);
  };
  const Functions& call() const { return functions_; }
  Handle handle() const { return handle_; }
  std::int64_t version() const { return static_cast<std::int64_t>(functions_.cudnnGetVersion()); }
  /// Throws Error with the library's own message unless status is success.
  void check(Status status, const char* what) const;

 private:
  CudnnLibrary();

  Functions functions_ = {};
  Handle handle_ = nullptr;
};

/// Numbers of cudnnBackendDescriptorType_t, cudnnBackendAttributeType_t and
/// cudnnBackendAttributeName_t, which no release of cuDNN 9 changes.
namespace cudnn {

enum DescriptorType : int {
  kPointwise = 0,
  kEngineConfig = 3,
  kEngineHeuristics = 4,
  kExecutionPlan = 5,
  kOperationPointwise = 13,
  kOperationGraph = 15,
  kVariantPack = 16,
  kTensor = 17,
  kMatmul = 18,
  kOperationMatmul = 19,
  kReduction = 21,
  kOperationReduction = 22,
};

enum AttributeType : int {
  kTypeHandle = 0,
  kTypeDataType = 1,
  kTypeBoolean = 2,
  kTypeInt64 = 3,
  kTypeDouble = 5,
  kTypeVoidPtr = 6,
  kTypeHeurMode = 8,
  kTypePointwiseMode = 14,
  kTypeDescriptor = 15,
  kTypeReductionOperator = 18,
};

enum AttributeName : int {
  kPointwiseMode = 0,
  kPointwiseMathPrec = 1,
  kPointwiseAxis = 9,
  kEngineHeurMode = 200,
  kEngineHeurOperationGraph = 201,
  kEngineHeurResults = 202,
  kExecutionPlanHandle = 400,
  kExecutionPlanEngineConfig = 401,
  kExecutionPlanWorkspaceSize = 402,
  kOperationPointwiseDescriptor = 750,
  kOperationPointwiseX = 751,
  kOperationPointwiseB = 752,
  kOperationPointwiseY = 753,
  kOperationPointwiseT = 758,
  kOperationGraphHandle = 800,
  kOperationGraphOps = 801,
  kTensorByteAlignment = 900,
  kTensorDataType = 901,
  kTensorDimensions = 902,
  kTensorStrides = 903,
  kTensorUniqueId = 906,
  kTensorIsVirtual = 907,
  kTensorIsByValue = 908,
  kVariantPackUniqueIds = 1000,
  kVariantPackDataPointers = 1001,
  kVariantPackWorkspace = 1003,
  kMatmulCompType = 1500,
  kMatmulPaddingValue = 1503,
  kOperationMatmulA = 1520,
  kOperationMatmulB = 1521,
  kOperationMatmulC = 1522,
  kOperationMatmulDescriptor = 1523,
  kOperationMatmulMOverride = 1525,
  kOperationMatmulNOverride = 1526,
  kOperationMatmulKOverride = 1527,
  kReductionOperator = 1600,
  kReductionCompType = 1601,
  kOperationReductionX = 1610,
  kOperationReductionY = 1611,
  kOperationReductionDescriptor = 1612,
};

enum DataType : int { kFloat = 0, kInt32 = 4, kBfloat16 = 9, kBoolean = 11 };

enum PointwiseOp : int {
  kAdd = 0,
  kMul = 1,
  kDiv = 6,
  kSub = 9,
  kExp = 13,
  kLog = 15,
  kCmpGe = 303,
  kCmpLt = 304,
  kLogicalAnd = 400,
  kGenIndex = 501,
  kBinarySelect = 601,
};

enum ReduceOp : int { kReduceAdd = 0, kReduceMax = 3 };

constexpr int kHeuristicsModeA = 3;

}  // namespace cudnn

/// Owner of one backend descriptor: attributes are set, then it is finalized and only read.
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnn::DescriptorType type);
  CudnnDescriptor(CudnnDescriptor&& other) noexcept : descriptor_(other.descriptor_) {
    other.descriptor_ = nullptr;
  }
  CudnnDescriptor& operator=(CudnnDescriptor&&) = delete;
  ~CudnnDescriptor();

  void set(cudnn::AttributeName name, std::span<const std::int64_t> values);
  void set(cudnn::AttributeName name, std::int64_t value) { set(name, std::span(&value, 1)); }
  void set(cudnn::AttributeName name, bool value);
  void set(cudnn::AttributeName name, double value);
  void set(cudnn::AttributeName name, cudnn::DataType value);
  void set(cudnn::AttributeName name, const CudnnDescriptor& value);
  void set(cudnn::AttributeName name, std::span<const CudnnDescriptor> values);
  void set(cudnn::AttributeName name, std::span<void* const> values);
  /// A value of one of the library's own enumerations.
  void set_enum(cudnn::AttributeName name, cudnn::AttributeType type, int value);
  void set_handle(cudnn::AttributeName name);
  /// Throws Error when the library refuses what the descriptor says.
  void finalize(const char* what);

  std::int64_t get_int64(cudnn::AttributeName name) const;
  /// The descriptors that an attribute holds, each of that type.
  std::vector<CudnnDescriptor> get_descriptors(cudnn::AttributeName name,
                                               cudnn::DescriptorType type) const;
  CudnnLibrary::Descriptor raw() const { return descriptor_; }

 private:
  void set_raw(cudnn::AttributeName name, cudnn::AttributeType type, std::size_t count,
               const void* values);

  CudnnLibrary::Descriptor descriptor_ = nullptr;
};

}  // namespace sala
