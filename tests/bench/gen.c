/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen KIND ROWS QUERIES PREFIX: a made-up set, PREFIX_base.fvecs and PREFIX_query.fvecs,
 * from a fixed seed; base and queries are drawn in the same way.
 *
 *   text512   unit vectors of 512 dimensions as sentence encoders give them: topics, each
 *             with its own spread, in a latent space of few dimensions, bent into 512 by
 *             a random layer, with noise.
 *   image784  28 x 28 pictures, whole numbers 0-255, most of them 0: strokes drawn with a
 *             soft pen along curves of ten shapes, each picture with its own control
 *             points, slant and pen width.
 *
 * What counts for an index is how many directions the data really have, and both have
 * few, as embeddings and pictures do. hnswlib's cost on them lies beside that on the
 * real ones (docs/PERFORMANCE.md).
 */
#include <math.h>
#include "bench.h"

enum { TEXT = 512, SIDE = 28, IMAGE = SIDE * SIDE, LATENT = 24, TOPICS = 400 };

static uint64_t state = 0x5eed5eed2026;

static double uniform(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double normal(void)
{
	return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

/* ---- text512 --------------------------------------------------------------------- */

static float layer[TEXT][LATENT], topic[TOPICS][LATENT], spread[TOPICS][LATENT];

static void text_begin(void)
{
	for (int i = 0; i < TEXT; i++)
		for (int j = 0; j < LATENT; j++)
			layer[i][j] = (float)(normal() / sqrt(LATENT));
	for (int t = 0; t < TOPICS; t++)
		for (int j = 0; j < LATENT; j++) {
			topic[t][j] = (float)(1.2 * normal());
			spread[t][j] = (float)(0.9 * uniform() * uniform() + 0.1);
		}
}

static void text_row(float *out)
{
	int t = (int)(TOPICS * uniform() * uniform());
	float z[LATENT], squares = 0;

	for (int j = 0; j < LATENT; j++)
		z[j] = topic[t][j] + spread[t][j] * (float)normal();
	for (int i = 0; i < TEXT; i++) {
		float s = 0;

		for (int j = 0; j < LATENT; j++)
			s += layer[i][j] * z[j];
		out[i] = tanhf(s) + 0.05f * (float)normal();
		squares += out[i] * out[i];
	}
	for (int i = 0; i < TEXT; i++)
		out[i] /= sqrtf(squares);
}

/* ---- image784 ---------------------------------------------------------------------- */

enum { SHAPES = 10, POINTS = 5, STEPS = 40 };

static float shape[SHAPES][2][POINTS][2];

static void image_begin(void)
{
	for (int s = 0; s < SHAPES; s++)
		for (int c = 0; c < 2; c++)
			for (int p = 0; p < POINTS; p++)
				for (int i = 0; i < 2; i++)
					shape[s][c][p][i] = (float)(5 + 18 * uniform());
}

static void dab(float *out, float x, float y, float pen)
{
	for (int i = (int)y - 3; i <= (int)y + 3; i++)
		for (int j = (int)x - 3; j <= (int)x + 3; j++) {
			float dx = (float)j - x, dy = (float)i - y, v;

			if (i < 0 || j < 0 || i >= SIDE || j >= SIDE)
				continue;
			v = 290 * expf(-(dx * dx + dy * dy) / (pen * pen));
			if (v > out[i * SIDE + j])
				out[i * SIDE + j] = v;
		}
}

/* A curve through its control points, by de Casteljau. */
static void stroke(float *out, float at[POINTS][2], float pen)
{
	for (int s = 0; s <= STEPS; s++) {
		float p[POINTS][2], u = (float)s / STEPS;

		memcpy(p, at, sizeof(p));
		for (int n = POINTS - 1; n > 0; n--)
			for (int i = 0; i < n; i++) {
				p[i][0] += u * (p[i + 1][0] - p[i][0]);
				p[i][1] += u * (p[i + 1][1] - p[i][1]);
			}
		dab(out, p[0][0], p[0][1], pen);
	}
}

static void image_row(float *out)
{
	int s = (int)(SHAPES * uniform());
	float slant = (float)(0.25 * normal()), pen = (float)(1.3 + 0.5 * uniform());

	memset(out, 0, IMAGE * sizeof(*out));
	for (int c = 0; c < 2; c++) {
		float p[POINTS][2];

		for (int i = 0; i < POINTS; i++) {
			p[i][0] = shape[s][c][i][0] + (float)(2.0 * normal());
			p[i][1] = shape[s][c][i][1] + (float)(2.0 * normal());
			p[i][0] += slant * (p[i][1] - SIDE / 2.0f);
		}
		stroke(out, p, pen);
	}
	for (int i = 0; i < IMAGE; i++)
		out[i] = out[i] < 8 ? 0 : out[i] > 255 ? 255 : floorf(out[i]);
}

/* ---- both ---------------------------------------------------------------------------
 */

static void write_rows(const char *prefix, const char *what, uint32_t n, uint32_t dim,
		       void (*row)(float *))
{
	float v[IMAGE];
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s_%s.fvecs", prefix, what);
	f = fopen(path, "we");
	if (!f)
		fail(path);
	for (uint32_t i = 0; i < n; i++) {
		row(v);
		if (fwrite(&dim, 4, 1, f) != 1 || fwrite(v, 4, dim, f) != dim)
			fail(path);
	}
	if (fclose(f))
		fail(path);
}

int main(int argc, char **argv)
{
	bool text = argc == 5 && !strcmp(argv[1], "text512");

	if (argc != 5 || (!text && strcmp(argv[1], "image784"))) {
		fprintf(stderr, "usage: gen text512|image784 ROWS QUERIES PREFIX\n");
		return 2;
	}
	if (text)
		text_begin();
	else
		image_begin();
	write_rows(argv[4], "base", number(argv[2], "gen"), text ? TEXT : IMAGE,
		   text ? text_row : image_row);
	write_rows(argv[4], "query", number(argv[3], "gen"), text ? TEXT : IMAGE,
		   text ? text_row : image_row);
	return 0;
}
