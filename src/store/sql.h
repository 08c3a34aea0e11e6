/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the catalog and its prepared statements, all declared once below.
 * A connection is used by one thread at a time; the statements are prepared when
 * first wanted. Statements may nest (a callback that reads again): one that is in
 * use already is prepared afresh.
 */
#ifndef VEX_STORE_SQL_H
#define VEX_STORE_SQL_H

#include <sqlite3.h>
#include <vexfs/base.h>

#define SQL_BUSY_MS 10000
#define ATTACH_COLS "lsn,node,space,slot,rows,form,st_size,st_mtime,st_open,key"
#define NODE_COLS "id,state,is_dir,mark,fh,fh_gen,ino,size,mtime"

#define SQL_STATEMENTS(X)                                                                \
	X(BEGIN, "BEGIN IMMEDIATE")                                                      \
	X(COMMIT, "COMMIT")                                                              \
	X(ROLLBACK, "ROLLBACK")                                                          \
	X(SAVE, "SAVEPOINT list")                                                        \
	X(UNSAVE, "ROLLBACK TO list")                                                    \
	X(RELEASE, "RELEASE list")                                                       \
	X(REDO_HAS, "SELECT 1 FROM redo LIMIT 1")                                        \
	X(REDO_ALL, "SELECT space,slot,rec,row FROM redo ORDER BY id")                   \
	X(REDO_ADD, "INSERT INTO redo(space,slot,rec,row) VALUES(?1,?2,?3,?4)")          \
	X(REDO_CLEAR, "DELETE FROM redo")                                                \
	X(META_GET, "SELECT value FROM meta WHERE key=?1")                               \
	X(META_SET, "INSERT OR REPLACE INTO meta(key,value) VALUES(?1,?2)")              \
	X(LSN_MAX, "SELECT max((SELECT ifnull(max(lsn),0) FROM log),"                    \
		   "(SELECT ifnull(max(lsn),0) FROM attach),"                            \
		   "(SELECT ifnull(max(moved),0) FROM space))")                          \
	X(NODE_MAX, "SELECT ifnull(max(id),0),count(*) FROM node")                       \
	X(LOG_MIN, "SELECT ifnull(min(lsn),0) FROM log")                                 \
	X(LOG_ADD, "INSERT INTO log(lsn,time,kind,node,space,key,old_slot,new_slot,"     \
		   "path) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")                           \
	X(LOG_READ, "SELECT lsn,time,kind,node,space,key,old_slot,path FROM log "        \
		    "WHERE lsn>?1 ORDER BY lsn LIMIT ?2")                                \
	X(LOG_TRIM, "DELETE FROM log WHERE lsn<?1")                                      \
	X(SPACE_ALL, "SELECT id,name,dim,metric,type,index_kind,m,efc,efs,quant,"        \
		     "dropped,scale,recall FROM space ORDER BY id")                      \
	X(SPACE_NAMED, "SELECT id FROM space WHERE name=?1 AND dropped=0")               \
	X(SPACE_ADD,                                                                     \
	  "INSERT INTO space(id,name,dim,metric,type,index_kind,m,efc,efs,"              \
	  "quant,dropped,scale,recall) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,0,"         \
	  "nullif(?11,0.0),nullif(?12,0.0))")                                            \
	X(SPACE_SET, "UPDATE space SET index_kind=?2,m=?3,efc=?4,efs=?5,quant=?6,"       \
		     "recall=nullif(?7,0.0) WHERE id=?1")                                \
	X(SPACE_DROP, "UPDATE space SET dropped=1 WHERE id=?1")                          \
	X(SPACE_GONE, "DELETE FROM space WHERE id=?1 AND dropped=1")                     \
	X(NODE_GET, "SELECT " NODE_COLS " FROM node WHERE id=?1")                        \
	X(NODE_FH, "SELECT " NODE_COLS " FROM node WHERE fh=?1 AND fh_gen=?2 "           \
		   "ORDER BY id DESC LIMIT 1")                                           \
	X(NODE_HAS, "SELECT 1 FROM node WHERE id=?1")                                    \
	X(NODE_ADD, "INSERT INTO node(" NODE_COLS ") "                                   \
		    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")                                \
	X(NODE_SET, "UPDATE node SET mark=?2,fh=?3,fh_gen=?4,ino=?5,size=?6,mtime=?7 "   \
		    "WHERE id=?1")                                                       \
	X(NODE_STATE, "UPDATE node SET state=?2 WHERE id=?1")                            \
	X(NODE_DEL, "DELETE FROM node WHERE id=?1")                                      \
	X(NODE_IDS, "SELECT id FROM node WHERE id>?1 ORDER BY id LIMIT 4096")            \
	X(NODE_GOING, "SELECT id FROM node WHERE state=1")                               \
	X(NAME_ADD, "INSERT OR IGNORE INTO name(parent,name,node) VALUES(?1,?2,?3)")     \
	X(NAME_DEL, "DELETE FROM name WHERE parent=?1 AND name=?2 AND node=?3")          \
	X(NAME_DROP, "DELETE FROM name WHERE node=?1")                                   \
	X(NAME_OF, "SELECT parent,name FROM name WHERE node=?1")                         \
	X(NAME_AT, "SELECT node FROM name WHERE parent=?1 AND name=?2")                  \
	X(NAME_BELOW, "SELECT DISTINCT node FROM name WHERE parent=?1 LIMIT ?2")         \
	X(ATTACH_FIND, "SELECT lsn,slot,rows FROM attach "                               \
		       "WHERE node=?1 AND space=?2 AND key=?3")                          \
	X(ATTACH_GET, "SELECT " ATTACH_COLS ",text FROM attach "                         \
		      "WHERE node=?1 AND space=?2 AND key=?3")                           \
	X(ATTACH_LSN, "SELECT " ATTACH_COLS ",text FROM attach WHERE lsn=?1")            \
	X(HIT,                                                                           \
	  "SELECT a.lsn,a.node,a.space,a.slot,a.rows,a.form,a.st_size,a.st_mtime,"       \
	  "a.st_open,a.key,n.id,n.state,n.is_dir,n.mark,n.fh,n.fh_gen,n.ino,n.size,"     \
	  "n.mtime,m.parent,m.name FROM attach a JOIN node n ON n.id=a.node "            \
	  "JOIN name m ON m.node=a.node WHERE a.lsn=?1 LIMIT 1")                         \
	X(ATTACH_NODE, "SELECT " ATTACH_COLS " FROM attach WHERE node=?1 "               \
		       "ORDER BY space,key")                                             \
	X(ATTACH_SPACE, "SELECT " ATTACH_COLS " FROM attach WHERE lsn>?2 AND space=?1 "  \
			"ORDER BY lsn")                                                  \
	X(ATTACH_AFTER, "SELECT " ATTACH_COLS " FROM attach WHERE lsn>?1 ORDER BY lsn")  \
	X(ATTACH_BATCH, "SELECT " ATTACH_COLS " FROM attach WHERE lsn>?1 ORDER BY lsn "  \
			"LIMIT 256")                                                     \
	X(ATTACH_ADD, "INSERT INTO attach(" ATTACH_COLS ",text) "                        \
		      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")                      \
	X(ATTACH_DEL, "DELETE FROM attach WHERE lsn=?1")                                 \
	X(ATTACH_HIGH, "SELECT ifnull(max(lsn),0) FROM (SELECT lsn FROM attach "         \
		       "WHERE lsn>?1 ORDER BY lsn LIMIT 2000)")                          \
	X(ATTACH_PURGE, "DELETE FROM attach WHERE lsn>?1 AND lsn<=?2 AND space IN "      \
			"(SELECT id FROM space WHERE dropped=1)")                        \
	X(ATTACH_MOVE, "UPDATE attach SET slot=?2 WHERE lsn=?1")                         \
	X(ATTACH_NODES, "SELECT DISTINCT node FROM attach WHERE node>?1 ORDER BY node "  \
			"LIMIT ?2")                                                      \
	X(KEPT_SET, "INSERT OR REPLACE INTO kept(node,since,why,uid,gid,mode) "          \
		    "SELECT id,?2,?3,?4,?5,?6 FROM node WHERE id=?1")                    \
	X(KEPT_DEL, "DELETE FROM kept WHERE node=?1")                                    \
	X(KEPT_GET, "SELECT node,since,why,uid,gid,mode FROM kept WHERE node=?1")        \
	X(KEPT_COUNTS,                                                                   \
	  "SELECT count(*),ifnull(sum(a.rows),0) FROM kept k JOIN attach a "             \
	  "ON a.node=k.node WHERE ?1=0 OR a.space=?1")                                   \
	X(KEPT_AFTER, "SELECT node,since,why,uid,gid,mode FROM kept WHERE node>?1 "      \
		      "ORDER BY node LIMIT ?2")                                          \
	X(FREE_PAGES, "PRAGMA freelist_count")                                           \
	X(SPACE_MOVED, "SELECT ifnull(moved,0) FROM space WHERE id=?1")                  \
	X(SPACE_MOVED_SET, "UPDATE space SET moved=?2 WHERE id=?1")                      \
	X(STAMP_OPEN, "UPDATE attach SET st_size=?2,st_mtime=?3,st_open=0 "              \
		      "WHERE node=?1 AND st_open=1")                                     \
	X(STAMP_WAS, "UPDATE attach SET st_size=?2,st_mtime=?3,st_open=0 "               \
		     "WHERE node=?1 AND st_open=0 AND st_size=?4 AND st_mtime=?5")       \
	X(STAMP_ONE, "UPDATE attach SET st_size=?2,st_mtime=?3,st_open=?4 WHERE lsn=?1")

enum sql_id {
#define X(name, text) SQL_##name,
	SQL_STATEMENTS(X)
#undef X
	    SQL_COUNT,
};

struct sql {
	sqlite3 *db;
	sqlite3_stmt *st[SQL_COUNT];
};

/* A vex_err for a result code of SQLite. 0 for OK, ROW and DONE. */
vex_err sql_errno(int rc);

/* Opens the catalog in that directory; all pragmas set. [deep] as all that follow. */
vex_err sql_open(struct sql *q, int dirfd, bool create) VEX_CHECKED;
/* Finalises all and closes. */
void sql_close(struct sql *q);

/* Statement `id` with its parameters bound by `types`, a letter each:
 *  i  int64_t or uint64_t
 *  b  const void *, uint32_t: bytes, never NULL (none: a blob of length 0)
 *  n  the same, NULL for a null pointer
 *  s  const char *: text
 * The bytes must stay as they are until sql_end. */
vex_err sql_start(struct sql *q, enum sql_id id, sqlite3_stmt **out, const char *types,
		  ...) VEX_CHECKED;
/* 1: a row; 0: no more; or a negative errno. */
int sql_next(sqlite3_stmt *st);
void sql_end(struct sql *q, enum sql_id id, sqlite3_stmt *st);
/* All of that for a statement without rows. */
vex_err sql_do(struct sql *q, enum sql_id id, const char *types, ...) VEX_CHECKED;
/* The first column of the first row; -ENODATA where there is no row. */
vex_err sql_int(struct sql *q, enum sql_id id, int64_t *out, const char *types,
		...) VEX_CHECKED;
/* Text without parameters and rows (pragmas, schema). */
vex_err sql_text(struct sql *q, const char *text) VEX_CHECKED;

static inline uint64_t sql_u64(sqlite3_stmt *st, int col)
{
	return (uint64_t)sqlite3_column_int64(st, col);
}

static inline uint32_t sql_u32(sqlite3_stmt *st, int col)
{
	return (uint32_t)sqlite3_column_int64(st, col);
}

static inline uint8_t sql_u8(sqlite3_stmt *st, int col)
{
	return (uint8_t)sqlite3_column_int64(st, col);
}

/* ---- vfs.c --------------------------------------------------------------- */

#define VFS_NAME "vexfs"

/* Registers the VFS; again and again is fine. */
vex_err vfs_register(void) VEX_CHECKED;
/* Whether a first page that does not match its checksum is read all the same (salvage.c).
 */
void vfs_lenient(bool on);
/* Reads every page of the open catalog, at most `limit` bytes: -EUCLEAN and the first
 * bad page's number. */
vex_err vfs_check(sqlite3 *db, uint64_t limit, uint64_t *bad) VEX_CHECKED;

#endif
