/* SPDX-License-Identifier: Apache-2.0 */
/* criterion/logging.h, as far as our tests use it. */
#ifndef COMPAT_LOGGING_H
#define COMPAT_LOGGING_H

#include <stdio.h>

#define cr_log_warn(...)                                                                 \
	do {                                                                             \
		fprintf(stderr, __VA_ARGS__);                                            \
		fputc('\n', stderr);                                                     \
	} while (0)

#endif
