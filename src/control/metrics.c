/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.vexfs/metrics` (Prometheus text) and VEXFS_IOC_STATS: what metrics counted, and what
 * the store, the graphs and the queues are like now. Totals of the whole store: for root
 * and the owner of the mount alone.
 */
#include "control_i.h"

/* ---- all spaces ------------------------------------------------------------------ */

struct spaces {
	uint64_t pending, index_bytes;
};

static void each_space(struct vex_control *c,
		       void (*fn)(void *arg, const struct vex_space_spec *spec,
				  const struct vex_space_counts *n,
				  const struct vex_index_info *index),
		       void *arg)
{
	uint32_t after = 0;

	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct vex_space_counts n;
		struct vex_space_spec spec;
		struct vex_index_info index;

		if (vex_space_next(vex_engine_store(c->engine), after, &sp))
			return;
		after = vex_space_id(sp);
		vex_space_spec(sp, &spec);
		vex_space_counts(sp, &n);
		vex_engine_index_info(c->engine, sp, &index);
		fn(arg, &spec, &n, &index);
	}
}

static void sum(void *arg, const struct vex_space_spec *spec,
		const struct vex_space_counts *n, const struct vex_index_info *index)
{
	struct spaces *s = arg;

	(void)spec;
	(void)n;
	s->pending += index->pending;
	s->index_bytes += index->bytes;
}

/* ---- one sample a space ---------------------------------------------------------- */

enum gauge { ROWS, ATTACHMENTS, SLOT_BYTES, PENDING, INDEX_BYTES, INDEX_STATE, DAMAGED };
static const struct {
	const char *name, *help;
} gauges[] = {
	[ROWS] = { "space_rows", "Rows of vectors." },
	[ATTACHMENTS] = { "space_attachments", "Attachments." },
	[SLOT_BYTES] = { "space_slot_bytes", "Bytes of its slot files." },
	[PENDING] = { "index_pending_rows", "Rows the graph has not taken in yet; "
					    "searches scan them." },
	[INDEX_BYTES] = { "index_memory_bytes", "Memory of its graph." },
	[INDEX_STATE] = { "index_state",
			  "0 exact by choice or size, 1 building, 2 ready, 3 failed." },
	[DAMAGED] = { "space_damaged_rows", "Rows that failed their checksum." },
};

struct samples {
	struct vex_buf *out;
	enum gauge g;
};

static void sample(void *arg, const struct vex_space_spec *spec,
		   const struct vex_space_counts *n, const struct vex_index_info *index)
{
	struct samples *s = arg;
	const uint64_t values[] = {
		[ROWS] = n->rows,
		[ATTACHMENTS] = n->attachments,
		[SLOT_BYTES] = n->bytes,
		[PENDING] = index->pending,
		[INDEX_BYTES] = index->bytes,
		[INDEX_STATE] = (uint64_t)index->state,
		[DAMAGED] = n->damaged,
	};

	vex_buf_fmt(s->out, "vexfs_%s{space=\"%s\"} %llu\n", gauges[s->g].name,
		    spec->name, (unsigned long long)values[s->g]);
}

static void add_spaces(struct vex_control *c, struct vex_buf *out)
{
	for (enum gauge g = 0; g < ARRAY_SIZE(gauges); g++) {
		struct samples s = { .out = out, .g = g };

		vex_metrics_family(out, gauges[g].name, "gauge", gauges[g].help);
		each_space(c, sample, &s);
	}
}

/* ---- one sample ------------------------------------------------------------------ */

static void one(struct vex_buf *out, const char *name, const char *type, const char *help,
		uint64_t value)
{
	vex_metrics_family(out, name, type, help);
	vex_buf_fmt(out, "vexfs_%s %llu\n", name, (unsigned long long)value);
}

static void add_store(struct vex_control *c, struct vex_buf *out)
{
	struct vex_store_status st;

	vex_store_status(vex_engine_store(c->engine), &st);
	one(out, "catalog_bytes", "gauge", "Catalog and WAL.", st.catalog_bytes);
	one(out, "slot_bytes", "gauge", "All slot files.", st.slot_bytes);
	one(out, "attachments", "gauge", "Attachments in all spaces.", st.attachments);
	one(out, "rows", "gauge", "Rows in all spaces.", st.rows);
	one(out, "nodes", "gauge", "Files and directories the catalog knows.", st.nodes);
	one(out, "damaged_rows", "gauge", "Rows that failed their checksum.", st.damaged);
	one(out, "change_sequence", "gauge", "Number of the last change.", st.lsn);
	one(out, "change_sequence_durable", "gauge", "Of the last durable one.",
	    st.durable_lsn);
	one(out, "commit_groups_total", "counter", "Transactions of the catalog.",
	    st.groups);
	one(out, "wal_frames", "gauge", "Pages in the WAL.", st.wal_frames);
	one(out, "sync_failed", "gauge", "1: a sync failed, read-only until remount.",
	    st.failed);
	one(out, "pending_changes", "gauge", "Change lists waiting for the writer.",
	    st.queued);
}

static void add_queues(struct vex_control *c, struct vex_buf *out)
{
	struct vex_engine_load l;
	struct spaces s = { 0 };

	vex_engine_load(c->engine, &l);
	each_space(c, sum, &s);
	one(out, "pending_rows", "gauge", "Rows all graphs have not taken in yet.",
	    s.pending);
	one(out, "memory_index_bytes", "gauge", "Memory of all graphs.", s.index_bytes);
	one(out, "search_queue_length", "gauge", "Searches waiting.", l.search_queued);
	one(out, "search_running", "gauge", "Searches running.", l.search_running);
	one(out, "work_queue_length", "gauge", "Changes and lookups waiting.",
	    l.work_queued);
	one(out, "work_running", "gauge", "Changes and lookups running.", l.work_running);
	pthread_mutex_lock(&c->lock);
	one(out, "sessions", "gauge", "Open control files.", c->sessions);
	one(out, "memory_held_bytes", "gauge", "Staged queries and unread hits.",
	    c->held);
	pthread_mutex_unlock(&c->lock);
}

vex_err metrics_text(struct vex_control *c, struct vex_buf *out)
{
	vex_metrics_text(out);
	add_store(c, out);
	add_queues(c, out);
	add_spaces(c, out);
	vex_metrics_family(out, "build_info", "gauge", "Always 1.");
	vex_buf_fmt(out, "vexfs_build_info{version=\"%s\"} 1\n", VEXFS_VERSION);
	vex_metrics_family(out, "uptime_seconds", "gauge", "Since the mount.");
	vex_buf_fmt(out, "vexfs_uptime_seconds %.3f\n",
		    (double)(vex_now_mono() - c->started) / 1e9);
	vex_metrics_family(out, "error_rate", "gauge",
			   "Share of failures that tell of trouble, last minute or two.");
	vex_buf_fmt(out, "vexfs_error_rate %.3f\n", (double)vex_error_rate() / 1000);
	return out->err;
}

/* ---- VEXFS_IOC_STATS ------------------------------------------------------------- */

static void fill(struct vexfs_op_stat *w, enum vex_op op)
{
	struct vex_op_stat s;

	vex_op_read(op, &s);
	*w = (struct vexfs_op_stat){
		.count = s.count,
		.errors = s.errors,
		.total_ns = s.total_ns,
		.min_ns = s.min_ns,
		.max_ns = s.max_ns,
		.p50_ns = s.p50_ns,
		.p95_ns = s.p95_ns,
		.p99_ns = s.p99_ns,
		.stack_peak = s.stack,
	};
	snprintf(w->op, sizeof(w->op), "%s", vex_op_name(op));
	snprintf(w->op_class, sizeof(w->op_class), "%s", vex_op_class(op));
}

static void totals(struct call *c, struct vexfs_stats *h)
{
	struct spaces s = { 0 };
	struct vex_engine_load l;
	struct vex_memory m;

	each_space(c->s->control, sum, &s);
	vex_engine_load(c->engine, &l);
	vex_memory_read(&m);
	h->resident = m.resident;
	h->resident_peak = m.peak;
	h->index_bytes = s.index_bytes;
	h->mapped = m.mapped;
	h->pending = s.pending;
	h->queued = l.search_queued + l.work_queued + l.changes_queued;
	h->descriptors = m.descriptors;
}

static vex_err stats(void *arg)
{
	struct call *c = arg;
	struct vexfs_stats *h = c->head;
	uint32_t at = h->after;

	totals(c, h);
	for (; at < VEX_OP_COUNT && c->room - c->used >= sizeof(struct vexfs_op_stat);
	     at++) {
		struct vexfs_op_stat w;

		fill(&w, at);
		memcpy(c->reply + c->used, &w, sizeof(w));
		c->used += sizeof(w);
		h->count++;
	}
	h->more = at < VEX_OP_COUNT;
	return 0;
}

vex_err ioc_stats(struct call *c)
{
	struct vexfs_stats *h = c->head;
	vex_err err = 0;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved);
	if (err)
		return err;
	h->count = h->more = 0;
	return vex_pool_call(c->s->control->pool, stats, c);
}
