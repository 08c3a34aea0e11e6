/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control directory as a whole: which files it has, what all sessions share.
 */
#include "control_i.h"

#define PARSERS 8u
#define QUEUED_MAX 4096u

static const struct vex_control_file files[] = {
	{ "control", 0666, FILE_CONTROL }, { "status", 0444, FILE_STATUS },
	{ "query", 0666, FILE_QUERY },     { "metrics", 0400, FILE_METRICS },
	{ "config", 0644, FILE_CONFIG },   { "events", 0666, FILE_EVENTS },
};

const struct vex_control_file *vex_control_files(size_t *n)
{
	*n = ARRAY_SIZE(files);
	return files;
}

static char *copy(const char *s)
{
	return strdup(s ? s : "");
}

vex_err vex_control_new(const struct vex_control_opts *o, struct vex_control **out)
{
	struct vex_control *c = calloc(1, sizeof(*c));
	vex_err err;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	c->engine = o->engine;
	c->mountpoint = copy(o->mountpoint);
	c->store = copy(o->store);
	c->options = copy(o->options);
	c->status_extra = o->status_extra;
	c->arg = o->arg;
	c->started = vex_now_mono();
	err = c->mountpoint && c->store && c->options ? 0 : -ENOMEM;
	if (!err)
		err = vex_pool_new(PARSERS, QUEUED_MAX, "vexfs-json", &c->pool);
	if (!err)
		err = lives_new(c, &c->lives);
	if (!err)
		err = events_new(c, &c->hub);
	if (err) {
		vex_control_free(c);
		return err;
	}
	*out = c;
	return 0;
}

void vex_control_free(struct vex_control *c)
{
	if (!c)
		return;
	if (c->sessions)
		vex_warn("control: %u sessions still open at the end", c->sessions);
	lives_free(c->lives);
	events_free(c->hub);
	vex_pool_free(c->pool);
	pthread_mutex_destroy(&c->lock);
	free(c->mountpoint);
	free(c->store);
	free(c->options);
	free(c);
}
