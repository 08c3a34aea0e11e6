/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of Criterion's own: criterion.h has all of it that our tests use. */
#include <criterion/criterion.h>
