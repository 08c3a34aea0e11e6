/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of the catalog: PRAGMA user_version, and the steps from one to the next.
 *
 * A new catalog is made as version 1 (catalog.c) and taken through all steps, like one
 * that is old: so there is one definition of each table, and stores made today and
 * stores upgraded today are alike. All steps and the new number are one transaction: a
 * crash leaves the old version whole. A later version than ours is refused by name, for
 * we cannot know what it means.
 *
 * To add to the version under way: a row to `columns` or a statement to `tables`, each
 * such that doing it twice does no harm. Once a version has been released its rows stay
 * as they are, and changes go to a new step.
 */
#include "store_i.h"

static const struct column {
	int version; /* the step that adds it */
	const char *table, *name, *type;
} columns[] = {
	{ 2, "space", "scale", "REAL" },    /* NULL: none */
	{ 2, "space", "recall", "REAL" },   /* NULL: the default aim */
	{ 2, "space", "moved", "INTEGER" }, /* last change that moved rows (compact.c) */
};

static const struct statement {
	int version;
	const char *text;
} tables[] = {
	/* Nodes whose file is not there, and since when. */
	{ 2, "CREATE TABLE IF NOT EXISTS kept(node INTEGER PRIMARY KEY, since INTEGER,"
	     " why INTEGER, uid INTEGER, gid INTEGER, mode INTEGER)" },
	/* Rows that are on the device here, and not yet for certain in their slots. */
	{ 3, "CREATE TABLE IF NOT EXISTS redo(id INTEGER PRIMARY KEY, space INTEGER,"
	     " slot INTEGER, rec BLOB, row BLOB)" },
	{ 0, NULL }, /* the end */
};

static vex_err has_column(struct sql *q, const struct column *c, bool *has)
{
	sqlite3_stmt *st = NULL;
	int more, rc = sqlite3_prepare_v2(q->db,
					  "SELECT 1 FROM pragma_table_info(?1) "
					  "WHERE name=?2",
					  -1, &st, NULL);

	if (!rc)
		rc = sqlite3_bind_text(st, 1, c->table, -1, SQLITE_STATIC);
	if (!rc)
		rc = sqlite3_bind_text(st, 2, c->name, -1, SQLITE_STATIC);
	more = rc ? sql_errno(rc) : sql_next(st);
	sqlite3_finalize(st);
	*has = more == 1;
	return more < 0 ? more : 0;
}

static vex_err add_column(struct sql *q, const struct column *c)
{
	char text[160];
	bool has;
	vex_err err = has_column(q, c, &has);

	if (err || has)
		return err;
	snprintf(text, sizeof(text), "ALTER TABLE %s ADD COLUMN %s %s", c->table, c->name,
		 c->type);
	return sql_text(q, text);
}

static vex_err step(struct sql *q, int to)
{
	vex_err err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(tables); i++)
		if (tables[i].version == to)
			err = sql_text(q, tables[i].text);
	for (size_t i = 0; !err && i < ARRAY_SIZE(columns); i++)
		if (columns[i].version == to)
			err = add_column(q, &columns[i]);
	return err;
}

vex_err upgrade_steps(struct sql *q, int from)
{
	char text[48];
	vex_err err = 0;

	for (int to = from + 1; !err && to <= FMT_VERSION; to++)
		err = step(q, to);
	snprintf(text, sizeof(text), "PRAGMA user_version=%d", FMT_VERSION);
	return err ? err : sql_text(q, text);
}

vex_err upgrade_catalog(struct sql *q, int from)
{
	vex_err err = sql_do(q, SQL_BEGIN, "");

	if (err)
		return err;
	err = upgrade_steps(q, from);
	if (!err)
		err = sql_do(q, SQL_COMMIT, "");
	if (err && !sqlite3_get_autocommit(q->db))
		(void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}
