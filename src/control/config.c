/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.vexfs/config` and VEXFS_IOC_CONFIG: the settings, to read for everybody, to set for
 * root and the owner of the mount. The file reads as NAME=VALUE lines; each write(2) is
 * a number of such lines, all of which are checked before the first one counts.
 */
#include "control_i.h"

#define LINES_MAX 64u
#define WRITE_MAX ((size_t)8192)

static const char *from_name(enum vex_knob_from f)
{
	static const char *const names[] = { "default", "vexfs.conf", "command line",
					     "set while mounted" };

	return names[f];
}

struct shown {
	char text[64];
};

static struct shown show(const struct vex_engine *e, enum vex_knob k)
{
	struct shown s = { .text = "" };

	vex_knob_print(k, vex_engine_knob(e, k), s.text, sizeof(s.text));
	return s;
}

vex_err config_text(struct vex_control *c, struct vex_buf *out)
{
	for (enum vex_knob k = 0; k < VEX_KNOB_COUNT; k++) {
		const struct vex_knob_info *i = vex_knob_info(k);

		vex_buf_fmt(out, "%s=%s\n", i->name, show(c->engine, k).text);
	}
	return out->err;
}

/* For status: an object of all settings. */
void config_json(struct vex_control *c, struct vex_buf *out)
{
	vex_buf_str(out, "  \"config\": {");
	for (enum vex_knob k = 0; k < VEX_KNOB_COUNT; k++) {
		const struct vex_knob_info *i = vex_knob_info(k);
		bool bare = i->kind == VEX_KNOB_NUMBER;

		vex_buf_fmt(out, bare ? "%s\n    \"%s\": %s" : "%s\n    \"%s\": \"%s\"",
			    k ? "," : "", i->name, show(c->engine, k).text);
	}
	vex_buf_str(out, "\n  },\n");
}

/* ---- setting -------------------------------------------------------------------------
 */

static vex_err set_one(struct vex_session *s, const struct vex_cred *cred,
		       enum vex_knob k, uint64_t v, bool keep)
{
	struct vex_engine *e = s->control->engine;
	const char *name = vex_knob_info(k)->name;
	char was[64], now[64];
	vex_err err;

	vex_knob_print(k, vex_engine_knob(e, k), was, sizeof(was));
	vex_knob_print(k, v, now, sizeof(now));
	err = vex_engine_set_knob(e, k, v, keep);
	vex_audit(e, cred, "config", err, "%s=%s", name, now);
	if (err)
		return session_fail(s, err, "%s: %s", name, strerrordesc_np(-err));
	vex_info("config: %s was %s, is %s (uid %u)", name, was, now, cred->uid);
	return 0;
}

/* -EINVAL or -EPERM, with a sentence: whatever is wrong with a setting is found before
 * any is set. */
static vex_err parse(struct vex_session *s, const char *name, size_t len,
		     const char *value, enum vex_knob *k, uint64_t *v)
{
	int found = vex_knob_find(name, len);
	const struct vex_knob_info *i;

	if (found < 0)
		return session_fail(s, -EINVAL, "there is no setting '%.*s'",
				    (int)(len > 60 ? 60 : len), name);
	*k = (enum vex_knob)found;
	i = vex_knob_info(*k);
	if (!i->live)
		return session_fail(s, -EPERM,
				    "%s: not while mounted; in " VEX_CONF_NAME
				    " it counts from the next mount on",
				    i->name);
	if (!vex_knob_parse(*k, value, v))
		return 0;
	if (i->kind == VEX_KNOB_WORD)
		return session_fail(s, -EINVAL, "%s: '%.40s' is none of %s", i->name,
				    value, i->words);
	if (i->kind == VEX_KNOB_FLAG)
		return session_fail(s, -EINVAL, "%s: '%.40s' is neither on nor off",
				    i->name, value);
	if (i->kind == VEX_KNOB_SPACE)
		return session_fail(s, -EINVAL, "%s: '%.60s' is no name of a space",
				    i->name, value);
	return session_fail(s, -EINVAL, "%s: '%.40s' is not within %llu .. %llu", i->name,
			    value, (unsigned long long)i->min,
			    (unsigned long long)i->max);
}

/* ---- the file ------------------------------------------------------------------------
 */

struct setting {
	enum vex_knob k;
	uint64_t v;
};

static vex_err take_line(struct vex_session *s, char *line, struct setting *out)
{
	char *eq = strchr(line, '=');

	if (!eq)
		return session_fail(s, -EINVAL, "'%.60s' is not NAME=VALUE", line);
	return parse(s, line, (size_t)(eq - line), eq + 1, &out->k, &out->v);
}

static vex_err take_lines(struct vex_session *s, const struct vex_cred *cred, char *text)
{
	struct setting all[LINES_MAX];
	size_t n = 0;
	char *save = NULL;
	vex_err err = 0;

	for (char *l = strtok_r(text, "\n", &save); l && !err;
	     l = strtok_r(NULL, "\n", &save)) {
		if (n == LINES_MAX)
			return session_fail(s, -EINVAL, "more than %u lines", LINES_MAX);
		err = take_line(s, l, &all[n++]);
	}
	for (size_t i = 0; i < n && !err; i++)
		err = set_one(s, cred, all[i].k, all[i].v, false);
	return err;
}

struct write_job {
	struct vex_session *s;
	const struct vex_cred *cred;
	char *text;
};

static vex_err write_deep(void *arg)
{
	struct write_job *j = arg;

	return take_lines(j->s, j->cred, j->text);
}

vex_err config_write(struct vex_session *s, const struct vex_cred *cred, const void *buf,
		     size_t size)
{
	struct write_job j = { .s = s, .cred = cred };
	vex_err err;

	if (!vex_cred_is_admin(s->control->engine, cred))
		return session_fail(s, -EPERM, "only root and the owner of the mount");
	if (size > WRITE_MAX || memchr(buf, 0, size))
		return session_fail(s, -EINVAL, "not lines of text");
	j.text = strndup(buf, size);
	if (!j.text)
		return -ENOMEM;
	err = vex_pool_call(s->control->pool, write_deep, &j);
	free(j.text);
	return err;
}

/* ---- VEXFS_IOC_CONFIG ----------------------------------------------------------------
 */

static void fill(struct vexfs_config *h, const struct vex_engine *e, enum vex_knob k)
{
	const struct vex_knob_info *i = vex_knob_info(k);

	snprintf(h->name, sizeof(h->name), "%s", i->name);
	snprintf(h->value, sizeof(h->value), "%s", show(e, k).text);
	vex_knob_print(k, i->fallback, h->fallback, sizeof(h->fallback));
	snprintf(h->from, sizeof(h->from), "%s", from_name(vex_engine_knob_from(e, k)));
	snprintf(h->meaning, sizeof(h->meaning), "%s%s%s", i->meaning,
		 i->words ? ": " : "", i->words ? i->words : "");
	h->live = i->live;
	h->count = VEX_KNOB_COUNT;
}

static vex_err set_by_name(struct call *c, struct vexfs_config *h, enum vex_knob *k)
{
	uint64_t v = 0;
	vex_err err;

	if (!c->s->writable)
		return session_fail(c->s, -EBADF, "not open for writing");
	if (!vex_cred_is_admin(c->engine, c->cred))
		return session_fail(c->s, -EPERM, "only root and the owner of the mount");
	err = parse(c->s, h->name, strlen(h->name), h->value, k, &v);
	if (err || h->flags & VEXFS_CONFIG_CHECK)
		return err;
	return set_one(c->s, c->cred, *k, v, (h->flags & VEXFS_CONFIG_SAVE) != 0);
}

static vex_err config_deep(void *arg)
{
	struct call *c = arg;
	struct vexfs_config *h = c->head;
	enum vex_knob k = h->index;
	int found;
	vex_err err = 0;

	if (h->flags & VEXFS_CONFIG_SET) {
		err = set_by_name(c, h, &k);
	} else if (h->name[0]) {
		found = vex_knob_find(h->name, strlen(h->name));
		if (found < 0)
			return session_fail(c->s, -ENOENT, "there is no setting '%s'",
					    h->name);
		k = (enum vex_knob)found;
	} else if (h->index >= VEX_KNOB_COUNT) {
		return -ENOENT;
	}
	if (!err)
		fill(h, c->engine, k);
	return err;
}

vex_err ioc_config(struct call *c)
{
	struct vexfs_config *h = c->head;
	vex_err err;

	if (h->flags & ~(uint32_t)VEXFS_CONFIG_FLAGS)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	if (h->flags && !(h->flags & VEXFS_CONFIG_SET))
		return session_fail(c->s, -EINVAL, "nothing is set that could be kept");
	err = call_reserved(c, h->reserved);
	if (err)
		return err;
	if (h->name[sizeof(h->name) - 1] || h->value[sizeof(h->value) - 1])
		return session_fail(c->s, -EINVAL, "a string does not end");
	return vex_pool_call(c->s->control->pool, config_deep, c);
}
