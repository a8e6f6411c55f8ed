// Kernels by stage: read from files of nsys and ncu, summed up, stored and read again.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "harness/profile/kernel_table.h"
#include "harness/profile/ncu_reader.h"
#include "harness/profile/nsight_command.h"
#include "harness/profile/nsight_report.h"
#include "harness/profile/nsys_reader.h"
#include "harness/profile/run_tool.h"
#include "harness/store/database.h"
#include "harness/store/profile_rows.h"
#include "harness/store/reader.h"
#include "harness/store/writer.h"
#include "tests/expect_error.h"
#include "tests/nsight_files.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;

class KernelProfile : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("sala_{}_{}", info->name(), getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  fs::path write_program(const std::string& name, const std::string& text) const {
    const fs::path path = write(name, text);
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  /// The export after a change of the file.
  fs::path nsys_file(const std::string& sql) const {
    const fs::path path = folder_ / "export.sqlite";
    fs::remove(path);
    NsysFile(path).exec(sql);
    return path;
  }

  fs::path folder_;
};

/// Stage, kernel, n, total, min, median, p99 and max a row.
std::string text_of(const KernelTable& table) {
  std::string text;
  for (const KernelRow& row : table.rows) {
    text += fmt::format("{} {} {} {} {} {} {} {}\n", row.stage, row.kernel, row.n, row.total_ns,
                        row.min_ns, row.p50_ns, row.p99_ns, row.max_ns);
  }
  return text;
}

constexpr const char* kNsysTable =
    "prefill.dense.qkv norm 2 600 200 200 400 400\n"
    "prefill.dense.attend nvjet_tst_128x256_64x4_NNT 1 100 100 100 100 100\n"
    "request nvjet_tst_128x256_64x4_NNT 1 20 20 20 20 20\n"
    "request norm 1 10 10 10 10 10\n"
    "outside norm 3 7 1 2 4 4\n";

TEST_F(KernelProfile, names_of_kernels_are_short) {
  EXPECT_EQ(short_kernel_name("void sala::(anonymous namespace)::score<(int)128, bf16>(P, int)"),
            "score");
  EXPECT_EQ(short_kernel_name("sala::<unnamed>::step(float *)"), "step");
  EXPECT_EQ(short_kernel_name("void a::b<c::d<(bool)1>, (a::E)0>(a::F<int>::G)"), "b");
  EXPECT_EQ(short_kernel_name("nvjet_tst_128x256_64x4_NNT"), "nvjet_tst_128x256_64x4_NNT");
  EXPECT_EQ(short_kernel_name("unsigned int f(int)"), "f");
  EXPECT_EQ(short_kernel_name(""), "");
  EXPECT_EQ(short_kernel_name("(weird"), "(weird") << "better long than nothing";
}

TEST_F(KernelProfile, percentiles_are_times_that_occurred) {
  KernelTally tally;
  for (int i = 200; i >= 1; --i) tally.add("s", "k", i);
  tally.add("s", "one", 5);
  const KernelTable table = tally.table();
  EXPECT_EQ(text_of(table), "s k 200 20100 1 100 198 200\ns one 1 5 5 5 5 5\n");
  EXPECT_EQ(table.n, 201);
  EXPECT_EQ(table.total_ns, 20105);
}

TEST_F(KernelProfile, an_export_of_nsys_charges_each_kernel_to_the_innermost_range_at_its_launch) {
  const KernelTable table = read_nsys_export(nsys_file(""));
  EXPECT_EQ(text_of(table), kNsysTable);
  ASSERT_TRUE(table.span);
  EXPECT_EQ(table.span->ns, 8304 - 5000);
  EXPECT_EQ(table.span->busy_ns, 500 + 100 + 30 + 1 + 2 + 4) << "overlapping kernels count once";
}

TEST_F(KernelProfile, an_export_of_nsys_names_its_event_types_or_has_the_usual_ones) {
  EXPECT_EQ(text_of(read_nsys_export(nsys_file("DROP TABLE ENUM_NSYS_EVENT_TYPE"))), kNsysTable);
  EXPECT_EQ(
      text_of(read_nsys_export(nsys_file("UPDATE NVTX_EVENTS SET eventType = eventType + 1000; "
                                         "UPDATE ENUM_NSYS_EVENT_TYPE SET id = id + 1000"))),
      kNsysTable);
}

TEST_F(KernelProfile, reading_leaves_the_export_of_nsys_as_it_is) {
  const fs::path path = nsys_file("");
  fs::permissions(path, fs::perms::owner_read);
  const auto before = fs::last_write_time(path);
  read_nsys_export(path);
  EXPECT_EQ(fs::last_write_time(path), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "nothing is left beside it";
}

TEST_F(KernelProfile, what_is_no_export_of_nsys_is_refused) {
  const auto refused = [&](const fs::path& path, const std::string& part) {
    expect_error([&] { read_nsys_export(path); }, {path.string(), part});
  };
  refused(folder_ / "absent.sqlite", "cannot be opened");
  refused(write("empty.sqlite", ""), "no SQLite file");
  refused(write("text.sqlite", "SQLite, but a text"), "no SQLite file");
  refused(write("cut.sqlite", std::string("SQLite format 3\0", 16) + std::string(50, 'x')),
          "cannot be read");
  refused(nsys_file("DROP TABLE CUPTI_ACTIVITY_KIND_KERNEL"), "no kernel ran");
  refused(nsys_file("DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL"), "no kernels");
  refused(nsys_file("DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME"), "--trace=cuda,nvtx");
  refused(nsys_file("DROP TABLE NVTX_EVENTS"), "--trace=cuda,nvtx");
  refused(nsys_file("DROP TABLE StringIds"), "StringIds");
  refused(nsys_file("ALTER TABLE NVTX_EVENTS DROP COLUMN textId"), "no column textId");
  refused(nsys_file("UPDATE StringIds SET value = 'another' WHERE value = 'sala'"), "domain sala");
  refused(nsys_file("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = 1"), "before it begins");
  const fs::path foreign = folder_ / "results.sqlite";
  open_for_writing(foreign);
  refused(foreign, "CUPTI_ACTIVITY_KIND_KERNEL");

  std::string bytes = [&] {
    std::ifstream file(nsys_file("VACUUM"), std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  }();
  refused(write("half.sqlite", bytes.substr(0, bytes.size() / 2)), "");
  for (std::size_t i = 4096; i < bytes.size(); i += 7) bytes[i] = '\xff';
  refused(write("noise.sqlite", bytes), "");
}

TEST_F(KernelProfile, a_listing_of_ncu_has_times_and_counters_in_base_units) {
  const KernelTable table = read_ncu_csv(ncu_csv(), "test");
  EXPECT_EQ(text_of(table),
            "prefill.dense.qkv norm 2 1002500 2000 2000 1000500 1000500\n"
            "outside nvjet_tst_128x256_64x4_NNT 1 4000 4000 4000 4000 4000\n"
            "prefill.dense.attend nvjet_tst_128x256_64x4_NNT 1 3000 3000 3000 3000 3000\n");
  EXPECT_FALSE(table.span) << "ncu runs each kernel alone";
  const std::vector<CounterRow>& counters = table.rows[0].counters;
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(counters[0].name, "dram__bytes.sum");
  EXPECT_EQ(counters[0].unit, "byte");
  EXPECT_EQ(counters[0].n, 2);
  EXPECT_DOUBLE_EQ(counters[0].value, 2e6);
  EXPECT_EQ(counters[1].unit, "%");
  EXPECT_EQ(counters[1].n, 1) << "of the launch that has it";
  EXPECT_DOUBLE_EQ(counters[1].value, 50);
  EXPECT_TRUE(table.rows[2].counters.empty());
}

TEST_F(KernelProfile, what_ncu_says_around_its_listing_is_passed_over) {
  const std::string table = text_of(read_ncu_csv(ncu_csv(), "test"));
  EXPECT_EQ(text_of(read_ncu_csv("==PROF== Profiling \"norm\" - 0: 0%....100% - 1 pass\nhello\n" +
                                     ncu_csv() + "==PROF== Disconnected from process 42\n",
                                 "test")),
            table);
  std::string windows;
  for (const char c : ncu_csv()) windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(text_of(read_ncu_csv(windows, "test")), table);
}

TEST_F(KernelProfile, what_is_no_listing_of_ncu_is_refused) {
  const std::string good = ncu_csv();
  const auto refused = [&](const std::string& text, const std::string& part) {
    expect_error([&] { read_ncu_csv(text, "the file"); }, {"the file", part});
  };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::size_t first_line = good.find('\n') + 1;
  const std::size_t second_line = good.find('\n', first_line) + 1;
  refused("", "no header");
  refused("\"a\",\"b\"\n1,2\n", "no header");
  refused("==ERROR== no such file\n", "no header");
  refused(good.substr(0, first_line), "units of 8 columns");
  refused(good.substr(0, second_line), "holds no kernels");
  refused(good.substr(0, good.size() - 2), "never closed");
  refused(good.substr(0, good.rfind(",\"25.5\"")), "line 6: has 6 fields, expected 8");
  refused(with("\"Kernel Name\"", "\"Metric Name\""), "--page raw");
  refused(with("Push/Pop_Range", "Range"), "ncu --nvtx");
  refused(with("gpu__time_duration.sum", "gpu__cycles_elapsed.max"), kNcuDuration);
  refused(with("\"us\"", "\"furlong\""), "'furlong'");
  refused("hello\n" + with("\"1,000.5\"", "\"n/a\""), "line 4: 'n/a' is no duration");
  refused(with("\"1,000.5\"", "\"-1\""), "no duration");
  refused(with("\"1,000.5\"", "\"1e300\""), "no duration");
  refused(with("\"1,000.5\"", "\"nan\""), "no duration");
}

TEST_F(KernelProfile, a_file_is_read_by_what_its_name_says) {
  EXPECT_EQ(read_nsight_report(nsys_file("")).tool, "nsys");
  EXPECT_EQ(read_nsight_report(write("a.csv", ncu_csv())).tool, "ncu");
  expect_error([&] { read_nsight_report(write("a.txt", ncu_csv())); }, {"a.txt", ".ncu-rep"});
  expect_error([&] { read_nsight_report(folder_ / "absent.csv"); }, {"absent.csv", "no file"});
  expect_error([&] { read_nsight_report(folder_); }, {"no file"});
}

TEST_F(KernelProfile, tools_are_found_on_the_path_then_where_installers_put_them_newest_first) {
  const std::string path = std::getenv("PATH");
  const auto put = [&](const std::string& name) { return write_program(name, "#!/bin/sh\n"); };
  setenv("PATH", (folder_ / "nowhere").c_str(), 1);
  EXPECT_FALSE(find_nsight("nsys", folder_));
  expect_error([&] { require_nsight("nsys", folder_); },
               {"nsys", "PATH", (folder_ / "usr/local/cuda/bin").string(), "nsight-systems"});
  put("opt/nvidia/nsight-systems/2024.6.2/bin/nsys");
  const fs::path newest = put("opt/nvidia/nsight-systems/2025.1.1/bin/nsys");
  write("opt/nvidia/nsight-systems/2026.1.1/bin/nsys", "not executable");
  EXPECT_EQ(find_nsight("nsys", folder_), newest);
  const fs::path toolkit = put("usr/local/cuda-13.0/bin/nsys");
  EXPECT_EQ(find_nsight("nsys", folder_), toolkit);
  EXPECT_FALSE(find_nsight("ncu", folder_));
  const fs::path ncu = put("opt/nvidia/nsight-compute/2025.3.0/ncu");
  EXPECT_EQ(find_nsight("ncu", folder_), ncu);
  const fs::path on_path = put("tools/nsys");
  setenv("PATH", fmt::format(":relative:/nowhere:{}:", on_path.parent_path().string()).c_str(), 1);
  EXPECT_EQ(find_nsight("nsys", folder_), on_path);
  setenv("PATH", path.c_str(), 1);
}

TEST_F(KernelProfile, a_tool_is_waited_for_and_its_lines_come_whole) {
  const fs::path tool =
      write_program("tool", "#!/bin/sh\necho one; echo \"$1\" >&2; printf 'no end'; exit 7\n");
  std::string seen;
  const auto add = [&](std::string_view line) { seen += fmt::format("[{}]", line); };
  EXPECT_EQ(run_tool({tool, "two words"}, true, add), 7);
  EXPECT_EQ(seen, "[one][two words][no end]");
  expect_error([&] { run_tool({folder_ / "absent"}, true, add); }, {"cannot be started"});
  const fs::path killed = write_program("killed", "#!/bin/sh\nkill -9 $$\n");
  expect_error([&] { run_tool({killed}, true, add); }, {"signal 9"});
}

TEST_F(KernelProfile, ncu_times_a_whole_request_or_counts_everything_in_one_stage) {
  const NsightCommand whole = nsight_command("ncu", "", "out", {"sala", "profile"});
  EXPECT_EQ(shell_line(whole.words),
            "ncu --nvtx --nvtx-include sala@request/ --clock-control none --cache-control none "
            "--force-overwrite --metrics gpu__time_duration.sum -o out sala profile");
  EXPECT_EQ(whole.report, "out.ncu-rep");
  const std::string stage = shell_line(nsight_command("ncu", "decode.qkv", "out", {}).words);
  for (const char* part : {"sala@decode.qkv/ ", "--set full", "--launch-count 8",
                           "gpu__time_duration.sum,dram__bytes.sum,"}) {
    EXPECT_NE(stage.find(part), std::string::npos) << part << " is not in " << stage;
  }
  EXPECT_EQ(nsight_command("nsys", "", "a.b", {}).report, "a.b.nsys-rep");
}

/// A database with one run of kind profile; returns the uid of its sweep.
std::string store_run(const fs::path& path) {
  const CellRow cell{.cell_key = "key",
                     .compare_key = "compare",
                     .kind = "profile",
                     .mode = "full",
                     .backend = "cpu",
                     .model = {.name = "m",
                               .weights_sha256 = "w",
                               .tokenizer_sha256 = "t",
                               .dtype = "bf16",
                               .layer_pattern = {"dense"},
                               .config = "{}"},
                     .task = std::nullopt,
                     .context_len = 1024,
                     .params = "{}"};
  EnvironmentRow environment;
  environment.machine_uid = "machine";
  environment.git_commit = std::string(40, '0');
  environment.info = "{}";
  ResultWriter writer(path, {"sala"});
  writer.open_sweep({.name = "profile", .spec = "{}"}, environment, {cell});
  writer.begin_run(0);
  writer.end_run({.status = "ok", .reason = "", .oom = std::nullopt}, {});
  return writer.sweep_uid();
}

TEST_F(KernelProfile, kernels_are_stored_with_their_run_and_read_again) {
  const fs::path db = folder_ / "r.db";
  const std::string uid = store_run(db);
  const KernelTable ncu = read_ncu_csv(ncu_csv(), "test");
  const KernelTable nsys = read_nsys_export(nsys_file(""));
  store_kernels(db, uid, {.tool = "nsys", .kernels = nsys.rows});
  store_kernels(db, uid, {.tool = "ncu", .kernels = ncu.rows});
  store_kernels(db, uid, {.tool = "ncu", .kernels = ncu.rows});  // in place of the first

  const Results results = ResultReader(db).results();
  const std::vector<KernelProfileRow>& kernels = results.cells.at(0).runs.at(0).kernels;
  ASSERT_EQ(kernels.size(), 2U);
  EXPECT_EQ(kernels[0].tool, "ncu");
  EXPECT_EQ(text_of({.rows = kernels[0].kernels, .span = std::nullopt}), text_of(ncu));
  ASSERT_EQ(kernels[0].kernels[0].counters.size(), 2U);
  EXPECT_DOUBLE_EQ(kernels[0].kernels[0].counters[0].value, 2e6);
  EXPECT_EQ(kernels[1].tool, "nsys");
  EXPECT_EQ(text_of({.rows = kernels[1].kernels, .span = std::nullopt}), kNsysTable);

  const std::string run = results.cells[0].runs[0].uid;
  store_kernels(db, run, {.tool = "ncu", .kernels = {}});
  EXPECT_EQ(ResultReader(db).results().cells[0].runs[0].kernels.size(), 1U)
      << "a run is known by its own uid too, and counters go with their kernels";
}

TEST_F(KernelProfile, kernels_without_a_run_are_not_stored) {
  const fs::path db = folder_ / "r.db";
  const std::string uid = store_run(db);
  expect_error([&] { store_kernels(db, "nobody", {.tool = "ncu", .kernels = {}}); },
               {"r.db", "'nobody'"});
  open_for_writing(db)->exec(
      "INSERT INTO run(uid,cell_id,attempt,grade,env_id,status,started_us,argv) "
      "SELECT 'second',cell_id,2,grade,env_id,'ok',started_us,argv FROM run");
  expect_error([&] { store_kernels(db, uid, {.tool = "ncu", .kernels = {}}); }, {"several runs"});
  const KernelRow never{.stage = "s", .kernel = "k", .n = 0};
  expect_error([&] { store_kernels(db, "second", {.tool = "ncu", .kernels = {never}}); }, {"r.db"});
  const Results results = ResultReader(db).results();
  for (const RunRecord& run : results.cells[0].runs) EXPECT_TRUE(run.kernels.empty());
}

}  // namespace
}  // namespace sala::testing
