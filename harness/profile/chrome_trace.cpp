// A request's timeline as Chrome's trace JSON, which Perfetto shows.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/chrome_trace.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "harness/profile/stage_table.h"

namespace sala {
namespace {

constexpr int kProcess = 1;
constexpr int kHostThread = 1;
constexpr int kFirstStream = 10000;  // streams of a device count from here

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Writes events line by line.
class EventWriter {
 public:
  EventWriter(int thread, std::int64_t origin_ns, std::size_t most_bytes)
      : thread_(thread), origin_ns_(origin_ns), most_bytes_(most_bytes) {}

  void name(const char* what, const std::string& value) {
    fmt::format_to(start(), R"({{"ph":"M","pid":{},"tid":{},"name":"{}","args":{{"name":{}}}}})",
                   kProcess, thread_, what, quoted(value));
  }
  /// argument: name of the payload; null for none.
  void event(const std::string& name, RangeKind kind, StageInterval time, const char* argument,
             std::int64_t payload) {
    const std::int64_t ts = time.start_ns - origin_ns_;
    fmt::format_to(
        start(),
        R"({{"ph":"X","pid":{},"tid":{},"ts":{}.{:03},"dur":{}.{:03},"name":{},"cat":"{}")",
        kProcess, thread_, ts / 1000, ts % 1000, time.ns / 1000, time.ns % 1000, quoted(name),
        kRangeKindNames[static_cast<std::size_t>(kind)]);
    if (argument != nullptr) {
      fmt::format_to(std::back_inserter(text_), R"(,"args":{{"{}":{}}})", argument, payload);
    }
    text_ += '}';
    if (text_.size() + kEnd.size() > most_bytes_) {
      throw Error("trace",
                  "would take more than {} MB, which no viewer opens; profile a shorter length, "
                  "larger chunks or fewer steps",
                  most_bytes_ / 1'000'000);
    }
  }
  std::string finish() { return std::move(text_) + std::string(kEnd); }

 private:
  static constexpr std::string_view kEnd = "\n]}\n";

  std::back_insert_iterator<std::string> start() {
    text_ += text_.back() == '[' ? "\n" : ",\n";
    return std::back_inserter(text_);
  }

  int thread_;
  std::int64_t origin_ns_;
  std::size_t most_bytes_;
  std::string text_ = R"({"displayTimeUnit":"ns","traceEvents":[)";
};

}  // namespace

std::string chrome_trace(const Output& output, const std::string& title, const std::string& device,
                         std::size_t most_bytes) {
  const auto& stages = output.timeline.stages;
  SALA_CHECK(!stages.empty(), "a request has stages");
  const bool is_host = device == "cpu";
  EventWriter writer(is_host ? kHostThread : kFirstStream, stages.front().time.start_ns,
                     most_bytes);
  writer.name("process_name", title);
  writer.name("thread_name", is_host ? "host" : device + " stream");
  // Viewers nest events that begin together in the order of the file: outer ones first.
  for (const Timeline::Range& range : output.timeline.ranges) {
    if (range.first == range.end) continue;
    const std::int64_t start_ns = stages[range.first].time.start_ns;
    const StageInterval& last = stages[range.end - 1].time;
    writer.event(range.name, range.kind, {start_ns, last.start_ns + last.ns - start_ns},
                 range.kind == RangeKind::layer ? "layer" : "tokens", range.payload);
  }
  for (const Timeline::Stage& stage : stages) {
    const std::string& name = output.stages[stage.row].name;
    writer.event(name, kind_of_row(name), stage.time, stage.layer < 0 ? nullptr : "layer",
                 stage.layer);
  }
  return writer.finish();
}

}  // namespace sala
