// Causal attention as a cuDNN graph of single operations, which the library knows as a whole.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cudnn_attention.h"

#include <array>
#include <limits>
#include <mutex>
#include <utility>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/elementwise.h"
#include "engine/base/error.h"

namespace sala {

namespace {

using Dims = std::array<std::int64_t, 4>;

/// Identities of what a run hands over; virtual tensors count on from kFirstVirtual.
enum Id : std::int64_t {
  kQ = 1,
  kK,
  kV,
  kOut,
  kLse,
  kRowCount,  // int32 on the device
  kKeyCount,  // int32 on the device
  kScale,     // fp32 on the host, like the next
  kPadding,   // what a score outside the true lengths becomes
  kFuture,    // what a score of a later key becomes
  kFirstVirtual,
};

/// Operations on tensors, gathered in order.
class Graph {
 public:
  explicit Graph(const CudnnAttentionShape& shape, std::int64_t rows)
      : heads_(shape.n_heads), rows_(rows), keys_(shape.capacity) {}

  /// A tensor in memory, or with is_value a number on the host.
  CudnnDescriptor memory(Id id, cudnn::DataType type, const Dims& dims, const Dims& strides,
                         bool is_value = false) const {
    CudnnDescriptor tensor(cudnn::kTensor);
    describe(tensor, id, type, dims, strides);
    if (is_value) tensor.set(cudnn::kTensorIsByValue, true);
    tensor.finalize("a tensor");
    return tensor;
  }
  CudnnDescriptor number(Id id, cudnn::DataType type, bool is_value) const {
    return memory(id, type, {1, 1, 1, 1}, {1, 1, 1, 1}, is_value);
  }

  /// An intermediate result with one element a pair of row and key.
  CudnnDescriptor pairs(cudnn::DataType type) {
    return virtual_tensor(type, {1, heads_, rows_, keys_},
                          {heads_ * rows_ * keys_, rows_ * keys_, keys_, 1});
  }
  /// One with an element a row.
  CudnnDescriptor rows() {
    return virtual_tensor(cudnn::kFloat, {1, heads_, rows_, 1}, {heads_ * rows_, rows_, 1, 1});
  }

  /// c = a · b; m, n, k: the true lengths where they may be shorter than the tensors.
  struct Lengths {
    const CudnnDescriptor* m = nullptr;
    const CudnnDescriptor* n = nullptr;
    const CudnnDescriptor* k = nullptr;
  };
  void matmul(const CudnnDescriptor& a, const CudnnDescriptor& b, const CudnnDescriptor& c,
              const Lengths& lengths) {
    CudnnDescriptor matmul(cudnn::kMatmul);
    matmul.set(cudnn::kMatmulCompType, cudnn::kFloat);
    matmul.set(cudnn::kMatmulPaddingValue, 0.0);
    matmul.finalize("a matrix product");
    CudnnDescriptor operation(cudnn::kOperationMatmul);
    operation.set(cudnn::kOperationMatmulDescriptor, matmul);
    operation.set(cudnn::kOperationMatmulA, a);
    operation.set(cudnn::kOperationMatmulB, b);
    operation.set(cudnn::kOperationMatmulC, c);
    for (const auto& [name, length] : {std::pair{cudnn::kOperationMatmulMOverride, lengths.m},
                                       {cudnn::kOperationMatmulNOverride, lengths.n},
                                       {cudnn::kOperationMatmulKOverride, lengths.k}}) {
      if (length != nullptr) operation.set(name, *length);
    }
    add(std::move(operation));
  }

  /// Operands of a pointwise operation: y = op(x, b), or t ? x : b.
  struct Operands {
    const CudnnDescriptor& x;
    const CudnnDescriptor* b = nullptr;
    const CudnnDescriptor* t = nullptr;
  };
  CudnnDescriptor pointwise(cudnn::PointwiseOp op, const Operands& in, CudnnDescriptor y,
                            cudnn::DataType precision = cudnn::kFloat, int axis = -1) {
    CudnnDescriptor pointwise(cudnn::kPointwise);
    pointwise.set_enum(cudnn::kPointwiseMode, cudnn::kTypePointwiseMode, op);
    pointwise.set(cudnn::kPointwiseMathPrec, precision);
    if (axis >= 0) pointwise.set(cudnn::kPointwiseAxis, std::int64_t{axis});
    pointwise.finalize("a pointwise operation");
    CudnnDescriptor operation(cudnn::kOperationPointwise);
    operation.set(cudnn::kOperationPointwiseDescriptor, pointwise);
    operation.set(cudnn::kOperationPointwiseX, in.x);
    if (in.b != nullptr) operation.set(cudnn::kOperationPointwiseB, *in.b);
    if (in.t != nullptr) operation.set(cudnn::kOperationPointwiseT, *in.t);
    operation.set(cudnn::kOperationPointwiseY, y);
    add(std::move(operation));
    return y;
  }
  /// Number of every pair's row (axis 2) or key (axis 3).
  CudnnDescriptor index(const CudnnDescriptor& like, int axis) {
    return pointwise(cudnn::kGenIndex, {like}, pairs(cudnn::kInt32), cudnn::kInt32, axis);
  }

  CudnnDescriptor reduce(cudnn::ReduceOp op, const CudnnDescriptor& x) {
    CudnnDescriptor y = rows();
    CudnnDescriptor reduction(cudnn::kReduction);
    reduction.set_enum(cudnn::kReductionOperator, cudnn::kTypeReductionOperator, op);
    reduction.set(cudnn::kReductionCompType, cudnn::kFloat);
    reduction.finalize("a reduction");
    CudnnDescriptor operation(cudnn::kOperationReduction);
    operation.set(cudnn::kOperationReductionDescriptor, reduction);
    operation.set(cudnn::kOperationReductionX, x);
    operation.set(cudnn::kOperationReductionY, y);
    add(std::move(operation));
    return y;
  }

  void add(CudnnDescriptor operation) {
    operation.finalize("an operation");
    operations_.push_back(std::move(operation));
  }

  /// The first plan that the library's heuristics offer and can build.
  CudnnDescriptor plan() const {
    CudnnDescriptor graph(cudnn::kOperationGraph);
    graph.set_handle(cudnn::kOperationGraphHandle);
    graph.set(cudnn::kOperationGraphOps, std::span(operations_));
    graph.finalize("the graph of attention");
    CudnnDescriptor heuristics(cudnn::kEngineHeuristics);
    heuristics.set(cudnn::kEngineHeurOperationGraph, graph);
    heuristics.set_enum(cudnn::kEngineHeurMode, cudnn::kTypeHeurMode, cudnn::kHeuristicsModeA);
    heuristics.finalize("heuristics for attention");
    std::string refusal = "no engine runs this graph";
    for (const CudnnDescriptor& config :
         heuristics.get_descriptors(cudnn::kEngineHeurResults, cudnn::kEngineConfig)) {
      try {
        CudnnDescriptor plan(cudnn::kExecutionPlan);
        plan.set_handle(cudnn::kExecutionPlanHandle);
        plan.set(cudnn::kExecutionPlanEngineConfig, config);
        plan.finalize("a plan for attention");
        return plan;
      } catch (const Error& error) {
        refusal = error.what();
      }
    }
    throw Error("cudnn", "version {} has no plan for attention: {}", CudnnLibrary::get().version(),
                refusal);
  }

 private:
  static void describe(CudnnDescriptor& tensor, std::int64_t id, cudnn::DataType type,
                       const Dims& dims, const Dims& strides) {
    tensor.set(cudnn::kTensorDataType, type);
    tensor.set(cudnn::kTensorDimensions, std::span(dims));
    tensor.set(cudnn::kTensorStrides, std::span(strides));
    tensor.set(cudnn::kTensorUniqueId, id);
    tensor.set(cudnn::kTensorByteAlignment, std::int64_t{16});
  }
  CudnnDescriptor virtual_tensor(cudnn::DataType type, const Dims& dims, const Dims& strides) {
    CudnnDescriptor tensor(cudnn::kTensor);
    describe(tensor, next_id_++, type, dims, strides);
    tensor.set(cudnn::kTensorIsVirtual, true);
    tensor.finalize("an intermediate tensor");
    return tensor;
  }

  std::int64_t heads_;
  std::int64_t rows_;
  std::int64_t keys_;
  std::int64_t next_id_ = kFirstVirtual;
  std::vector<CudnnDescriptor> operations_;
};

/// Tensors in memory.
struct Tensors {
  Tensors(const Graph& graph, const CudnnAttentionShape& shape, std::int64_t rows)
      : q(graph.memory(kQ, cudnn::kBfloat16, row_dims(shape, rows), row_strides(shape, rows))),
        v(graph.memory(kV, cudnn::kBfloat16, {1, shape.n_kv_heads, shape.capacity, shape.head_dim},
                       kv_strides(shape))),
        out(graph.memory(kOut, cudnn::kBfloat16, row_dims(shape, rows), row_strides(shape, rows))),
        lse(graph.memory(kLse, cudnn::kFloat, {1, shape.n_heads, rows, 1},
                         {shape.n_heads * rows, rows, 1, 1})),
        scale(graph.number(kScale, cudnn::kFloat, true)),
        n_rows(graph.number(kRowCount, cudnn::kInt32, false)),
        n_keys(graph.number(kKeyCount, cudnn::kInt32, false)) {}

  static Dims row_dims(const CudnnAttentionShape& shape, std::int64_t rows) {
    return {1, shape.n_heads, rows, shape.head_dim};
  }
  static Dims row_strides(const CudnnAttentionShape& shape, std::int64_t rows) {
    const std::int64_t width = std::int64_t{shape.n_heads} * shape.head_dim;
    return {rows * width, shape.head_dim, width, 1};
  }
  static Dims kv_strides(const CudnnAttentionShape& shape) {
    const std::int64_t head = shape.capacity * shape.head_dim;
    return {shape.n_kv_heads * head, head, shape.head_dim, 1};
  }

  CudnnDescriptor q, v, out, lse, scale, n_rows, n_keys;
};

/// Scaled products, hidden outside the true lengths and, counted from the last row and the last
/// key, in the future; softmax; weighted values. The library recognizes the sequence as a whole.
CudnnDescriptor causal_plan(const CudnnAttentionShape& shape, std::int64_t rows) {
  Graph graph(shape, rows);
  Tensors t(graph, shape, rows);
  const Dims strides = Tensors::kv_strides(shape);
  const CudnnDescriptor keys =
      graph.memory(kK, cudnn::kBfloat16, {1, shape.n_kv_heads, shape.head_dim, shape.capacity},
                   {strides[0], strides[1], strides[3], strides[2]});
  const CudnnDescriptor padding = graph.number(kPadding, cudnn::kFloat, true);
  const CudnnDescriptor future = graph.number(kFuture, cudnn::kFloat, true);
  const auto scores = [&] { return graph.pairs(cudnn::kFloat); };
  const auto indices = [&] { return graph.pairs(cudnn::kInt32); };
  const auto compare = [&](cudnn::PointwiseOp op, const CudnnDescriptor& a,
                           const CudnnDescriptor& b, cudnn::DataType precision) {
    return graph.pointwise(op, {a, &b}, graph.pairs(cudnn::kBoolean), precision);
  };
  const auto select = [&](const CudnnDescriptor& score, const CudnnDescriptor& otherwise,
                          const CudnnDescriptor& visible) {
    return graph.pointwise(cudnn::kBinarySelect, {score, &otherwise, &visible}, scores());
  };

  const CudnnDescriptor product = scores();
  graph.matmul(t.q, keys, product, {&t.n_rows, &t.n_keys, nullptr});
  const CudnnDescriptor scaled = graph.pointwise(cudnn::kMul, {product, &t.scale}, scores());

  const CudnnDescriptor row = graph.index(scaled, 2);
  const CudnnDescriptor key = graph.index(scaled, 3);
  const CudnnDescriptor row_exists = compare(cudnn::kCmpLt, row, t.n_rows, cudnn::kInt32);
  const CudnnDescriptor key_exists = compare(cudnn::kCmpLt, key, t.n_keys, cudnn::kInt32);
  const CudnnDescriptor exists =
      compare(cudnn::kLogicalAnd, row_exists, key_exists, cudnn::kBoolean);
  const CudnnDescriptor existing = select(scaled, padding, exists);

  const CudnnDescriptor row_again = graph.index(existing, 2);
  const CudnnDescriptor from_end =
      graph.pointwise(cudnn::kAdd, {row_again, &t.n_keys}, indices(), cudnn::kInt32);
  const CudnnDescriptor last_key =
      graph.pointwise(cudnn::kSub, {from_end, &t.n_rows}, indices(), cudnn::kInt32);
  const CudnnDescriptor key_again = graph.index(existing, 3);
  const CudnnDescriptor past = compare(cudnn::kCmpGe, last_key, key_again, cudnn::kInt32);
  const CudnnDescriptor visible = select(existing, future, past);

  const CudnnDescriptor largest = graph.reduce(cudnn::kReduceMax, visible);
  const CudnnDescriptor below = graph.pointwise(cudnn::kSub, {visible, &largest}, scores());
  const CudnnDescriptor exponential = graph.pointwise(cudnn::kExp, {below}, scores());
  const CudnnDescriptor sum = graph.reduce(cudnn::kReduceAdd, exponential);
  // Nobody asked for the logarithms of the sums, but version 9.14 writes them in any case.
  const CudnnDescriptor log = graph.pointwise(cudnn::kLog, {sum}, graph.rows());
  graph.pointwise(cudnn::kAdd, {largest, &log}, std::move(t.lse));
  const CudnnDescriptor weight =
      graph.pointwise(cudnn::kDiv, {exponential, &sum}, graph.pairs(cudnn::kBfloat16));
  graph.matmul(weight, t.v, t.out, {&t.n_rows, nullptr, &t.n_keys});
  return graph.plan();
}

constexpr std::int64_t kLengthBytes = 256;  // of the two lengths

std::int64_t lse_bytes(const CudnnAttentionShape& shape) {
  return CudnnAttention::kRows * shape.n_heads * std::int64_t{sizeof(float)};
}

}  // namespace

CudnnAttention::CudnnAttention(const CudnnAttentionShape& shape) : shape_(shape) {
  try {
    plan_.emplace(causal_plan(shape, kRows));
    plan_bytes_ = plan_->get_int64(cudnn::kExecutionPlanWorkspaceSize);
  } catch (const Error& error) {
    plan_.reset();
    reason_ = error.what();
  }
}

std::int64_t CudnnAttention::workspace_bytes() const {
  return kLengthBytes + lse_bytes(shape_) + plan_bytes_;
}

void CudnnAttention::run(const Call& call, cudaStream_t stream) const {
  SALA_CHECK(available() && call.n_rows <= kRows, "a call fits the plan");
  auto* lengths = static_cast<std::int32_t*>(call.workspace);
  std::byte* lse = static_cast<std::byte*>(call.workspace) + kLengthBytes;
  SALA_CUDA(cuda::launch_set(lengths, static_cast<std::int32_t>(call.n_rows), false, stream));
  SALA_CUDA(cuda::launch_set(lengths + 1, static_cast<std::int32_t>(call.n_keys), false, stream));

  float scale = call.scale;
  float hidden = -std::numeric_limits<float>::infinity();
  const auto input = [](const __nv_bfloat16* x) { return const_cast<__nv_bfloat16*>(x); };
  const std::vector<std::int64_t> ids{kQ,        kK,        kV,     kOut,     kLse,
                                      kRowCount, kKeyCount, kScale, kPadding, kFuture};
  const std::vector<void*> pointers{input(call.q), input(call.k), input(call.v), call.out, lse,
                                    lengths,       lengths + 1,   &scale,        &hidden,  &hidden};
  void* workspace = lse + lse_bytes(shape_);
  CudnnDescriptor pack(cudnn::kVariantPack);
  pack.set(cudnn::kVariantPackUniqueIds, std::span<const std::int64_t>(ids));
  pack.set(cudnn::kVariantPackDataPointers, std::span<void* const>(pointers));
  pack.set(cudnn::kVariantPackWorkspace, std::span<void* const>(&workspace, 1));
  pack.finalize("the operands of attention");

  const CudnnLibrary& library = CudnnLibrary::get();
  library.check(library.call().cudnnSetStream(library.handle(), stream), "choosing the stream");
  library.check(library.call().cudnnBackendExecute(library.handle(), plan_->raw(), pack.raw()),
                "attention");
}

const CudnnAttention& shared_cudnn_attention(const CudnnAttentionShape& shape) {
  static std::mutex mutex;
  // Never destroyed: when the process ends, the driver may be gone first.
  static auto& plans = *new std::vector<std::unique_ptr<const CudnnAttention>>;
  const std::scoped_lock lock(mutex);
  for (const auto& plan : plans) {
    if (plan->shape() == shape) return *plan;
  }
  return *plans.emplace_back(std::make_unique<const CudnnAttention>(shape));
}

}  // namespace sala
