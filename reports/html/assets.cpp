// Files that travel inside the binary; assets.S.in puts their bytes there.
// SPDX-License-Identifier: Apache-2.0
#include "reports/html/assets.h"

#define SALA_ASSET(name)                   \
  extern const char sala_##name##_begin[]; \
  extern const char sala_##name##_end[];

extern "C" {
SALA_ASSET(css)
SALA_ASSET(script)
SALA_ASSET(vega)
SALA_ASSET(vega_lite)
SALA_ASSET(vega_embed)
SALA_ASSET(licenses)
}

#undef SALA_ASSET

namespace sala {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

/// Without the last line that names a source map: a page asks for no other file.
std::string_view library(const char* begin, const char* end) {
  const std::string_view text = between(begin, end);
  return text.substr(0, text.rfind("\n//# sourceMappingURL="));
}

}  // namespace

const PageAssets& page_assets() {
  static const PageAssets assets{
      .css = between(sala_css_begin, sala_css_end),
      .script = between(sala_script_begin, sala_script_end),
      .vega = library(sala_vega_begin, sala_vega_end),
      .vega_lite = library(sala_vega_lite_begin, sala_vega_lite_end),
      .vega_embed = library(sala_vega_embed_begin, sala_vega_embed_end),
      .licenses = between(sala_licenses_begin, sala_licenses_end),
  };
  return assets;
}

}  // namespace sala
