/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of `status`: one JSON object, made when the file is opened. Facts of the
 * mount and the shapes of the spaces are for everyone; counts tell of files the reader
 * may not see, and are for root and the owner of the mount.
 */
#include "control_i.h"

const char *metric_name(uint8_t metric)
{
	static const char *const names[] = { "cosine", "l2",      "ip",
					     "l1",     "hamming", "jaccard" };

	return metric < ARRAY_SIZE(names) ? names[metric] : "unknown";
}

const char *type_name(uint8_t type)
{
	static const char *const names[] = { "f32", "f16", "i8", "i16", "bit" };

	return type < ARRAY_SIZE(names) ? names[type] : "unknown";
}

static void add_string(struct vex_buf *b, const char *key, const char *value)
{
	vex_buf_fmt(b, "  \"%s\": ", key);
	vex_buf_json(b, value, strlen(value));
	vex_buf_str(b, ",\n");
}

static void add_number(struct vex_buf *b, const char *key, uint64_t value)
{
	vex_buf_fmt(b, "  \"%s\": %llu,\n", key, (unsigned long long)value);
}

static void add_bool(struct vex_buf *b, const char *key, bool value)
{
	vex_buf_fmt(b, "  \"%s\": %s,\n", key, value ? "true" : "false");
}

/* ---- the mount ------------------------------------------------------------------- */

struct problems {
	struct vex_buf *b;
	const char *gap;
};

static void add_problem(void *arg, const char *line)
{
	struct problems *p = arg;

	vex_buf_str(p->b, p->gap);
	vex_buf_json_words(p->b, line);
	p->gap = ",\n    ";
}

static void add_problems(struct vex_store *store, struct vex_buf *b)
{
	struct problems p = { .b = b, .gap = "\n    " };

	vex_buf_str(b, "  \"problems\": [");
	vex_store_problems(store, add_problem, &p);
	vex_buf_str(b, "],\n");
}

static const char *state_of(const struct vex_store_status *st)
{
	if (st->failed)
		return "failed: read-only until remount";
	return st->damaged || st->problems ? "degraded" : "ok";
}

static void add_mount(struct vex_control *c, const struct vex_store_status *st,
		      struct vex_buf *b)
{
	add_string(b, "version", VEXFS_VERSION);
	add_number(b, "abi", VEXFS_ABI);
	add_string(b, "state", state_of(st));
	add_bool(b, "failed", st->failed);
	add_problems(vex_engine_store(c->engine), b);
	add_number(b, "pid", (uint64_t)getpid());
	add_number(b, "uptime_seconds", (vex_now_mono() - c->started) / 1000000000u);
	add_string(b, "store", c->store);
	add_string(b, "mountpoint", c->mountpoint);
	add_string(b, "options", c->options);
	config_json(c, b);
	add_string(b, "blas", "OpenBLAS");
	add_string(b, "kernel_core", vex_kernel_core());
}

/* fs gives `"key": value` lines; whether they end in commas is not left to chance. */
static void add_fs(struct vex_control *c, struct vex_buf *b)
{
	AUTO_BUF struct vex_buf extra = { .data = NULL };
	const char *gap = "", *p, *end;

	if (!c->status_extra)
		return;
	c->status_extra(c->arg, &extra);
	vex_buf_add(&extra, "", 1);
	if (extra.err)
		return;
	vex_buf_str(b, "  \"fs\": {");
	for (p = extra.data; *p; p = end) {
		p += strspn(p, " \t\n,");
		end = p + strcspn(p, "\n");
		while (end > p && strchr(" \t,", end[-1]))
			end--;
		if (end == p)
			continue;
		vex_buf_fmt(b, "%s\n    %.*s", gap, (int)(end - p), p);
		gap = ",";
	}
	vex_buf_str(b, *gap ? "\n  },\n" : "},\n");
}

/* ---- what it holds --------------------------------------------------------------- */

static void add_totals(struct vex_control *c, const struct vex_store_status *st,
		       struct vex_buf *b)
{
	add_number(b, "spaces_count", st->spaces);
	add_number(b, "nodes", st->nodes);
	add_number(b, "attachments", st->attachments);
	add_number(b, "rows", st->rows);
	add_number(b, "damaged", st->damaged);
	add_number(b, "lsn", st->lsn);
	add_number(b, "durable_lsn", st->durable_lsn);
	add_number(b, "catalog_bytes", st->catalog_bytes);
	add_number(b, "slot_bytes", st->slot_bytes);
	add_number(b, "commits", st->commits);
	add_number(b, "groups", st->groups);
	pthread_mutex_lock(&c->lock);
	add_number(b, "sessions", c->sessions);
	add_number(b, "held_bytes", c->held);
	pthread_mutex_unlock(&c->lock);
}

static void add_counts(struct vex_engine *e, struct vex_space *sp, struct vex_buf *b)
{
	struct vex_space_counts n;

	vex_engine_counts(e, sp, &n);
	vex_buf_fmt(b,
		    ", \"attachments\": %llu, \"rows\": %llu, \"slots\": %llu, "
		    "\"bytes\": %llu, \"damaged\": %llu",
		    (unsigned long long)n.attachments, (unsigned long long)n.rows,
		    (unsigned long long)n.slots, (unsigned long long)n.bytes,
		    (unsigned long long)n.damaged);
}

static const char *index_state_name(enum vex_index_state s)
{
	static const char *const names[] = { "exact", "building, exact", "ready",
					     "failed, exact", "ready, poor recall" };

	return names[s];
}

static void add_space(struct vex_engine *e, struct vex_space *sp, bool totals,
		      struct vex_buf *b)
{
	struct vex_space_spec spec;
	struct vex_index_info index;

	vex_space_spec(sp, &spec);
	vex_engine_index_info(e, sp, &index);
	vex_buf_str(b, "    {\"name\": ");
	vex_buf_json(b, spec.name, strlen(spec.name));
	vex_buf_fmt(b,
		    ", \"dim\": %u, \"metric\": \"%s\", \"type\": \"%s\", "
		    "\"index\": \"%s\", \"state\": \"%s\"",
		    spec.dim, metric_name(spec.metric), type_name(spec.type),
		    spec.index == VEX_FLAT ? "flat" : "hnsw",
		    index_state_name(index.state));
	if (totals) {
		add_counts(e, sp, b);
		vex_buf_fmt(
		    b, ", \"index_rows\": %llu, \"index_bytes\": %llu, \"pending\": %llu",
		    (unsigned long long)index.nodes, (unsigned long long)index.bytes,
		    (unsigned long long)index.pending);
	}
	vex_buf_str(b, "}");
}

static vex_err add_spaces(struct vex_engine *e, bool totals, struct vex_buf *b)
{
	struct vex_store *store = vex_engine_store(e);
	const char *gap = "\n";
	uint32_t after = 0;
	vex_err err;

	vex_buf_str(b, "  \"spaces\": [");
	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;

		err = vex_space_next(store, after, &sp);
		if (err)
			break;
		after = vex_space_id(sp);
		vex_buf_str(b, gap);
		add_space(e, sp, totals, b);
		gap = ",\n";
	}
	vex_buf_str(b, after ? "\n  ]\n" : "]\n");
	return err == -ENODEV ? 0 : err;
}

vex_err status_text(struct vex_control *c, const struct vex_cred *cred,
		    struct vex_buf *out)
{
	struct vex_store *store = vex_engine_store(c->engine);
	bool totals = vex_cred_is_admin(c->engine, cred);
	struct vex_store_status st;
	vex_err err = 0;

	vex_store_status(store, &st);
	vex_buf_str(out, "{\n");
	add_mount(c, &st, out);
	health_text(c, &st, totals, out);
	if (totals) {
		add_fs(c, out);
		add_totals(c, &st, out);
		err = trouble_text(&st, out);
	}
	if (!err)
		err = add_spaces(c->engine, totals, out);
	vex_buf_str(out, "}\n");
	return err ? err : out->err;
}
