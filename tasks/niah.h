// RULER's needle family: keys and values hidden in filler, some of them asked for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "harness/task.h"

namespace sala {

enum class NiahFiller : std::uint8_t { noise, prose, needles };
enum class NiahWord : std::uint8_t { words, numbers, uuids };
enum class NiahDepth : std::uint8_t { random, grid };

/// Percent of the sentences before a needle; drawn without replacement within a sample.
inline constexpr std::array<int, 40> kNiahDepths{
    0,  3,  5,  8,  10, 13, 15, 18, 21, 23, 26, 28, 31, 33, 36, 38, 41, 44, 46, 49,
    51, 54, 56, 59, 62, 64, 67, 69, 72, 74, 77, 79, 82, 85, 87, 90, 92, 95, 97, 100};

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

/// RULER's needle tasks (arXiv 2404.06654, commit c3f5e3b). With NiahDepth::grid, which upstream
/// does not have, the needle of sample i starts at (i mod 11) * 10 % of the prompt's tokens, as
/// near as the ends of sentences allow.
std::unique_ptr<Task> make_niah(const NiahSpec& spec);

}  // namespace sala
