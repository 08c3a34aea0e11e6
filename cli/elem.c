/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elem: see elem.h; uapi/vexfs.h says what the elements are. The daemon converts what is
 * put; here only what it gave back is read.
 */
#include "elem.h"

#include <math.h>

#include "vector.h"

size_t elem_row_bytes(const struct vexfs_space *s)
{
	switch (s->type) {
	case VEXFS_F16:
	case VEXFS_I16:
		return (size_t)s->dim * 2;
	case VEXFS_I8:
		return s->dim;
	case VEXFS_BIT:
		return (s->dim + 7) / 8;
	default:
		return (size_t)s->dim * sizeof(float);
	}
}

float elem_half(const void *p)
{
	const unsigned char *b = p;
	uint32_t h = b[0] | (uint32_t)b[1] << 8;
	int exponent = (int)(h >> 10 & 31);
	float mantissa = (float)(h & 1023);
	float v;

	if (exponent == 31)
		v = h & 1023 ? NAN : INFINITY;
	else if (exponent)
		v = ldexpf(mantissa + 1024, exponent - 25);
	else
		v = ldexpf(mantissa, -24);
	return h & 0x8000 ? -v : v;
}

static float element(const struct vexfs_space *s, const unsigned char *row, uint32_t i)
{
	double scale = s->scale > 0 ? s->scale : 1;
	int16_t w;
	float f;

	switch (s->type) {
	case VEXFS_F16:
		return elem_half(row + 2 * (size_t)i);
	case VEXFS_I8:
		return (float)((signed char)row[i] * scale);
	case VEXFS_I16:
		memcpy(&w, row + 2 * (size_t)i, sizeof(w));
		return (float)(w * scale);
	case VEXFS_BIT:
		return (float)(row[i / 8] >> (i % 8) & 1);
	default:
		memcpy(&f, row + sizeof(f) * i, sizeof(f));
		return f;
	}
}

void elem_decode(const struct vexfs_space *s, const void *data, size_t n, float *out)
{
	const unsigned char *row = data;

	for (size_t r = 0; r < n; r++, row += elem_row_bytes(s))
		for (uint32_t i = 0; i < s->dim; i++)
			*out++ = element(s, row, i);
}

float elem_stored(const struct vexfs_space *s, float v)
{
	switch (s->type) {
	case VEXFS_F16:
		return (float)(_Float16)v;
	case VEXFS_I8:
	case VEXFS_I16:
		return s->scale > 0 ? (float)(nearbyint((double)v / s->scale) * s->scale)
				    : v;
	case VEXFS_BIT:
		return v > 0;
	default:
		return v;
	}
}

bool elem_is_text(const struct vexfs_space *s, const void *data, size_t n)
{
	const char *p = data;

	if (s->type >= VEXFS_I8 && (!n || *p != '['))
		return false;
	return vector_is_text(data, n);
}
