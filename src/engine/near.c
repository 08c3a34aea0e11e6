/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.vexfs._near.<space>[.<k>]: a search in an xattr. The query is all the file has
 * in that space; the file itself is no hit. The value is DISTANCE TAB PATH lines, as
 * many whole ones as an xattr can hold.
 *
 * The search runs on the scan threads, so that getfattr over a tree does not fill the
 * pool of those that write.
 */
#include "search_i.h"

#define NEAR_PREFIX "_near."
#define NEAR_K 10u
#define NEAR_K_MAX 1000u

struct near_job {
	struct search s;
	struct vex_query q;
	char space[VEX_SPACE_NAME_MAX + 1];
	const struct vex_obj *o;
	struct vex_result *res;
};

static vex_err parse_k(const char *text, uint32_t *k)
{
	uint32_t n = 0;

	if (!*text || *text == '0' || strlen(text) > 4)
		return -ENODATA;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -ENODATA;
		n = n * 10 + (uint32_t)(*text - '0');
	}
	if (n > NEAR_K_MAX)
		return -ENODATA;
	*k = n;
	return 0;
}

/* A name that is none of ours is a name nothing is stored under. */
static vex_err parse(const char *attr, struct near_job *j)
{
	const char *name = attr + strlen(NEAR_PREFIX), *dot;
	size_t len;

	if (strncmp(attr, NEAR_PREFIX, strlen(NEAR_PREFIX)))
		return -ENODATA;
	dot = strchr(name, '.');
	len = dot ? (size_t)(dot - name) : strlen(name);
	if (!space_name_ok(name, len))
		return -ENODATA;
	memcpy(j->space, name, len);
	j->space[len] = '\0';
	j->q.k = NEAR_K;
	return dot ? parse_k(dot + 1, &j->q.k) : 0;
}

static vex_err run(void *arg)
{
	struct near_job *j = arg;
	vex_err err = node_identify(j->s.e, j->o, &j->s.like_node);

	if (!err && !j->s.like_node)
		err = -ENODATA;
	return err ? err : search_run(&j->s, &j->res);
}

static void write_lines(const struct vex_result *res, struct vex_buf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < res->n; i++) {
		size_t before = out->len;

		vex_buf_fmt(out, "%.9g\t", (double)res->hits[i].distance);
		vex_buf_add(out, res->hits[i].path, res->hits[i].path_len);
		vex_buf_str(out, "\n");
		if (out->len - start > VEX_VALUE_MAX) {
			out->len = before;
			return;
		}
	}
}

vex_err near_text(struct vex_engine *e, const struct vex_obj *o,
		  const struct vex_cred *cred, const char *attr, struct vex_buf *out)
{
	struct near_job j = { .o = o };
	vex_err err = parse(attr, &j);

	if (err)
		return err;
	j.q.space = j.space;
	j.q.cred = cred;
	j.q.per_file = 1;
	j.q.max_distance = INFINITY;
	j.s.e = e;
	j.s.q = &j.q;
	err = vex_pool_call(e->scans, run, &j);
	if (err)
		return err == -ENODEV ? -ENODATA : err;
	write_lines(j.res, out);
	vex_result_free(j.res);
	return out->err;
}
