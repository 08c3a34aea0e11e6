/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one user may hold open: sessions, and the bytes they keep between calls
 * (staged queries, unread hits). Anyone may open `control`, so without limits any
 * user could take the daemon's memory, or every session, from the others.
 *
 * Three bounds: a total; three quarters of it for all but administrators, so that
 * these always get in; a quarter for any one user. An account lives as long as its
 * user has sessions.
 *
 * Must stay true: control.held is the sum of all accounts' bytes, control.sessions
 * that of their sessions. Lock: control.lock.
 */
#include "control_i.h"

#define SESSIONS_TOTAL 4096u
#define HELD_TOTAL ((uint64_t)2 << 30)

struct account {
	struct account *next;
	uint32_t uid;
	bool admin;
	unsigned sessions;
	uint64_t bytes;
};

/* Whether `mine`, grown to that, and `all`, grown to that, stay within bounds. */
static bool within(const struct account *a, uint64_t mine, uint64_t all, uint64_t total)
{
	if (a->admin)
		return all <= total;
	return all <= total / 4 * 3 && mine <= total / 4;
}

static struct account *find_locked(struct vex_control *c, uint32_t uid)
{
	struct account *a = c->accounts;

	while (a && a->uid != uid)
		a = a->next;
	return a;
}

static struct account *add_locked(struct vex_control *c, const struct vex_cred *cred)
{
	struct account *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->uid = cred->uid;
	a->admin = vex_cred_is_admin(c->engine, cred);
	a->next = c->accounts;
	c->accounts = a;
	return a;
}

static void drop_locked(struct vex_control *c, struct account *a)
{
	struct account **p = &c->accounts;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	free(a);
}

vex_err account_open(struct vex_control *c, const struct vex_cred *cred,
		     struct account **out)
{
	SCOPED_LOCK(&c->lock);
	struct account *a = find_locked(c, cred->uid);

	if (!a)
		a = add_locked(c, cred);
	if (!a)
		return -ENOMEM;
	if (!within(a, a->sessions + 1u, c->sessions + 1u, SESSIONS_TOTAL)) {
		if (!a->sessions)
			drop_locked(c, a);
		return -ENOMEM;
	}
	a->sessions++;
	c->sessions++;
	*out = a;
	return 0;
}

void account_close(struct vex_control *c, struct account *a)
{
	SCOPED_LOCK(&c->lock);
	c->sessions--;
	if (!--a->sessions)
		drop_locked(c, a);
}

vex_err account_charge(struct vex_control *c, struct account *a, uint64_t bytes)
{
	SCOPED_LOCK(&c->lock);
	if (bytes > HELD_TOTAL ||
	    !within(a, a->bytes + bytes, c->held + bytes, HELD_TOTAL))
		return -ENOMEM;
	a->bytes += bytes;
	c->held += bytes;
	return 0;
}

void account_release(struct vex_control *c, struct account *a, uint64_t bytes)
{
	SCOPED_LOCK(&c->lock);
	a->bytes -= bytes;
	c->held -= bytes;
}
