// Index of model families. To add one: write families/<name>.cpp, declare its reader, add a row.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "engine/model/families/family.h"

namespace sala {

void read_llama(ConfigReader&, const Settings&, ModelConfig&);
void read_minicpm4(ConfigReader&, const Settings&, ModelConfig&);
void read_minicpm_sala(ConfigReader&, const Settings&, ModelConfig&);
void read_qwen3(ConfigReader&, const Settings&, ModelConfig&);

namespace {

constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", read_llama},
    {"minicpm", "MiniCPMForCausalLM", read_minicpm4},
    {"minicpm4", "MiniCPM4ForCausalLM", read_minicpm4},
    {"minicpm_sala", "MiniCPMSALAForCausalLM", read_minicpm_sala},
    {"qwen3", "Qwen3ForCausalLM", read_qwen3},
};

}  // namespace

const Family& find_family(ConfigReader& reader) {
  std::vector<std::string> known;
  for (const Family& family : kFamilies) known.emplace_back(family.model_type);
  const Family* by_type = nullptr;
  if (reader.has("model_type")) {
    const std::string& type = reader.text("model_type");
    for (const Family& family : kFamilies) {
      if (type == family.model_type) by_type = &family;
    }
    if (by_type == nullptr) {
      reader.fail("model_type", fmt::format("'{}' is not a supported family; there are {}", type,
                                            fmt::join(known, ", ")));
    }
  }
  reader.ignore({"architectures"});
  if (!reader.has("architectures")) {
    if (by_type != nullptr) return *by_type;
    reader.fail("model_type",
                fmt::format("is missing, and so is 'architectures'; expected one of {}",
                            fmt::join(known, ", ")));
  }
  const auto& architectures = reader.required("architectures");
  const bool is_one =
      architectures.is_array() && architectures.size() == 1 && architectures.front().is_string();
  const std::string name = is_one ? architectures.front().get<std::string>() : architectures.dump();
  for (const Family& family : kFamilies) {
    if (name != family.architecture) continue;
    if (by_type == nullptr) return family;
    if (by_type->read == family.read) return *by_type;  // two names of one family
  }
  if (by_type == nullptr) {
    reader.fail("architectures", fmt::format("'{}' is not supported; give model_type as one of {}",
                                             name, fmt::join(known, ", ")));
  }
  reader.fail("architectures", fmt::format("'{}' does not go with model_type '{}', whose is {}",
                                           name, by_type->model_type, by_type->architecture));
}

}  // namespace sala
