/* SPDX-License-Identifier: Apache-2.0 */
/* config: reads and sets what may change while mounted. */
#include "commands.h"
#include "session.h"

static const char help[] =
    "usage: vexctl config [--explain]\n"
    "       vexctl config NAME\n"
    "       vexctl config NAME=VALUE ... [--save]\n"
    "\n"
    "Without arguments prints every setting as NAME=VALUE; --explain adds where the "
    "value\n"
    "is from and what it means. NAME prints that one's value. NAME=VALUE sets it, at "
    "once;\n"
    "all are checked by name first. --save also writes it to STORE/.vexfs/vexfs.conf, "
    "for\n"
    "mounts to come: a mount takes its command line, then that file, then defaults.\n"
    "Setting is for root and the owner of the mount.\n";

static int call(struct session *s, struct vexfs_config *c, const char *what)
{
	int err = session_call(s, VEXFS_IOC_CONFIG, c);

	if (err)
		return session_error(s, err, what);
	c->name[sizeof(c->name) - 1] = c->value[sizeof(c->value) - 1] = 0;
	c->from[sizeof(c->from) - 1] = c->meaning[sizeof(c->meaning) - 1] = 0;
	return 0;
}

static int print_all(struct session *s, bool explain)
{
	struct vexfs_config c;
	uint32_t i = 0;
	int err;

	do {
		memset(&c, 0, sizeof(c));
		c.index = i++;
		err = call(s, &c, "config");
		if (err)
			return err;
		if (explain)
			printf("%s=%s\t%s%s\t%s\n", c.name, c.value, c.from,
			       c.live ? "" : ", fixed while mounted", c.meaning);
		else
			printf("%s=%s\n", c.name, c.value);
	} while (i < c.count);
	return CLI_OK;
}

static int print_one(struct session *s, const char *name)
{
	struct vexfs_config c = { 0 };
	int err;

	if (strlen(name) >= sizeof(c.name))
		return cli_error("there is no setting '%s'", name);
	strcpy(c.name, name);
	err = call(s, &c, name);
	if (!err)
		puts(c.value);
	return err;
}

static int set_one(struct session *s, const char *arg, uint32_t flags)
{
	const char *eq = strchr(arg, '=');
	struct vexfs_config c = { .flags = VEXFS_CONFIG_SET | flags };
	size_t len = (size_t)(eq - arg);

	if (len >= sizeof(c.name) || strlen(eq + 1) >= sizeof(c.value))
		return cli_error("there is no setting '%s'", arg);
	memcpy(c.name, arg, len);
	strcpy(c.value, eq + 1);
	return call(s, &c, arg);
}

/* What is wrong is found before anything is set. */
static int check_all(struct session *s, struct invocation *in)
{
	int err = 0;

	for (int i = 0; i < in->nargs && !err; i++) {
		struct vexfs_config c = { 0 };
		size_t len = strcspn(in->args[i], "=");

		if (!len || len >= sizeof(c.name))
			return cli_error("not NAME=VALUE: '%s'", in->args[i]);
		memcpy(c.name, in->args[i], len);
		err = in->args[i][len] ? set_one(s, in->args[i], VEXFS_CONFIG_CHECK)
				       : call(s, &c, in->args[i]);
	}
	return err;
}

static int run(struct session *s, struct invocation *in, bool save, bool explain)
{
	uint32_t flags = save ? VEXFS_CONFIG_SAVE : 0;
	int err;

	if (!in->nargs)
		return print_all(s, explain);
	err = check_all(s, in);
	for (int i = 0; i < in->nargs && !err; i++)
		err = strchr(in->args[i], '=') ? set_one(s, in->args[i], flags)
					       : print_one(s, in->args[i]);
	return err;
}

int cmd_config(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	bool save = false, explain = false;
	const struct opt opts[] = { { "save", 0, OPT_FLAG, &save, 0, NULL },
				    { "explain", 0, OPT_FLAG, &explain, 0, NULL },
				    { 0 } };
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (save && !in->nargs)
		return cli_error("--save: nothing is set");
	code = mount_find(in, NULL, &m);
	if (!code)
		code = session_open(&m, &s);
	return code ? code : run(&s, in, save, explain);
}
