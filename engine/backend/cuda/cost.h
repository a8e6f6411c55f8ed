// Cost as kernels declare it, in a header that .cu files may include.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/cost.h"
