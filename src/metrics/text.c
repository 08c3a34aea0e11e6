/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Prometheus text format. A family is written whole, as the format wants: its HELP
 * and TYPE, then one sample an operation. Histograms have a boundary each factor of four
 * from 1 us to 17 s, each the top of one of our finer buckets; operations that never
 * happened have counters of 0 and no histogram.
 */
#include "metrics_i.h"

#define LE_FIRST 10u /* 2^10 ns */
#define LE_LAST 34u

void vex_metrics_family(struct vex_buf *out, const char *name, const char *type,
			const char *help)
{
	vex_buf_fmt(out, "# HELP vexfs_%s %s\n# TYPE vexfs_%s %s\n", name, help, name,
		    type);
}

static bool is_search(enum vex_op op)
{
	return !strcmp(vex_op_class(op), "search");
}

/* The labels of an operation, without braces. */
struct labels {
	char text[64];
};

static struct labels labels_of(enum vex_op op)
{
	const char *name = vex_op_name(op), *slash = strchr(name, '/');
	struct labels l;

	if (is_search(op) && slash)
		snprintf(l.text, sizeof(l.text), "mode=\"%.*s\",plan=\"%s\"",
			 (int)(slash - name), name, slash + 1);
	else
		snprintf(l.text, sizeof(l.text), "op=\"%s\",class=\"%s\"", name,
			 vex_op_class(op));
	return l;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static void histogram(struct vex_buf *out, enum vex_op op, const char *family)
{
	struct labels l = labels_of(op);
	struct sums s;
	uint64_t below = 0;
	unsigned b = 0;

	hist_sum(op, &s);
	if (!s.count)
		return;
	for (unsigned shift = LE_FIRST; shift <= LE_LAST; shift += 2) {
		while (b < BUCKETS && bucket_top(b) < 1ull << shift)
			below += s.bucket[b++];
		vex_buf_fmt(out, "vexfs_%s_bucket{%s,le=\"%.9g\"} %llu\n", family, l.text,
			    seconds(1ull << shift), (unsigned long long)below);
	}
	vex_buf_fmt(out, "vexfs_%s_bucket{%s,le=\"+Inf\"} %llu\n", family, l.text,
		    (unsigned long long)s.count);
	vex_buf_fmt(out, "vexfs_%s_sum{%s} %.9g\nvexfs_%s_count{%s} %llu\n", family,
		    l.text, seconds(s.total), family, l.text,
		    (unsigned long long)s.count);
}

static void histograms(struct vex_buf *out, bool search)
{
	const char *family =
	    search ? "search_duration_seconds" : "operation_duration_seconds";

	vex_metrics_family(out, family, "histogram",
			   search ? "Time of searches, by mode and plan."
				  : "Time of operations.");
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++)
		if (is_search(op) == search)
			histogram(out, op, family);
}

static void latencies(struct vex_buf *out, bool search)
{
	const char *family =
	    search ? "search_latency_seconds" : "operation_latency_seconds";

	vex_metrics_family(out, family, "gauge",
			   "Least, mean, most and quantiles of the time, since mount.");
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++) {
		struct labels l = labels_of(op);
		struct vex_op_stat s;

		vex_op_read(op, &s);
		if (is_search(op) != search || !s.count)
			continue;
		const struct {
			const char *name;
			uint64_t ns;
		} all[] = { { "min", s.min_ns }, { "avg", s.total_ns / s.count },
			    { "max", s.max_ns }, { "p50", s.p50_ns },
			    { "p95", s.p95_ns }, { "p99", s.p99_ns } };
		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			vex_buf_fmt(out, "vexfs_%s{%s,stat=\"%s\"} %.9g\n", family,
				    l.text, all[i].name, seconds(all[i].ns));
	}
}

static void counts(struct vex_buf *out, bool search)
{
	const char *family = search ? "searches_total" : "operations_total";

	vex_metrics_family(out, family, "counter",
			   search ? "Searches, by mode and plan." : "Operations.");
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++) {
		struct labels l = labels_of(op);
		struct vex_op_stat s;

		vex_op_read(op, &s);
		if (is_search(op) == search)
			vex_buf_fmt(out, "vexfs_%s{%s} %llu\n", family, l.text,
				    (unsigned long long)s.count);
	}
}

static void errors(struct vex_buf *out)
{
	uint64_t all = 0;

	vex_metrics_family(out, "operation_errors_total", "counter",
			   "Operations that failed, by errno.");
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++)
		for (int e = 0; e < (int)ERRNOS; e++) {
			uint64_t n = atomic_load(&metrics_errors[op][e]);
			const char *name = e ? strerrorname_np(e) : "other";

			all += n;
			if (n)
				vex_buf_fmt(out,
					    "vexfs_operation_errors_total{op=\"%s\","
					    "errno=\"%s\"} %llu\n",
					    vex_op_name(op), name ? name : "other",
					    (unsigned long long)n);
		}
	vex_metrics_family(out, "errors_total", "counter", "Operations that failed.");
	vex_buf_fmt(out, "vexfs_errors_total %llu\n", (unsigned long long)all);
}

static void stacks(struct vex_buf *out)
{
	uint32_t most = 0;

	vex_metrics_family(out, "stack_peak_bytes", "gauge",
			   "Most stack seen below a callback, or in a traversal.");
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++) {
		uint32_t n = atomic_load(&metrics_stack[op]);

		if (!n)
			continue;
		most = n > most ? n : most;
		vex_buf_fmt(out, "vexfs_stack_peak_bytes{op=\"%s\"} %u\n",
			    vex_op_name(op), n);
	}
	vex_metrics_family(out, "stack_peak_max_bytes", "gauge",
			   "Most stack seen in any operation.");
	vex_buf_fmt(out, "vexfs_stack_peak_max_bytes %u\n", most);
}

static void crossings(struct vex_buf *out)
{
	vex_metrics_family(out, "threshold_crossings_total", "counter",
			   "Values beyond a threshold.");
	for (enum vex_limit l = 0; l < VEX_LIMIT_NONE; l++) {
		struct vex_crossing c;

		vex_crossing_read(l, &c);
		vex_buf_fmt(out,
			    "vexfs_threshold_crossings_total{threshold=\"%s\"} %llu\n",
			    vex_limit_name(l), (unsigned long long)c.count);
	}
}

static void counters(struct vex_buf *out)
{
	static const struct {
		const char *name, *meaning;
	} all[] = {
#define X(id, n, m) { n, m },
		VEX_COUNTERS(X)
#undef X
	};

	for (enum vex_counter c = 0; c < VEX_COUNT_COUNT; c++) {
		vex_metrics_family(out, all[c].name, "counter", all[c].meaning);
		vex_buf_fmt(out, "vexfs_%s %llu\n", all[c].name,
			    (unsigned long long)vex_count_read(c));
	}
}

static void memory(struct vex_buf *out)
{
	struct vex_memory m;

	vex_memory_read(&m);
	const struct {
		const char *name, *help;
		uint64_t value;
	} all[] = {
		{ "memory_resident_bytes", "Memory in RAM.", m.resident },
		{ "memory_resident_peak_bytes", "Most of it so far.", m.peak },
		{ "memory_anonymous_bytes", "Memory in RAM without a file.",
		  m.anonymous },
		{ "memory_mapped_bytes", "Pages of mapped files in RAM.", m.mapped },
		{ "memory_virtual_bytes", "Addresses in use.", m.virtual_ },
		{ "open_descriptors", "Descriptors open.", m.descriptors },
		{ "threads", "Threads.", m.threads },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		vex_metrics_family(out, all[i].name, "gauge", all[i].help);
		vex_buf_fmt(out, "vexfs_%s %llu\n", all[i].name,
			    (unsigned long long)all[i].value);
	}
}

void vex_metrics_text(struct vex_buf *out)
{
	for (int search = 1; search >= 0; search--) {
		counts(out, search);
		histograms(out, search);
		latencies(out, search);
	}
	errors(out);
	stacks(out);
	crossings(out);
	counters(out);
	memory(out);
}
