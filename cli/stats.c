/* SPDX-License-Identifier: Apache-2.0 */
/* stats: what the mount did since it stands, operation by operation. */
#include <inttypes.h>

#include "commands.h"
#include "json.h"
#include "stats.h"

static const char help[] =
    "usage: vexctl stats [PATH] [--json] [--save FILE | --compare FILE]\n"
    "       vexctl stats [PATH] --slow\n"
    "\n"
    "Prints each operation that happened since the mount: how often, errors, least, "
    "mean\n"
    "and most time, quantiles, and the most stack it used. Searches are named\n"
    "MODE/PLAN.\n"
    "  --json          everything, as JSON\n"
    "  --save FILE     writes that JSON to FILE\n"
    "  --compare FILE  prints the operations whose mean is above 1.2 times that saved "
    "in\n"
    "                  FILE; exit 1 where there are any\n"
    "  --slow          the last operations that took longer than their threshold\n"
    "PATH only says which mount. For root and the owner of the mount.\n";

void stats_free(struct stats *s)
{
	free(s->ops);
	free(s->head);
	*s = (struct stats){ 0 };
}

struct shown show_ns(uint64_t ns)
{
	static const struct {
		uint64_t unit;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };
	struct shown s;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		double v = (double)ns / (double)units[i].unit;

		if (v < 1)
			continue;
		snprintf(s.text, sizeof(s.text), v < 10 ? "%.2f%s" : "%.0f%s", v,
			 units[i].name);
		return s;
	}
	snprintf(s.text, sizeof(s.text), "%" PRIu64 "ns", ns);
	return s;
}

struct shown show_bytes(uint64_t bytes)
{
	static const char units[] = "KMGTP";
	double v = (double)bytes;
	struct shown s;
	int u = -1;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	if (u < 0)
		snprintf(s.text, sizeof(s.text), "%" PRIu64, bytes);
	else
		snprintf(s.text, sizeof(s.text), v < 10 ? "%.1f%c" : "%.0f%c", v,
			 units[u]);
	return s;
}

/* ---- fetching -------------------------------------------------------------------- */

static int next_page(struct session *s, struct vexfs_stats *page, struct stats *out)
{
	uint32_t most = ARRAY_SIZE(page->ops);
	struct vexfs_op_stat *ops;
	int err;

	memset(page, 0, sizeof(*page));
	page->after = out->n;
	err = session_call(s, VEXFS_IOC_STATS, page);
	if (err)
		return session_error(s, err, "stats");
	if (page->count > most)
		page->count = most;
	ops = reallocarray(out->ops, out->n + page->count + 1, sizeof(*ops));
	if (!ops)
		return cli_error("out of memory");
	out->ops = ops;
	memcpy(ops + out->n, page->ops, page->count * sizeof(*ops));
	out->n += page->count;
	return 0;
}

int stats_fetch(struct session *s, struct stats *out)
{
	int err;

	out->head = cli_alloc(1, sizeof(*out->head));
	do
		err = next_page(s, out->head, out);
	while (!err && out->head->more && out->head->count);
	for (uint32_t i = 0; i < out->n; i++) {
		out->ops[i].op[sizeof(out->ops[i].op) - 1] = 0;
		out->ops[i].op_class[sizeof(out->ops[i].op_class) - 1] = 0;
	}
	return err;
}

/* ---- output ---------------------------------------------------------------------- */

static void op_json(struct buf *out, const struct vexfs_op_stat *o)
{
	const struct {
		const char *name;
		uint64_t value;
	} all[] = { { "count", o->count },       { "errors", o->errors },
		    { "total_ns", o->total_ns }, { "avg_ns", stats_avg(o) },
		    { "min_ns", o->min_ns },     { "max_ns", o->max_ns },
		    { "p50_ns", o->p50_ns },     { "p95_ns", o->p95_ns },
		    { "p99_ns", o->p99_ns },     { "stack_peak", o->stack_peak } };

	buf_fmt(out, "{\"op\":\"%s\",\"class\":\"%s\"", o->op, o->op_class);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		buf_fmt(out, ",\"%s\":%" PRIu64, all[i].name, all[i].value);
	buf_str(out, "}");
}

void stats_json(const struct stats *s, struct buf *out)
{
	const struct vexfs_stats *h = s->head;

	buf_fmt(out,
		"{\"resident\":%" PRIu64 ",\"resident_peak\":%" PRIu64
		",\"index_bytes\":%" PRIu64 ",\"mapped\":%" PRIu64 ",\"pending\":%" PRIu64
		",\"queued\":%" PRIu64 ",\"descriptors\":%" PRIu64 ",\"ops\":[",
		h->resident, h->resident_peak, h->index_bytes, h->mapped, h->pending,
		h->queued, h->descriptors);
	for (uint32_t i = 0; i < s->n; i++) {
		buf_str(out, i ? ",\n" : "\n");
		op_json(out, &s->ops[i]);
	}
	buf_str(out, "\n]}\n");
}

static void print_op(const struct vexfs_op_stat *o)
{
	char stack[16] = "-";

	if (o->stack_peak)
		snprintf(stack, sizeof(stack), "%u", o->stack_peak);
	printf("%-16s %10" PRIu64 " %7" PRIu64 " %7s %7s %7s %7s %7s %7s %6s\n", o->op,
	       o->count, o->errors, show_ns(o->min_ns).text, show_ns(stats_avg(o)).text,
	       show_ns(o->p50_ns).text, show_ns(o->p95_ns).text, show_ns(o->p99_ns).text,
	       show_ns(o->max_ns).text, stack);
}

static void print_all(const struct stats *s)
{
	const struct vexfs_stats *h = s->head;

	printf("memory %s, most %s, graphs %s; %" PRIu64 " rows pending, %" PRIu64
	       " calls queued, %" PRIu64 " descriptors\n",
	       show_bytes(h->resident).text, show_bytes(h->resident_peak).text,
	       show_bytes(h->index_bytes).text, h->pending, h->queued, h->descriptors);
	printf("%-16s %10s %7s %7s %7s %7s %7s %7s %7s %6s\n", "OPERATION", "COUNT",
	       "ERRORS", "MIN", "AVG", "P50", "P95", "P99", "MAX", "STACK");
	for (uint32_t i = 0; i < s->n; i++)
		if (s->ops[i].count)
			print_op(&s->ops[i]);
}

/* ---- the command ----------------------------------------------------------------- */

struct wants {
	bool json, slow;
	const char *save, *compare;
};

static int run(const struct mount *m, const struct wants *w)
{
	AUTO_SESSION struct session s = SESSION_INIT;
	AUTO_STATS struct stats st = { 0 };
	AUTO_BUF struct buf out = { 0 };
	unsigned slower = 0;
	int err = session_open(m, &s);

	if (!err)
		err = stats_fetch(&s, &st);
	if (err)
		return err;
	if (w->save)
		return stats_save(&st, w->save);
	if (w->compare) {
		err = stats_compare(&st, w->compare, &slower);
		return err ? err : slower ? CLI_NONE : CLI_OK;
	}
	if (!w->json) {
		print_all(&st);
		return CLI_OK;
	}
	stats_json(&st, &out);
	fwrite(out.data, 1, out.len, stdout);
	return CLI_OK;
}

int cmd_stats(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	struct wants w = { 0 };
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &w.json, 0, NULL },
				    { "slow", 0, OPT_FLAG, &w.slow, 0, NULL },
				    { "save", 0, OPT_TEXT, &w.save, 0, NULL },
				    { "compare", 0, OPT_TEXT, &w.compare, 0, NULL },
				    { 0 } };
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	if (w.json + w.slow + !!w.save + !!w.compare > 1)
		return cli_error(
		    "--json, --slow, --save and --compare exclude each other");
	code = mount_find(in, in->args[0], &m);
	if (code)
		return code;
	return w.slow ? status_slow(&m) : run(&m, &w);
}
