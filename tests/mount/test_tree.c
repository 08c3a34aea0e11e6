/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people do with trees: copy, pack, version, build, keep databases. Each with the
 * tools themselves, on the mount, and checked against the store below.
 */
#include "mount/compare.h"

static struct vmount m;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, NULL);
}

static void down(void)
{
	vm_free(&m);
}

#define TTEST(name) Test(tree, name, .init = up, .fini = down, .timeout = 240)

#define OK(seconds, ...) cr_assert_eq(vm_sh(&m, seconds, __VA_ARGS__), 0)

static void need(const char *tool)
{
	if (vm_sh(&m, 10, "command -v %s >/dev/null", tool))
		cr_skip_test("%s is not installed", tool);
}

/* A tree with every kind of thing, made in $P/src. */
static void make_tree(void)
{
	OK(30, "set -e; mkdir -p $P/src/a/b/c $P/src/empty; cd $P/src; "
	       "for i in $(seq 200); do head -c $((i * 37)) /dev/urandom > a/f$i; done; "
	       "head -c 3000000 /dev/urandom > a/b/big; ln a/f1 a/b/hard; "
	       "ln -s ../f2 a/b/sym; ln -s nowhere dangling; mkfifo pipe; "
	       "printf x > 'odd name\n'; chmod 640 a/f3; chmod 4755 a/f4; "
	       "chmod 1777 empty; touch -d '2001-02-03 04:05:06.789' a/f5; "
	       "truncate -s 10M sparse; setfattr -n user.note -v 'hello there' a/f6; "
	       "setfacl -m u:1:r a/f7 2>/dev/null || :");
}

/* Everything stat can say, but times of directories and what differs by place. */
#define PRINT_TREE                                                                       \
	"find . -not -type d -printf '%%P %%y %%m %%U %%G %%s %%n %%T@ %%l\\n' -o "      \
	"-printf '%%P %%y %%m %%U %%G\\n' | sort"

TTEST(cp_archive_in_and_out)
{
	make_tree();
	OK(60, "cp -a $P/src $M/in && cp -a $M/in $P/out && diff -r --no-dereference "
	       "-x pipe $P/src $P/out");
	OK(30, "cd $P/src && " PRINT_TREE " > $P/1; cd $M/in && " PRINT_TREE
	       " > $P/2; cd $S/in && " PRINT_TREE " > $P/3; cd $P/out && " PRINT_TREE
	       " > $P/4; cd $P && diff 1 2 && diff 1 3 && diff 1 4");
	OK(10, "getfattr --only-values -n user.note $P/out/a/f6 | grep -q 'hello there'");
	OK(10, "test $(stat -c %%b $S/in/sparse) -lt 100");
	OK(30, "rm -rf $M/in && test -z \"$(ls -A $M)\"");
}

TTEST(tar_in_and_out)
{
	make_tree();
	OK(60,
	   "tar --format=posix -C $P -cf $P/t.tar --xattrs --acls src && mkdir $M/x && "
	   "tar -C $M/x --xattrs --acls -xf $P/t.tar && "
	   "tar --format=posix -C $M/x -cf - --xattrs --acls src | (mkdir $P/back; "
	   "tar -C $P/back --xattrs --acls -xf -) && "
	   "diff -r --no-dereference -x pipe $P/src $P/back/src");
	OK(30, "cd $P/src && " PRINT_TREE " > $P/1; cd $M/x/src && " PRINT_TREE
	       " > $P/2; diff $P/1 $P/2");
}

TTEST(rsync_archive)
{
	need("rsync");
	make_tree();
	OK(60,
	   "rsync -aHAX $P/src/ $M/in/ && test -z \"$(rsync -aHAXnic $P/src/ $M/in/)\"");
	OK(60, "echo changed > $P/src/a/f9; rm $P/src/a/f10; "
	       "rsync -aHAX --delete $P/src/ $M/in/ && "
	       "test -z \"$(rsync -aHAXnic --delete $P/src/ $M/in/)\"");
}

TTEST(git_clone_status_and_commit)
{
	need("git");
	OK(120, "set -e; export HOME=$P GIT_CONFIG_NOSYSTEM=1; "
		"git config --global user.email a@b; git config --global user.name n; "
		"git config --global --add safe.directory '*'; "
		"git init -q $P/origin; cd $P/origin; "
		"for i in $(seq 300); do mkdir -p d$((i %% 20)); "
		"seq $i > d$((i %% 20))/f$i; done; git add .; git commit -qm one; "
		"git clone -q $P/origin $M/clone; cd $M/clone; "
		"test -z \"$(git status --porcelain)\"; git fsck --strict; "
		"echo more >> d1/f1; git mv d2/f2 d3/g; git rm -q d4/f4; "
		"test $(git status --porcelain | wc -l) -eq 3; "
		"git commit -qam two; git checkout -q -b other HEAD~1; "
		"test ! -e d3/g; git merge -q -m three master 2>/dev/null || "
		"git merge -q -m three main; test -e d3/g; git gc -q; git fsck; "
		"test -z \"$(git status --porcelain)\"");
}

TTEST(build_a_c_project)
{
	OK(180,
	   "set -e; mkdir $M/proj; cd $M/proj; "
	   "for i in $(seq 12); do echo \"int f$i(void) { return $i; }\" > f$i.c; done; "
	   "{ for i in $(seq 12); do echo \"int f$i(void);\"; done; "
	   "echo 'int main(void) { return f1() + f12() - 13; }'; } > main.c; "
	   "printf 'OBJS := $(patsubst %%%%.c,%%%%.o,$(wildcard *.c))\\n"
	   "prog: lib.a main.o\\n\\t$(CC) -o $@ main.o lib.a\\n"
	   "lib.a: $(filter-out main.o,$(OBJS))\\n\\tar rcs $@ $^\\n' > Makefile; "
	   "make -s -j2; ./prog; make -q; touch f3.c; ! make -q; make -s; ./prog; "
	   "cp prog $P/; $P/prog; strip prog; ./prog");
}

TTEST(sqlite_database)
{
	need("sqlite3");
	for (int wal = 0; wal < 2; wal++) {
		OK(120,
		   "set -e; db=$M/t%d.db; sqlite3 $db 'pragma journal_mode=%s' "
		   ">/dev/null; sqlite3 $db 'create table t(i integer primary key, "
		   "v text)'; for p in 1 2 3; do (for i in $(seq 30); do "
		   "sqlite3 -cmd '.timeout 20000' $db \"begin immediate; insert into "
		   "t(v) select hex(randomblob(200)) from generate_series(1,20); "
		   "commit\"; done) & pids=\"$pids $!\"; done; "
		   "for p in $pids; do wait $p; done; "
		   "test $(sqlite3 $db 'select count(*) from t') = 1800; "
		   "test $(sqlite3 $db 'pragma integrity_check') = ok; "
		   "sqlite3 $db vacuum; test $(sqlite3 $db 'pragma integrity_check') "
		   "= ok",
		   wal, wal ? "wal" : "delete");
		OK(20, "test $(sqlite3 $S/t%d.db 'select count(*) from t') = 1800", wal);
	}
}

TTEST(editors_and_shells)
{
	OK(60, "set -e; cd $M; echo one > f; echo two >> f; sed -i s/one/1/ f; "
	       "test \"$(cat f)\" = '1\ntwo'; cp f g; mv g h; cmp f h; "
	       "install -m 600 f i; dd if=/dev/zero of=z bs=64k count=20 conv=fsync "
	       "status=none; sort -o f f; split -b 100k z part.; cat part.* | cmp - z; "
	       "gzip -k z; gunzip -c z.gz | cmp - z; (flock 9; echo x >&9) 9> lock; "
	       "find . -name 'part.*' -delete; test $(ls | wc -l) = 6; "
	       "mkdir -p a/b/c; touch a/b/c/{1..50}; chmod -R go-w a; chown -R 0:0 a; "
	       "du -s a > /dev/null; rm -r a; test ! -e a; df . | grep -q $S");
}

/* Load from several sides at once, then compare every byte below. */
TTEST(parallel_writers)
{
	OK(120, "set -e; cd $M; for p in 1 2 3 4; do (mkdir w$p; for i in $(seq 60); do "
		"head -c 50000 /dev/urandom > w$p/a; cp w$p/a w$p/b$i; "
		"cmp w$p/a w$p/b$i || exit 1; test $((i %% 3)) = 0 && rm w$p/b$i; "
		"cp w$p/a w$p/l$i; mv w$p/l$i w$p/m$((i %% 5)); done; true) & "
		"pids=\"$pids $!\"; done; for p in $pids; do wait $p; done; "
		"diff -r $M $S -x .vexfs");
}
