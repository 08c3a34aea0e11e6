/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <grp.h>
#include <signal.h>
#include <sys/wait.h>
#include "fs_i.h"

Test(groups, of_this_process_as_the_kernel_says)
{
	gid_t want[64], got[64];
	int n = getgroups(64, want);

	cr_assert_eq(caller_groups(getpid(), got, 64), n);
	cr_assert(!memcmp(want, got, (size_t)n * sizeof(*got)));
}

/* A process with these groups, asked about while it lives. */
static int asked(const gid_t *groups, size_t n, gid_t *got, unsigned max)
{
	int p[2], r = -1;
	char c;
	pid_t pid;

	cr_assert(!pipe(p));
	pid = fork();
	if (!pid)
		_exit(setgroups(n, groups) || write(p[1], "", 1) != 1 || pause());
	close(p[1]);
	if (read(p[0], &c, 1) == 1)
		r = caller_groups(pid, got, max);
	close(p[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

Test(groups, many_and_none)
{
	gid_t many[300], got[300];

	if (geteuid())
		cr_skip("only root gives itself groups");
	for (gid_t i = 0; i < 300; i++)
		many[i] = 4000000000u + i;
	cr_assert_eq(asked(NULL, 0, got, 300), 0);
	cr_assert_eq(asked(many, 300, got, 300), 300);
	cr_assert(!memcmp(many, got, sizeof(many)));
	memset(got, 0, sizeof(got));
	cr_assert_eq(asked(many, 300, got, 7), 300, "all are counted");
	cr_assert_eq(got[6], many[6]);
	cr_assert_eq(got[7], 0, "no more are stored than there is room for");
}

Test(groups, nobody)
{
	gid_t got[4];

	cr_assert_lt(caller_groups(0, got, 4), 0);
	cr_assert_lt(caller_groups(0x7ffffffe, got, 4), 0);
}
