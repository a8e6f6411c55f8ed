// Files that travel inside the binary: the page's style and script, and the chart library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace sala {

struct PageAssets {
  std::string_view css;
  std::string_view script;
  std::string_view vega;  // the three libraries are empty in a build without them
  std::string_view vega_lite;
  std::string_view vega_embed;
  std::string_view licenses;  // of the libraries
  bool has_charts() const { return !vega.empty() && !vega_lite.empty() && !vega_embed.empty(); }
};

const PageAssets& page_assets();

}  // namespace sala
