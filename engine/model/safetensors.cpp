// Safetensors files, every length and offset checked before it is used.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/base/error.h"
#include "engine/base/parse_json.h"
#include "engine/base/sha256.h"
#include "engine/model/model_folder.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

constexpr std::int64_t kLengthBytes = 8;                 // of the header length that begins a file
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // by the format's own rule

struct DTypeName {
  std::string_view name;
  DType dtype;
};
constexpr DTypeName kDTypes[] = {{"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}};

/// Parses a JSON object and refuses keys that occur twice, of which a parser would keep one.
json parse_with_unique_keys(const fs::path& file, std::string_view text) {
  std::vector<std::set<std::string>> seen;  // keys of the open objects, outermost first
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    check_json_depth(file, depth);
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key && !seen.back().insert(parsed).second) {
      throw Error(file.string(), "'{}' occurs twice; names must be unique",
                  parsed.get<std::string>());
    }
    return true;
  };
  try {
    json value = json::parse(text, check);
    if (value.is_object()) return value;
  } catch (const json::exception& error) {
    throw Error(file.string(), "is not valid JSON where it should be: {}", error.what());
  }
  throw Error(file.string(), "holds no JSON object where it should; is it a safetensors file?");
}

/// A list of non-negative integers, or nothing.
std::optional<std::vector<std::int64_t>> integers(const json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const json& item : value) {
    if (!item.is_number_integer()) return std::nullopt;
    numbers.push_back(item.get<std::int64_t>());
    if (numbers.back() < 0) return std::nullopt;  // also what a number past int64 becomes
  }
  return numbers;
}

/// Says what a dtype or name that cannot be used is a sign of.
std::string unusable(const std::string& name, const json& dtype) {
  if (dtype.is_string() && dtype.get_ref<const std::string&>().starts_with("F8_")) {
    return "8-bit floating point is not supported";
  }
  for (const char* ending : {".qweight", ".qzeros", ".g_idx", ".weight_packed"}) {
    if (name.ends_with(ending)) return "these are quantized weights (GPTQ, AWQ or alike)";
  }
  if (dtype == "U8" || dtype == "I8") return "these are quantized weights (bitsandbytes or alike)";
  return "it is not supported";
}

StoredTensor read_entry(const std::string& file, const std::string& name, const json& entry,
                        std::span<const std::byte> data) {
  if (!entry.is_object()) throw Error(file, "tensor '{}': its entry is not an object", name);
  const auto field = [&](const char* key) -> const json& {
    const auto found = entry.find(key);
    if (found == entry.end()) throw Error(file, "tensor '{}': field '{}' is missing", name, key);
    return *found;
  };

  StoredTensor tensor;
  tensor.file = file;
  const json& dtype = field("dtype");
  const auto* row =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeName& known) {
        return dtype.is_string() && dtype.get_ref<const std::string&>() == known.name;
      });
  if (row == std::end(kDTypes)) {
    throw Error(file, "tensor '{}' has dtype {}: {}; use the checkpoint in F32, F16 or BF16", name,
                dtype.dump(), unusable(name, dtype));
  }
  tensor.dtype = row->dtype;

  const auto shape = integers(field("shape"));
  if (!shape) {
    throw Error(file, "tensor '{}': shape {} is not a list of sizes", name, field("shape").dump());
  }
  tensor.shape = *shape;
  std::int64_t expected = dtype_bytes(tensor.dtype);
  for (const std::int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(expected, size, &expected)) {
      throw Error(file, "tensor '{}': shape {} is too large to exist", name, field("shape").dump());
    }
  }

  const auto range = integers(field("data_offsets"));
  if (!range || range->size() != 2 || (*range)[0] > (*range)[1]) {
    throw Error(file, "tensor '{}': data_offsets {} is not a pair [begin, end]", name,
                field("data_offsets").dump());
  }
  const auto available = static_cast<std::int64_t>(data.size());
  if ((*range)[1] > available) {
    throw Error(
        file,
        "tensor '{}': data_offsets end at byte {}, but the file has {} bytes of data; it is "
        "cut short or corrupt, copy it again",
        name, (*range)[1], available);
  }
  const std::int64_t size = (*range)[1] - (*range)[0];
  if (size != expected) {
    throw Error(file, "tensor '{}': shape {} of dtype {} takes {} bytes, data_offsets hold {}",
                name, field("shape").dump(), row->name, expected, size);
  }
  tensor.bytes =
      data.subspan(static_cast<std::size_t>((*range)[0]), static_cast<std::size_t>(size));
  return tensor;
}

/// The tensors must cover the data without overlaps or holes.
void check_cover(const std::string& file, const std::map<std::string, StoredTensor>& tensors,
                 std::span<const std::byte> data) {
  std::vector<std::pair<std::span<const std::byte>, const std::string*>> ranges;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.bytes.empty()) ranges.emplace_back(tensor.bytes, &name);
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first.data() < b.first.data(); });
  std::size_t covered = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    covered += ranges[i].first.size();
    if (i == 0) continue;
    const auto& before = ranges[i - 1].first;
    if (before.data() + before.size() > ranges[i].first.data()) {
      throw Error(file, "tensors '{}' and '{}' overlap; the file is corrupt", *ranges[i - 1].second,
                  *ranges[i].second);
    }
  }
  if (covered != data.size()) {
    throw Error(file, "has {} bytes of data of which its tensors cover {}; the file is corrupt",
                data.size(), covered);
  }
}

std::map<std::string, StoredTensor> read_tensors(const fs::path& path, const MappedFile& mapped) {
  const std::string file = path.string();
  const auto bytes = mapped.bytes();
  if (bytes.size() < kLengthBytes) {
    throw Error(file, "has {} bytes, a safetensors file has at least 8; copy it again",
                bytes.size());
  }
  refuse_lfs_pointer(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  std::uint64_t header_length = 0;
  std::memcpy(&header_length, bytes.data(), kLengthBytes);
  if (header_length > bytes.size() - kLengthBytes) {
    throw Error(file, "header length {} is beyond the end of the file ({} bytes); copy it again",
                header_length, bytes.size());
  }
  if (header_length > kMostHeaderBytes) {
    throw Error(file, "header length {} is over the format's limit of {}; the file is corrupt",
                header_length, kMostHeaderBytes);
  }
  const auto header = bytes.subspan(kLengthBytes, header_length);
  const auto data = bytes.subspan(kLengthBytes + header_length);
  const json entries =
      parse_with_unique_keys(path, {reinterpret_cast<const char*>(header.data()), header.size()});

  std::map<std::string, StoredTensor> tensors;
  for (const auto& [name, entry] : entries.items()) {
    if (name != "__metadata__") tensors[name] = read_entry(file, name, entry, data);
  }
  check_cover(file, tensors, data);
  return tensors;
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder) {
  check_links(folder);
  const fs::path single = folder / "model.safetensors";
  const fs::path index = folder / "model.safetensors.index.json";
  if (file_exists(single)) {
    source_ = single;
    open_file(single);
  } else if (file_exists(index)) {
    source_ = index;
    open_shards(index);
  } else {
    const bool pickled = file_exists(folder / "pytorch_model.bin") ||
                         file_exists(folder / "pytorch_model.bin.index.json");
    throw Error(folder.string(),
                "has neither model.safetensors nor model.safetensors.index.json{}; {}",
                unfinished_downloads(folder),
                pickled ? "its pytorch_model.bin must be converted to safetensors"
                        : "name a folder with weights, or use --weights random");
  }
}

void Checkpoint::open_file(const fs::path& path) {
  const auto file = files_.try_emplace(path.filename().string(), path).first;
  tensors_.merge(read_tensors(path, file->second));
}

void Checkpoint::open_shards(const fs::path& index) {
  const std::string where = index.string();
  const json content = parse_with_unique_keys(index, read_checkpoint_text(index));
  const auto map = content.find("weight_map");
  if (map == content.end() || !map->is_object() || map->empty()) {
    throw Error(where, "field 'weight_map' is missing or not an object of tensor names to files");
  }
  std::map<std::string, std::vector<std::string>> shards;  // file name -> tensors
  for (const auto& [name, file] : map->items()) {
    // Only names that check_links saw: a NUL would cut a name short when it is opened.
    const fs::path shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.filename() != shard || shard.extension() != ".safetensors" ||
        shard.native().find('\0') != std::string::npos) {
      throw Error(where,
                  "weight_map: tensor '{}' is said to be in {}, expected a file name that ends in "
                  ".safetensors",
                  name, file.dump());
    }
    shards[shard.string()].push_back(name);
  }
  const fs::path folder = index.parent_path();
  std::vector<std::string> missing;
  for (const auto& [file, names] : shards) {
    if (!file_exists(folder / file)) missing.push_back(file);
  }
  if (!missing.empty()) {
    throw Error(where, "weight_map names {} shards of which {} are missing: {}{}", shards.size(),
                missing.size(), fmt::join(missing, ", "), unfinished_downloads(folder));
  }
  for (const auto& [file, names] : shards) {
    const fs::path path = folder / file;
    const auto mapped = files_.try_emplace(file, path).first;
    auto tensors = read_tensors(path, mapped->second);
    for (const std::string& name : names) {
      auto node = tensors.extract(name);
      if (node.empty()) {
        throw Error(where, "weight_map says tensor '{}' is in '{}', but it is not", name, file);
      }
      tensors_.insert(std::move(node));
    }
    if (!tensors.empty()) {
      throw Error(where, "tensor '{}' of '{}' is not in weight_map", tensors.begin()->first, file);
    }
  }
}

std::string Checkpoint::sha256() const {
  if (files_.size() == 1) return sha256_hex(files_.begin()->second.bytes());
  std::vector<std::pair<std::string, std::future<std::string>>> hashes;  // a thread a shard
  for (const auto& [name, file] : files_) {
    const auto bytes = file.bytes();
    hashes.emplace_back(name,
                        std::async(std::launch::async, [bytes] { return sha256_hex(bytes); }));
  }
  std::string lines;
  for (auto& [name, hash] : hashes) lines += hash.get() + "  " + name + "\n";
  return sha256_hex(lines);
}

void write_safetensors(const fs::path& path, const std::vector<TensorToWrite>& tensors) {
  json header = json::object();
  std::size_t end = 0;
  for (const TensorToWrite& tensor : tensors) {
    const auto* row =
        std::find_if(std::begin(kDTypes), std::end(kDTypes),
                     [&](const DTypeName& known) { return known.dtype == tensor.dtype; });
    const std::size_t begin = end;
    end += tensor.bytes.size();
    header[tensor.name] = {
        {"dtype", row->name}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();

  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const TensorToWrite& tensor : tensors) {
    out.write(reinterpret_cast<const char*>(tensor.bytes.data()),
              static_cast<std::streamsize>(tensor.bytes.size()));
  }
  out.flush();
  if (!out) throw Error(path.string(), "cannot be written; check the folder and the free space");
}

}  // namespace sala
