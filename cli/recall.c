/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall: recall@10 of a space's index against exact search, with rows of the space as
 * queries. A sample is drawn in slices, a call each, so that it can be interrupted.
 */
#include "commands.h"
#include "items.h"
#include "progress.h"
#include "session.h"

static const char help[] =
    "usage: vexctl recall S [--sample N] [--ef N | --recall R]\n"
    "\n"
    "Measures what share of the 10 true nearest the index of space S finds, by "
    "searching\n"
    "for N rows of the space (default 1000) as if each were not in it. Prints\n"
    "RECALL, tab, QUERIES, tab, PLAN: graph, or exact where searches miss nothing. With\n"
    "--ef or --recall: of searches that ask for it. For root and the owner of the "
    "mount.\n"
    "Exit 0; 1 where it is below the aim of the space (or R).\n";

#define SAMPLE_DEFAULT 1000u
#define SLICE 64u

struct measure {
	const char *space;
	uint32_t sample, ef;
	float want;
	/* of all calls: */
	double hits;
	uint64_t queries;
	float aim;
	bool graph;
};

static int slice(struct session *s, struct measure *m, uint64_t i)
{
	struct vexfs_recall c = { .ef = m->ef, .want = m->want };
	uint64_t left = m->sample - m->queries;
	int err;

	c.sample = left < SLICE ? (uint32_t)left : SLICE;
	/* Another number, other rows: a prime, so that no step of theirs divides it. */
	c.from = i * 7919;
	snprintf(c.space, sizeof(c.space), "%s", m->space);
	err = session_call(s, VEXFS_IOC_RECALL, &c);
	if (err)
		return session_error(s, err, m->space);
	m->aim = c.aim;
	m->graph = c.graph;
	m->queries += c.sample;
	m->hits += (double)c.recall * c.sample;
	/* Scanned, or fewer rows than a slice: there is no more to learn. */
	if (!c.graph || c.sample < SLICE)
		m->sample = (uint32_t)m->queries;
	return 0;
}

static int run(struct session *s, struct measure *m)
{
	struct progress p;
	double recall;
	float aim;

	progress_start(&p, m->sample);
	for (uint64_t i = 0; m->queries < m->sample; i++) {
		int err = slice(s, m, i);

		if (err) {
			progress_end(&p);
			return err;
		}
		progress_at(&p, m->queries, (double)m->queries);
		if (!m->graph)
			break;
	}
	progress_end(&p);
	recall = m->graph && m->queries ? m->hits / (double)m->queries : 1;
	aim = m->want > 0 ? m->want : m->aim;
	printf("%.4f\t%llu\t%s\n", recall, (unsigned long long)m->queries,
	       m->graph ? "graph" : "exact");
	return m->ef || recall >= (double)aim ? CLI_OK : CLI_NONE;
}

int cmd_recall(struct invocation *in)
{
	AUTO_MOUNT struct mount mount = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	struct measure m = { .sample = SAMPLE_DEFAULT };
	bool want = false;
	const struct opt opts[] = {
		{ "sample", 0, OPT_COUNT, &m.sample, 1, NULL },
		{ "ef", 0, OPT_COUNT, &m.ef, 1, NULL },
		{ "recall", 0, OPT_NUMBER, &m.want, 0, &want },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs the name of a space");
	if (!space_name_ok(in->args[0]))
		return cli_error("bad space name '%s'", in->args[0]);
	if (want && !(m.want > 0 && m.want <= 1))
		return cli_error("--recall: not above 0 and at most 1");
	if (want && m.ef)
		return cli_error("--ef and --recall exclude each other");
	m.space = in->args[0];
	code = mount_find(in, NULL, &mount);
	if (!code)
		code = session_open(&mount, &s);
	return code ? code : run(&s, &m);
}
