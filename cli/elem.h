/* SPDX-License-Identifier: Apache-2.0 */
/* elem: values of the element types of spaces, and what they mean as float32. */
#ifndef VEXCTL_ELEM_H
#define VEXCTL_ELEM_H

#include "mount.h"

/* Bytes of a row of the space. */
size_t elem_row_bytes(const struct vexfs_space *s);
/* One IEEE binary16, at any address. */
float elem_half(const void *p);
/* n rows as they are stored, to n x dim numbers. */
void elem_decode(const struct vexfs_space *s, const void *data, size_t n, float *out);
/* What a number in range is once it has been stored. */
float elem_stored(const struct vexfs_space *s, float v);
/* Is a value of this space text? In i8, i16 and bit it begins with '['. */
bool elem_is_text(const struct vexfs_space *s, const void *data, size_t n);

#endif
