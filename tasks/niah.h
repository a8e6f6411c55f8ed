// RULER's needle family: keys and values hidden in filler, some of them asked for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "harness/task.h"

namespace sala {

enum class NiahFiller : std::uint8_t { noise, prose, needles };
enum class NiahWord : std::uint8_t { words, numbers, uuids };
enum class NiahDepth : std::uint8_t { random, grid };

/// One task of the family. k keys with v values each are hidden, q keys are asked for.
struct NiahSpec {
  const char* name;
  const char* summary;
  NiahFiller filler = NiahFiller::prose;
  NiahWord key = NiahWord::words;
  NiahWord value = NiahWord::numbers;
  int k = 1;
  int v = 1;
  int q = 1;
  NiahDepth depth = NiahDepth::random;
};

/// Strings, draws and repairs: RULER (arXiv 2404.06654, commit c3f5e3b) in strict mode. With
/// NiahDepth::grid the needle of sample i starts at (i mod 11) * 10 % of the prompt's tokens, as
/// near as the ends of sentences allow.
std::unique_ptr<Task> make_niah(const NiahSpec& spec);

}  // namespace sala
