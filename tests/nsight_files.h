// Files as Nsight Systems and Nsight Compute write them, a few kernels each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace sala::testing {

/// An export of nsys: process 7 with the thread that launches, another thread and another process.
/// Two kernels of qkv overlap; the graph launched in `request` has two; see the table in the tests.
class NsysFile {
 public:
  static constexpr std::int64_t kProcess = std::int64_t{7} << 24;
  static constexpr std::int64_t kThread = kProcess | 9;
  static constexpr std::int64_t kOtherThread = kProcess | 10;
  static constexpr std::int64_t kOtherProcess = std::int64_t{8} << 24;

  explicit NsysFile(const std::filesystem::path& path)
      : db_(path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE) {
    db_.exec(R"sql(
      PRAGMA synchronous = OFF;
      CREATE TABLE StringIds(id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);
      CREATE TABLE ENUM_NSYS_EVENT_TYPE(id INTEGER NOT NULL PRIMARY KEY, name TEXT, label TEXT);
      CREATE TABLE NVTX_EVENTS(start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL,
        rangeId INTEGER, category INTEGER, color INTEGER, text TEXT, globalTid INTEGER,
        endGlobalTid INTEGER, textId INTEGER, domainId INTEGER, uint64Value INTEGER);
      CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME(start INTEGER NOT NULL, end INTEGER NOT NULL,
        eventClass INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER,
        nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL, callchainId INTEGER);
      CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL(start INTEGER NOT NULL, end INTEGER NOT NULL,
        deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, streamId INTEGER NOT NULL,
        correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL,
        shortName INTEGER NOT NULL, mangledName INTEGER, graphNodeId INTEGER);
      INSERT INTO StringIds VALUES(1,'void sala::(anonymous namespace)::norm<(int)128>(float*)'),
        (2,'nvjet_tst_128x256_64x4_NNT'),(3,'norm'),(10,'request'),(11,'prefill.dense.qkv'),
        (12,'prefill.dense.attend'),(20,'cudaLaunchKernelExC'),(30,'sala');
      INSERT INTO ENUM_NSYS_EVENT_TYPE VALUES(59,'NvtxPushPopRange','NVTX Push/Pop Range'),
        (75,'NvtxDomainCreate','NVTX Domain Create');)sql");
    event(75, 0, "NULL", "NULL", "30", 3);  // by registered name and by text
    event(75, 0, "NULL", "'other'", "NULL", 5);
    event(59, 0, "10000", "NULL", "10", 3);
    event(59, 1000, "2000", "NULL", "11", 3);
    event(59, 2000, "3000", "NULL", "12", 3);
    event(59, 1000, "3000", "'not ours'", "NULL", 5);
    event(59, 1000, "NULL", "'never popped'", "NULL", 3);
    launch(1100, kThread, 1);
    launch(1150, kThread, 1);  // the driver's call inside the runtime's
    launch(1900, kThread, 2);
    launch(2500, kThread, 3);
    launch(9000, kThread, 4);
    launch(1500, kOtherThread, 5);
    launch(2500, kOtherProcess | 1, 1);
    kernel(5000, 5400, kProcess, 1, 1);
    kernel(5300, 5500, kProcess, 2, 1);
    kernel(6000, 6100, kProcess, 3, 2);
    kernel(8000, 8010, kProcess, 4, 1);
    kernel(8010, 8030, kProcess, 4, 2);
    kernel(8100, 8101, kProcess, 5, 1);
    kernel(8200, 8202, kOtherProcess, 1, 1);
    kernel(8300, 8304, kProcess, 6, 1);  // launched before nsys looked
  }

  void exec(const std::string& sql) { db_.exec(sql); }

 private:
  void event(int type, std::int64_t start, const char* end, const char* text, const char* text_id,
             int domain) {
    exec(
        fmt::format("INSERT INTO NVTX_EVENTS(start,end,eventType,text,globalTid,textId,domainId) "
                    "VALUES({},{},{},{},{},{},{})",
                    start, end, type, text, kThread, text_id, domain));
  }
  void launch(std::int64_t start, std::int64_t thread, int correlation) {
    exec(fmt::format("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES({},{},0,{},{},20,0,NULL)",
                     start, start + 10, thread, correlation));
  }
  void kernel(std::int64_t start, std::int64_t end, std::int64_t process, int correlation,
              int name) {
    exec(fmt::format(
        "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES({},{},0,1,7,{},{},{},3,NULL,NULL)", start,
        end, correlation, process, name));
  }

  SQLite::Database db_;
};

/// What `ncu --page raw --csv` prints: norm twice in qkv, a product in attend and one outside.
inline std::string ncu_csv() {
  const auto launch = [](int id, const char* stage, const char* kernel_and_metrics) {
    return fmt::format(
        R"csv("{0}","42","42  ""sala:request:Uint64:1024:none:none:REGISTERED:request""  ""sala:{1}:Uint64:3:none:none:REGISTERED:{1}"" ",{2})csv"
        "\n",
        id, stage, kernel_and_metrics);
  };
  return R"csv("ID","Process ID","thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg","Kernel Name","Stream","dram__bytes.sum","dram__throughput.avg.pct_of_peak_sustained_elapsed","gpu__time_duration.sum"
"","","","","","Mbyte","%","us"
)csv" +
         launch(
             0, "prefill.dense.qkv",
             R"csv("void sala::norm<(int)128, float>(const float *, int)","7","1.5","50","1,000.5")csv") +
         launch(
             1, "prefill.dense.qkv",
             R"csv("void sala::norm<(int)64, float>(const float *, int)","7","2.5","n/a","2")csv") +
         launch(2, "prefill.dense.attend",
                R"csv("nvjet_tst_128x256_64x4_NNT","7","n/a","n/a","3")csv") +
         R"csv("3","42","42  ""other:prefill.dense.qkv:none:none:none:none:none:none"" ","nvjet_tst_128x256_64x4_NNT","7","1","25.5","4"
)csv";
}

}  // namespace sala::testing
