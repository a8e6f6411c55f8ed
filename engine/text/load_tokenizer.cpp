// Chooses the reader by the files that a model folder has.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/text/sentencepiece_tokenizer.h"
#include "engine/text/tokenizer_json.h"

namespace sala {

namespace fs = std::filesystem;

bool has_tokenizer(const fs::path& model_folder) {
  return file_exists(model_folder / "tokenizer.json") ||
         file_exists(model_folder / "tokenizer.model");
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& model_folder) {
  if (file_exists(model_folder / "tokenizer.json")) return load_tokenizer_json(model_folder);
  if (file_exists(model_folder / "tokenizer.model")) return load_sentencepiece(model_folder);
  throw Error((model_folder / "tokenizer.json").string(),
              "no such file, nor a tokenizer.model; a model folder needs one of them");
}

}  // namespace sala
