// Safetensors files: what is written comes back, and every contradiction is named.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/backend/backend.h"
#include "engine/base/sha256.h"
#include "engine/model/weights.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

using nlohmann::json;

TensorToWrite f32_tensor(const std::string& name, std::vector<std::int64_t> shape,
                         const std::vector<float>& values) {
  TensorToWrite tensor{name, DType::f32, std::move(shape), {}};
  for (const float value : values) store_value(value, DType::f32, tensor.bytes);
  return tensor;
}

/// A file of a header as given and n zero bytes of data.
void write_raw(const std::filesystem::path& path, const std::string& header, std::size_t n,
               std::int64_t header_length = -1) {
  const auto length = header_length < 0 ? header.size() : static_cast<std::uint64_t>(header_length);
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  write_file(path, bytes + header + std::string(n, '\0'));
}

class Safetensors : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "model.safetensors"; }
  std::filesystem::path index() const { return folder_.path() / "model.safetensors.index.json"; }
  void expect_refused(std::initializer_list<std::string> parts) const {
    expect_error([&] { const Checkpoint checkpoint(folder_.path()); }, parts);
  }
  /// One tensor "w" whose entry is `entry`, in a file with n bytes of data.
  void expect_entry_refused(const json& entry, std::size_t n,
                            std::initializer_list<std::string> parts) const {
    write_raw(file(), json{{"w", entry}}.dump(), n);
    expect_refused({"model.safetensors", "'w'"});
    expect_refused(parts);
  }
  TempFolder folder_;
};

TEST_F(Safetensors, written_tensors_come_back) {
  write_safetensors(file(), {f32_tensor("b", {2, 3}, {1, 2, 3, 4, 5, 6}), f32_tensor("a", {1}, {7}),
                             f32_tensor("empty", {0, 4}, {})});
  const Checkpoint checkpoint(folder_.path());
  ASSERT_EQ(checkpoint.tensors().size(), 3U);
  const StoredTensor& b = checkpoint.tensors().at("b");
  EXPECT_EQ(b.shape, (std::vector<std::int64_t>{2, 3}));
  ASSERT_EQ(b.bytes.size(), 24U);
  float last = 0;
  std::memcpy(&last, b.bytes.data() + 20, 4);
  EXPECT_EQ(last, 6);
  EXPECT_EQ(checkpoint.sha256(), sha256_file(file()));
}

TEST_F(Safetensors, folder_without_weights_is_refused) {
  expect_refused({folder_.path().string(), "model.safetensors", "--weights random"});
}

TEST_F(Safetensors, broken_headers_are_refused) {
  write_file(file(), "abc");
  expect_refused({"model.safetensors", "3 bytes"});
  write_raw(file(), "{}", 0, 1000);
  expect_refused({"model.safetensors", "header length 1000", "10 bytes"});
  write_raw(file(), "{}", 0, INT64_MAX);
  expect_refused({"header length"});
  write_raw(file(), "{\"w\": ", 0);
  expect_refused({"model.safetensors", "not valid JSON"});
  write_raw(file(), "[1, 2]", 0);
  expect_refused({"model.safetensors", "no JSON object"});
  write_raw(file(), std::string(100000, '['), 0);
  expect_refused({"model.safetensors", "levels"});
  write_raw(file(), R"({"w": 3})", 0);
  expect_refused({"model.safetensors", "'w'", "not an object"});
}

TEST_F(Safetensors, contradictory_entries_are_refused) {
  const json good = {{"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {0, 16}}};
  const auto with = [&](const char* field, const json& value) {
    json entry = good;
    entry[field] = value;
    return entry;
  };
  write_raw(file(), json{{"w", good}}.dump(), 16);
  EXPECT_NO_THROW(const Checkpoint checkpoint(folder_.path()));

  expect_entry_refused(good, 15, {"end at byte 16", "15 bytes of data"});
  expect_entry_refused(with("data_offsets", {16, 32}), 16, {"end at byte 32"});
  expect_entry_refused(with("data_offsets", {16, 0}), 16, {"data_offsets"});
  expect_entry_refused(with("data_offsets", {-16, 0}), 16, {"data_offsets"});
  expect_entry_refused(with("data_offsets", {0, 16.5}), 16, {"data_offsets"});
  expect_entry_refused(with("data_offsets", {0}), 16, {"data_offsets"});
  expect_entry_refused(with("data_offsets", {0, UINT64_MAX}), 16, {"data_offsets"});
  expect_entry_refused(with("shape", {2, 3}), 16, {"[2,3]", "24 bytes", "hold 16"});
  expect_entry_refused(with("shape", {-2, -2}), 16, {"shape"});
  expect_entry_refused(with("shape", {INT64_MAX, INT64_MAX}), 16, {"too large"});
  expect_entry_refused(with("shape", 4), 16, {"shape"});
  expect_entry_refused(with("dtype", "I64"), 16, {"\"I64\"", "F32, F16 or BF16"});
  expect_entry_refused(with("dtype", 32), 16, {"dtype"});
  expect_entry_refused({{"dtype", "F32"}, {"shape", {4}}}, 16, {"'data_offsets' is missing"});
  expect_entry_refused({{"dtype", "F32"}, {"data_offsets", {0, 16}}}, 16, {"'shape' is missing"});
}

TEST_F(Safetensors, overlapping_tensors_are_refused) {
  write_raw(file(),
            R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
            16);
  expect_refused({"model.safetensors", "'a'", "'b'", "overlap"});
}

TEST_F(Safetensors, bytes_that_no_tensor_covers_are_refused) {
  write_raw(file(), R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})", 8);
  expect_refused({"model.safetensors", "8 bytes of data", "cover 4"});
  write_raw(file(), R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", 9);
  expect_refused({"9 bytes of data", "cover 4"});
}

TEST_F(Safetensors, a_pointer_in_place_of_the_file_is_recognised) {
  write_file(file(), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n");
  expect_refused({"model.safetensors", "Git LFS", "git lfs pull"});
  std::filesystem::rename(file(), index());
  expect_refused({"model.safetensors.index.json", "git lfs pull"});
}

TEST_F(Safetensors, quantized_tensors_are_recognised) {
  const auto entry = [](const char* name, const char* dtype, std::size_t size) {
    return json{{name, {{"dtype", dtype}, {"shape", {1}}, {"data_offsets", {0, size}}}}}.dump();
  };
  write_raw(file(), entry("model.layers.0.mlp.up_proj.qweight", "I32", 4), 4);
  expect_refused({"up_proj.qweight", "I32", "GPTQ, AWQ", "BF16"});
  write_raw(file(), entry("model.layers.0.mlp.up_proj.weight", "F8_E4M3", 1), 1);
  expect_refused({"up_proj.weight", "F8_E4M3", "8-bit", "BF16"});
  write_raw(file(), entry("model.layers.0.mlp.up_proj.weight", "U8", 1), 1);
  expect_refused({"up_proj.weight", "U8", "bitsandbytes", "BF16"});
  write_raw(file(), entry("model.layers.0.mlp.up_proj.weight", "I8", 1), 1);
  expect_refused({"up_proj.weight", "I8", "bitsandbytes", "BF16"});
}

TEST_F(Safetensors, pickled_weights_are_named) {
  write_file(folder_.path() / "pytorch_model.bin", "");
  expect_refused({"pytorch_model.bin", "converted to safetensors"});
}

TEST_F(Safetensors, unfinished_downloads_are_counted) {
  const auto partial = folder_.path() / ".cache" / "huggingface" / "download";
  std::filesystem::create_directories(partial);
  write_file(partial / "abc.incomplete", "");
  write_file(folder_.path() / "model.safetensors.part", "");
  expect_refused({"neither model.safetensors", "2 unfinished downloads"});
  const json map = {{"a", "one.safetensors"}};
  write_file(index(), json{{"weight_map", map}}.dump());
  expect_refused({"one.safetensors", "missing", "2 unfinished downloads"});
}

TEST_F(Safetensors, links_that_leave_the_folder_are_refused) {
  const TempFolder elsewhere;
  const auto outside = elsewhere.path() / "model.safetensors";
  write_safetensors(outside, {f32_tensor("a", {1}, {1})});
  std::filesystem::create_symlink(outside, file());
  expect_refused({file().string(), "symbolic link", outside.string()});
  std::filesystem::remove(file());

  const json map = {{"a", "one.safetensors"}};
  write_file(index(), json{{"weight_map", map}}.dump());
  std::filesystem::create_symlink(outside, folder_.path() / "one.safetensors");
  expect_refused({"one.safetensors", "symbolic link"});
  std::filesystem::remove(folder_.path() / "one.safetensors");
  std::filesystem::create_symlink("absent", folder_.path() / "one.safetensors");
  expect_refused({"are missing: one.safetensors"});
  std::filesystem::remove(folder_.path() / "one.safetensors");

  const json unchecked = {{"a", "one.bin"}};  // check_links passes over other extensions
  write_file(index(), json{{"weight_map", unchecked}}.dump());
  std::filesystem::create_symlink(outside, folder_.path() / "one.bin");
  expect_refused({"one.bin", "ends in .safetensors"});
  write_file(index(), json{{"weight_map", map}}.dump());

  std::filesystem::copy_file(outside, folder_.path() / "real.safetensors");
  std::filesystem::create_symlink("real.safetensors", folder_.path() / "one.safetensors");
  EXPECT_EQ(Checkpoint(folder_.path()).tensors().size(), 1U);
}

TEST_F(Safetensors, links_that_lead_in_a_circle_are_named) {
  std::filesystem::create_symlink("model.safetensors", file());
  expect_refused({file().string(), "symbolic links"});
  std::filesystem::remove(file());
  write_file(index(), json{{"weight_map", {{"a", "one.safetensors"}}}}.dump());
  std::filesystem::create_symlink("two.safetensors", folder_.path() / "one.safetensors");
  std::filesystem::create_symlink("one.safetensors", folder_.path() / "two.safetensors");
  expect_refused({"one.safetensors", "symbolic links"});
}

TEST_F(Safetensors, links_of_the_hugging_face_cache_are_followed) {
  const auto snapshot = folder_.path() / "models--a--b" / "snapshots" / "0123";
  const auto blobs = folder_.path() / "models--a--b" / "blobs";
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_directories(blobs);
  write_safetensors(blobs / "beef", {f32_tensor("a", {1}, {1})});
  std::filesystem::create_symlink("../../blobs/beef", snapshot / "model.safetensors");
  EXPECT_EQ(Checkpoint(snapshot).tensors().size(), 1U);
  write_file(blobs / "cafe.incomplete", "");
  std::filesystem::remove(blobs / "beef");
  expect_error([&] { const Checkpoint checkpoint(snapshot); },
               {"neither model.safetensors", "1 unfinished"});
  write_safetensors(folder_.path() / "models--a--b" / "beef", {f32_tensor("a", {1}, {1})});
  std::filesystem::remove(snapshot / "model.safetensors");
  std::filesystem::create_symlink("../../beef", snapshot / "model.safetensors");
  expect_error([&] { const Checkpoint checkpoint(snapshot); }, {"symbolic link"});
}

TEST_F(Safetensors, duplicate_names_are_refused) {
  write_raw(file(),
            R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})",
            8);
  expect_refused({"model.safetensors", "'a' occurs twice"});
}

TEST_F(Safetensors, shards_are_read_through_the_index) {
  write_safetensors(folder_.path() / "one.safetensors", {f32_tensor("a", {1}, {1})});
  write_safetensors(folder_.path() / "two.safetensors", {f32_tensor("b", {2}, {2, 3})});
  const json map = {{"a", "one.safetensors"}, {"b", "two.safetensors"}};
  write_file(index(), json{{"metadata", {{"total_size", 12}}}, {"weight_map", map}}.dump());
  const Checkpoint checkpoint(folder_.path());
  EXPECT_EQ(checkpoint.tensors().size(), 2U);
  EXPECT_EQ(checkpoint.tensors().at("b").shape, std::vector<std::int64_t>{2});
  EXPECT_EQ(checkpoint.sha256(),
            sha256_hex(sha256_file(folder_.path() / "one.safetensors") + "  one.safetensors\n" +
                       sha256_file(folder_.path() / "two.safetensors") + "  two.safetensors\n"));
}

TEST_F(Safetensors, an_index_that_disagrees_with_its_shards_is_refused) {
  write_safetensors(folder_.path() / "one.safetensors", {f32_tensor("a", {1}, {1})});
  const auto expect_map_refused = [&](const json& map, std::initializer_list<std::string> parts) {
    write_file(index(), json{{"weight_map", map}}.dump());
    expect_refused({"model.safetensors.index.json"});
    expect_refused(parts);
  };
  expect_map_refused(
      {{"a", "one.safetensors"}, {"b", "two.safetensors"}, {"c", "three.safetensors"}},
      {"3 shards", "2 are missing", "three.safetensors, two.safetensors"});
  expect_map_refused({{"a", "one.safetensors"}, {"b", "one.safetensors"}},
                     {"'b'", "'one.safetensors'", "it is not"});
  expect_map_refused({{"a", "../one.safetensors"}}, {"'a'", "../one.safetensors"});
  expect_map_refused({{"a", "/etc/one.safetensors"}}, {"'a'", "/etc/one.safetensors"});
  expect_map_refused({{"a", ".."}}, {"'a'", "a file name"});
  expect_map_refused({{"a", ""}}, {"'a'", "a file name"});
  expect_map_refused({{"a", "one.bin"}}, {"'a'", "one.bin", "ends in .safetensors"});
  expect_map_refused({{"a", std::string("one.bin\0.safetensors", 20)}}, {"'a'", "a file name"});
  expect_map_refused({{"a", 3}}, {"'a'", "a file name"});
  expect_map_refused(json::array(), {"weight_map"});

  write_safetensors(folder_.path() / "one.safetensors",
                    {f32_tensor("a", {1}, {1}), f32_tensor("c", {1}, {1})});
  expect_map_refused({{"a", "one.safetensors"}}, {"'c'", "not in weight_map"});
  write_file(index(), R"({"weight_map": {"a": "one.safetensors", "a": "one.safetensors"}})");
  expect_refused({"index.json", "'a' occurs twice"});
  write_file(index(), R"({"weight_map": )");
  expect_refused({"index.json", "not valid JSON"});
}

TEST_F(Safetensors, missing_misshapen_and_unexpected_tensors_are_listed_together) {
  write_safetensors(
      file(),
      {f32_tensor("w", {2, 3}, {1, 2, 3, 4, 5, 6}), f32_tensor("row", {1, 2}, {1, 2}),
       f32_tensor("layer.rotary_emb.inv_freq", {1}, {1}), f32_tensor("stranger", {1}, {1})});
  const Checkpoint checkpoint(folder_.path());
  EXPECT_NO_THROW(check_tensors(checkpoint, {{"w", 2, 3}, {"row", 1, 2}, {"stranger", 1, 1}}));
  expect_error(
      [&] { check_tensors(checkpoint, {{"w", 3, 2}, {"row", 1, 2}, {"a", 1, 2}, {"b", 2, 2}}); },
      {"model.safetensors", "config.json", "2 tensors missing (a [2], b [2, 2])",
       "1 of another shape (w is [2, 3] in model.safetensors, expected [3, 2])",
       "1 unexpected (stranger)"});
  std::vector<WantedTensor> many{{"w", 2, 3}, {"row", 1, 2}, {"stranger", 1, 1}};
  for (int i = 0; i < 9; ++i) many.push_back({fmt::format("m{}", i), 1, 1});
  expect_error([&] { check_tensors(checkpoint, many); },
               {"9 tensors missing", "m3 [1] and 5 more"});
}

TEST_F(Safetensors, the_head_of_a_tied_model_may_be_stored_as_a_copy) {
  const std::vector<WantedTensor> tied{{"model.embed_tokens.weight", 1, 2}};
  write_safetensors(file(), {f32_tensor("model.embed_tokens.weight", {1, 2}, {1, 2}),
                             f32_tensor("lm_head.weight", {1, 2}, {1, 2})});
  EXPECT_NO_THROW(check_tensors(Checkpoint(folder_.path()), tied));
  write_safetensors(file(), {f32_tensor("model.embed_tokens.weight", {1, 2}, {1, 2}),
                             f32_tensor("lm_head.weight", {1, 2}, {1, 3})});
  expect_error([&] { check_tensors(Checkpoint(folder_.path()), tied); },
               {"lm_head.weight", "tie_word_embeddings", "differs"});
}

TEST_F(Safetensors, weights_are_filled_in_once_all_are_known) {
  write_safetensors(file(),
                    {f32_tensor("w", {2, 3}, {1, 2, 3, 4, 5, 6}), f32_tensor("v", {2}, {7, 8})});
  const auto backend = make_backend("cpu", 1);
  const Checkpoint checkpoint(folder_.path());
  FileWeights weights(checkpoint, *backend);
  const Tensor v = weights.load("v", 1, 2);
  const Tensor w = weights.load("w", 2, 3);
  EXPECT_EQ(weights.fill(), 32);
  EXPECT_EQ(w.view.f32()[5], 6);
  EXPECT_EQ(v.view.f32()[1], 8);
}

TEST_F(Safetensors, corrupted_bytes_are_read_or_refused_but_never_followed) {
  write_safetensors(file(), {f32_tensor("a", {2, 2}, {1, 2, 3, 4}), f32_tensor("b", {1}, {5})});
  const std::string good = read_text_file(file());
  std::mt19937_64 random(17);
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
      bad[random() % bad.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    write_file(file(), bad);
    try {
      const Checkpoint checkpoint(folder_.path());
      std::int64_t sum = 0;  // every byte that is handed out can be read
      for (const auto& [name, tensor] : checkpoint.tensors()) {
        for (const std::byte byte : tensor.bytes) sum += std::to_integer<int>(byte);
      }
      EXPECT_LT(sum, std::int64_t{256} * static_cast<std::int64_t>(bad.size()));
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos);
    }
  }
}

TEST_F(Safetensors, unaligned_data_is_read_correctly) {
  const std::string header = R"({"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";
  ASSERT_NE((8 + header.size() + 1) % 4, 0U);
  write_raw(file(), header + " ", 0);
  std::vector<std::byte> data;
  store_value(1.5F, DType::f32, data);
  store_value(-2.0F, DType::f32, data);
  std::ofstream(file(), std::ios::binary | std::ios::app)
      .write(reinterpret_cast<const char*>(data.data()), 8);
  const auto backend = make_backend("cpu", 1);
  const Checkpoint checkpoint(folder_.path());
  FileWeights weights(checkpoint, *backend);
  const Tensor tensor = weights.load("w", 1, 2);
  weights.fill();
  EXPECT_EQ(tensor.view.f32()[1], -2.0F);
}

TEST_F(Safetensors, random_weights_have_the_stated_distribution) {
  const auto backend = make_backend("cpu", 1);
  RandomWeights weights(5, *backend);
  const Tensor w = weights.load("w", 100, 400);
  double sum = 0;
  double squares = 0;
  for (std::int64_t i = 0; i < w.view.size(); ++i) {
    sum += w.view.f32()[i];
    squares += static_cast<double>(w.view.f32()[i]) * w.view.f32()[i];
  }
  EXPECT_NEAR(sum / 40000, 0, 0.001);
  EXPECT_NEAR(std::sqrt(squares / 40000), 0.05, 0.001);
  EXPECT_EQ(weights.load("a_norm.weight", 1, 3).view.f32()[2], 1.0F);
  EXPECT_EQ(RandomWeights(5, *backend).load("w", 100, 400).view.f32()[39999], w.view.f32()[39999]);
  EXPECT_NE(RandomWeights(6, *backend).load("w", 100, 400).view.f32()[0], w.view.f32()[0]);
  EXPECT_NE(weights.load("v", 100, 400).view.f32()[0], w.view.f32()[0]);
}

}  // namespace
}  // namespace sala::testing
