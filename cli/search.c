/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search: the options and the queries. The calls are in search_run.c, the printing in
 * search_print.c.
 */
#include "search.h"

#include "commands.h"
#include "items.h"

#define QUERY_FILE_MAX ((size_t)1 << 30)

static const char help[] =
    "usage: vexctl search [-k N] [--space S] QUERY\n"
    "\n"
    "QUERY, one of:\n"
    "  --vector TEXT        decimal numbers, separated by commas or blanks\n"
    "  --vector-file F      text, a query a line (or JSON), or raw float32; - is stdin\n"
    "  --like PATH[:KEY]    what is attached to a file, which itself is not returned\n"
    "\n"
    "  --unlike PATH[:KEY]  and away from that: QUERY - B x UNLIKE, normalised\n"
    "  --beta B             by how much, default 0.5\n"
    "  -k N                 hits, default 10\n"
    "  --space S            the space; else the only one of that dimension\n"
    "  --max-distance D     nothing farther; without -k: all of them\n"
    "  --min-similarity S   the same by 1 - distance, in cosine spaces\n"
    "  --under DIR          only below this directory\n"
    "  --where EXPR         only files it holds for: name path size mtime uid gid mode\n"
    "                       xattr.NAME, = != < <= > >= AND OR NOT IN LIKE GLOB IS NULL\n"
    "  --per-file N         rows kept of a file, default 1; 0: all\n"
    "  --fresh              leave out files changed since their vector was attached\n"
    "  --offset N           pass over the first N hits\n"
    "  --mmr L              hits apart from each other, in order of choice: L from 0\n"
    "                       (diverse) to 1 (near)\n"
    "  --exact              compare with every row, use no index\n"
    "  --ef N               effort of the index\n"
    "  --recall R           the share of the true hits it is to find, 0 to 1\n"
    "  --max-ms N           end after so many milliseconds, and\n"
    "  --max-visited N      after so many rows compared: what was seen by then is "
    "printed,\n"
    "                       and the exit code is 2\n"
    "  --no-cache           not by the rows of an earlier search for the same\n"
    "  --explain            say on stderr what the search has cost\n"
    "\n"
    "Prints DISTANCE, tab, PATH, nearest first; tab, KEY, tab, ROW follow where there is "
    "a\n"
    "key or the row is not 0. With several queries '# query N' precedes the hits of "
    "each.\n"
    "  -l                   paths alone        -0  paths alone, each ended by NUL\n"
    "  --json               one object         --jsonl  an object a line\n"
    "\n"
    "Exit: 0 found, 1 nothing found, 2 error.\n";

static int check_forms(struct search *s)
{
	int n = s->json + s->jsonl + (s->paths || s->nul);

	if (n > 1)
		return cli_error("-l, -0, --json and --jsonl exclude each other");
	s->form = s->json    ? FORM_JSON
		  : s->jsonl ? FORM_JSONL
		  : s->nul   ? FORM_NUL
		  : s->paths ? FORM_PATHS
			     : FORM_LINES;
	return 0;
}

static int check(struct search *s, const struct invocation *in)
{
	int sources = !!s->vector + !!s->file + !!s->like;

	if (in->nargs)
		return cli_error(
		    "what is '%s'? A query is --vector, --vector-file or --like",
		    in->args[0]);
	if (sources != 1)
		return cli_error("needs one of --vector, --vector-file and --like");
	if (s->where && !*s->where)
		return cli_error("--where: the expression is empty");
	if (s->space && !space_name_ok(s->space))
		return cli_error("bad space name '%s'", s->space);
	if (s->mmr_given && (s->mmr < 0 || s->mmr > 1))
		return cli_error("--mmr: not from 0 to 1");
	if (s->mmr_given && !s->k_given && (s->max_given || s->min_given))
		return cli_error("--mmr with a bound needs -k");
	if (s->beta_given && !s->unlike)
		return cli_error("--beta is for --unlike");
	if (s->beta_given && !(s->beta > 0 && s->beta <= 100))
		return cli_error("--beta: not above 0 and at most 100");
	if (s->recall_given && !(s->recall > 0 && s->recall <= 1))
		return cli_error("--recall: not above 0 and at most 1");
	if (s->recall_given && s->ef_given)
		return cli_error("--recall and --ef exclude each other");
	s->range = !s->k_given && (s->max_given || s->min_given);
	if (!s->k_given)
		s->k = 10;
	return check_forms(s);
}

/* Raw numbers: rows of the named space's dimension, else one row. */
static int raw_queries(struct search *s, struct session *sess, const struct buf *data)
{
	struct vexfs_space space = { 0 };
	int err = s->space ? session_space(sess, s->space, &space) : 0;

	if (err)
		return session_error(sess, err, s->space);
	return vector_raw(data->data, data->len, space.dim, s->file, &s->queries);
}

static int read_queries(struct search *s, struct session *sess)
{
	AUTO_BUF struct buf data = { 0 };
	int err;

	if (s->vector)
		return vector_parse(s->vector, strlen(s->vector), "--vector",
				    &s->queries);
	err = read_whole(s->file, QUERY_FILE_MAX, &data);
	if (err)
		return err;
	if (vector_is_text(data.data, data.len))
		return vector_parse(data.data, data.len, s->file, &s->queries);
	return raw_queries(s, sess, &data);
}

static int resolve(struct search *s, const struct mount *m)
{
	int err = 0;

	if (s->like)
		err = path_resolve(m, s->like, &s->like_path);
	/* The root itself: an empty string would be none. */
	if (!err && s->like && !s->like_path.len)
		buf_add(&s->like_path, ".", 1);
	if (!err && s->unlike)
		err = path_resolve(m, s->unlike, &s->unlike_path);
	if (!err && s->unlike && !s->unlike_path.len)
		buf_add(&s->unlike_path, ".", 1);
	if (!err && s->under)
		err = path_resolve(m, s->under, &s->under_path);
	return err;
}

static int search(struct search *s, struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session sess = SESSION_INIT;
	AUTO_PRINTER struct printer p = { .opts = s };
	int err = mount_find(in,
			     s->like     ? s->like
			     : s->unlike ? s->unlike
					 : s->under,
			     &m);

	if (!err)
		err = session_open(&m, &sess);
	if (!err)
		err = resolve(s, &m);
	if (!err && !s->like)
		err = read_queries(s, &sess);
	if (err)
		return err;
	s->nqueries = s->like ? 1 : (uint32_t)s->queries.rows;
	err = search_run(&sess, s, &m.version, &p);
	if (err)
		return err;
	printer_end(&p);
	if (p.partial)
		return cli_error("the search met its limit: what it had seen by then");
	return p.printed ? CLI_OK : CLI_NONE;
}

int cmd_search(struct invocation *in)
{
	struct search s = { 0 };
	const struct opt opts[] = {
		{ NULL, 'k', OPT_COUNT, &s.k, 1, &s.k_given },
		{ "space", 0, OPT_TEXT, &s.space, 0, NULL },
		{ "vector", 0, OPT_TEXT, &s.vector, 0, NULL },
		{ "vector-file", 0, OPT_TEXT, &s.file, 0, NULL },
		{ "like", 0, OPT_TEXT, &s.like, 0, NULL },
		{ "unlike", 0, OPT_TEXT, &s.unlike, 0, NULL },
		{ "beta", 0, OPT_NUMBER, &s.beta, 0, &s.beta_given },
		{ "under", 0, OPT_TEXT, &s.under, 0, NULL },
		{ "where", 0, OPT_TEXT, &s.where, 0, NULL },
		{ "ef", 0, OPT_COUNT, &s.ef, 1, &s.ef_given },
		{ "recall", 0, OPT_NUMBER, &s.recall, 0, &s.recall_given },
		{ "exact", 0, OPT_FLAG, &s.exact, 0, NULL },
		{ "max-distance", 0, OPT_NUMBER, &s.max_distance, 0, &s.max_given },
		{ "min-similarity", 0, OPT_NUMBER, &s.min_similarity, 0, &s.min_given },
		{ "mmr", 0, OPT_NUMBER, &s.mmr, 0, &s.mmr_given },
		{ "max-ms", 0, OPT_COUNT, &s.max_ms, 1, &s.max_ms_given },
		{ "max-visited", 0, OPT_COUNT, &s.max_visited, 1, &s.max_visited_given },
		{ "per-file", 0, OPT_COUNT, &s.per_file, 0, &s.per_file_given },
		{ "fresh", 0, OPT_FLAG, &s.fresh, 0, NULL },
		{ "offset", 0, OPT_COUNT, &s.offset, 0, NULL },
		{ "no-cache", 0, OPT_FLAG, &s.no_cache, 0, NULL },
		{ "explain", 0, OPT_FLAG, &s.explain, 0, NULL },
		{ "json", 0, OPT_FLAG, &s.json, 0, NULL },
		{ "jsonl", 0, OPT_FLAG, &s.jsonl, 0, NULL },
		{ NULL, 'l', OPT_FLAG, &s.paths, 0, NULL },
		{ NULL, '0', OPT_FLAG, &s.nul, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code < 0)
		code = check(&s, in);
	else
		return code;
	if (!code)
		code = search(&s, in);
	matrix_free(&s.queries);
	buf_free(&s.like_path);
	buf_free(&s.unlike_path);
	buf_free(&s.under_path);
	return code;
}
