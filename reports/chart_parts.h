// What the figures share: colours, fonts, and how a specification enters the page.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "reports/analysis.h"

namespace sala {

// Okabe and Ito's colours, told apart by every common kind of colour vision.
inline constexpr std::array<const char*, 8> kColours{"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                     "#E69F00", "#56B4E9", "#F0E442", "#999999"};

/// An encoding channel; a null title hides it.
nlohmann::json field(const char* name, const char* type, const nlohmann::json& title);

/// Width of its container, fonts and quiet axes; the caller adds height, data and layers.
nlohmann::json base_spec();

/// Colour channel of text: white where the row's field `dark` is true.
const nlohmann::json& ink();

/// Makes a channel logarithmic just around [low, high], with the roundest ticks of which there are
/// three.
void log_axis(double low, double high, nlohmann::json& channel);

/// Colour, dash and marker of the subjects: any one of the three is enough to tell them apart.
struct SubjectStyle {
  nlohmann::json colour, dash, shape;
};

SubjectStyle subject_style(const Analysis& analysis);

/// Adds each row's `text` at its place on the axes of `x` and `y`, to the left of the place where
/// the row's `to_left` is true, else to the right.
void add_side_texts(const nlohmann::json& rows, const nlohmann::json& x, const nlohmann::json& y,
                    int distance, nlohmann::json& spec);

/// Rules the crossing into a chart over length and shades its interval, both within the lengths
/// that were measured; nothing where there is no crossing.
void add_crossover_band(const Crossover& crossover, nlohmann::json& spec);

/// Whether the subject ran out of memory at the length.
bool out_of_memory(const Analysis& analysis, std::size_t subject, std::int64_t length);

/// Text of a specification for a script element: `<` could end the element and is escaped.
std::string island(const nlohmann::json& spec);

}  // namespace sala
