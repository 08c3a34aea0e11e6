/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: SQLite evaluates an expression over one file, in an empty database in memory,
 * one for each search.
 *
 * Columns are calls of one function, vexcol(column, form), so that SQLite asks for what
 * it needs and no more: of "uid = 0 AND xattr.lang = 'en'" the xattr is read of root's
 * files alone. The gate is filter_parse.c; behind it the authorizer admits that
 * function, LIKE and GLOB, and nothing else.
 *
 * Time: one pattern is at most half a KiB, a value 64 KiB; each value asked for looks at
 * the clock, so an expression cannot hold a scan thread for long after its deadline.
 *
 * One thread at a time uses a filter. Needs a deep stack.
 */
#include <math.h>
#include "filter_i.h"

#define SECONDS 60ull
#define NUMBER_MAX 63u

/* ---- values ---------------------------------------------------------------------- */

/* Whether the text is a decimal number, whole; then the result of the function. */
static bool result_number(sqlite3_context *ctx, const struct vex_filter_value *v)
{
	char text[NUMBER_MAX + 1], *end;
	long long i;
	double d;

	if (!v->len || v->len > NUMBER_MAX)
		return false;
	memcpy(text, v->text, v->len);
	text[v->len] = '\0';
	/* Neither hexadecimal, nor "inf", nor blanks in front. */
	if (strspn(text, "0123456789+-.eE") != v->len)
		return false;
	errno = 0;
	i = strtoll(text, &end, 10);
	if (!errno && end == text + v->len) {
		sqlite3_result_int64(ctx, i);
		return true;
	}
	d = strtod(text, &end);
	if (end != text + v->len || !isfinite(d))
		return false;
	sqlite3_result_double(ctx, d);
	return true;
}

static void result(sqlite3_context *ctx, const struct vex_filter_value *v, int form)
{
	switch (v->type) {
	case VEX_FILTER_NULL:
		sqlite3_result_null(ctx);
		return;
	case VEX_FILTER_INT:
		sqlite3_result_int64(ctx, v->i);
		return;
	case VEX_FILTER_REAL:
		sqlite3_result_double(ctx, v->d);
		return;
	case VEX_FILTER_TEXT:
		break;
	}
	if (form != FORM_AS_IS && result_number(ctx, v))
		return;
	if (form == FORM_ORDER)
		sqlite3_result_null(ctx);
	else
		sqlite3_result_text64(ctx, v->text, v->len, SQLITE_TRANSIENT,
				      SQLITE_UTF8);
}

static void vexcol(sqlite3_context *ctx, int n, sqlite3_value **args)
{
	struct vex_filter *f = sqlite3_user_data(ctx);
	struct vex_filter_value v = { .type = VEX_FILTER_NULL };
	int col = sqlite3_value_int(args[0]);

	(void)n;
	f->err = vex_now_mono() > f->deadline ? -ETIMEDOUT : 0;
	if (!f->err)
		f->err = f->get(f->arg, &f->cols[col], &v);
	if (f->err)
		sqlite3_result_error_code(ctx, SQLITE_ABORT);
	else
		result(ctx, &v, sqlite3_value_int(args[1]));
}

/* ---- the database ---------------------------------------------------------------- */

static int authorize(void *arg, int action, const char *a, const char *b, const char *c,
		     const char *d)
{
	(void)arg, (void)a, (void)c, (void)d;
	if (action == SQLITE_SELECT)
		return SQLITE_OK;
	if (action == SQLITE_FUNCTION && b &&
	    (!strcmp(b, "vexcol") || !strcmp(b, "like") || !strcmp(b, "glob")))
		return SQLITE_OK;
	return SQLITE_DENY;
}

static int open_db(struct vex_filter *f)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY |
		    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	int rc = sqlite3_open_v2(":memory:", &f->db, flags, NULL);

	if (!rc)
		rc = sqlite3_create_function_v2(f->db, "vexcol", 2,
						SQLITE_UTF8 | SQLITE_DIRECTONLY, f,
						vexcol, NULL, NULL, NULL);
	if (!rc)
		rc = sqlite3_set_authorizer(f->db, authorize, NULL);
	return rc;
}

/* What the gate let through is well-formed; SQLite may still find it too much. */
static vex_err compile(struct vex_filter *f, const char *sql, struct vex_problem *problem)
{
	int rc = open_db(f);

	if (!rc)
		rc = sqlite3_prepare_v2(f->db, sql, -1, &f->st, NULL);
	if (!rc)
		return 0;
	if ((rc & 0xff) == SQLITE_NOMEM)
		return -ENOMEM;
	if (problem)
		snprintf(problem->text, sizeof(problem->text), "where: at offset 0: %s",
			 f->db ? sqlite3_errmsg(f->db) : "SQLite does not open");
	return -EINVAL;
}

vex_err vex_filter_new(const char *expr, struct vex_filter **out,
		       struct vex_problem *problem)
{
	AUTO_BUF struct vex_buf sql = { 0 };
	struct vex_filter *f = calloc(1, sizeof(*f));
	vex_err err;

	vex_deep_only();
	if (!f)
		return -ENOMEM;
	f->deadline = vex_now_mono() + SECONDS * 1000000000ull;
	vex_buf_str(&sql, "SELECT 1 WHERE");
	err = filter_parse(f, expr, &sql, problem);
	vex_buf_add(&sql, "", 1);
	if (!err)
		err = sql.err;
	if (!err)
		err = compile(f, sql.data, problem);
	if (err) {
		vex_filter_free(f);
		return err;
	}
	*out = f;
	return 0;
}

VEX_APART void vex_filter_free(struct vex_filter *f)
{
	if (!f)
		return;
	vex_deep_only();
	sqlite3_finalize(f->st);
	sqlite3_close(f->db);
	for (size_t i = 0; i < f->ncols; i++)
		free(f->cols[i].xattr);
	free(f);
}

int vex_filter_test(struct vex_filter *f, vex_filter_get get, void *arg)
{
	int rc;

	vex_deep_only();
	f->get = get;
	f->arg = arg;
	f->err = 0;
	rc = sqlite3_step(f->st);
	sqlite3_reset(f->st);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	if (f->err)
		return f->err;
	return (rc & 0xff) == SQLITE_NOMEM ? -ENOMEM : -EIO;
}
