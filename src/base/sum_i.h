/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the checksums: their other versions. */
#ifndef VEXFS_SUM_I_H
#define VEXFS_SUM_I_H

#include <vexfs/base.h>

uint64_t sum64_avx2(const void *data, size_t len, uint64_t seed);
uint64_t sum64_avx512(const void *data, size_t len, uint64_t seed);

#endif
