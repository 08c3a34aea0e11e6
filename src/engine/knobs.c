/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: each declared once, in engine.h, with its kind, bounds and default. The
 * command line, STORE/.vexfs/vexfs.conf and `vexctl config` all read and write their
 * values by the functions here, so that a value means the same wherever it is said.
 *
 * A value is one 64-bit number in the engine, read without a lock where it is used: it
 * counts from the next use on. Those with a form of their own elsewhere (the store's
 * sync mode, thresholds, the log) are handed on by apply().
 *
 * Lock: `knobs` makes sets come one after the other.
 */
#include <ctype.h>
#include "engine_i.h"

static const struct vex_knob_info infos[] = {
#define X(id, n, k, lo, hi, def, when, w, m)                                             \
	{ .name = n,                                                                     \
	  .kind = VEX_KNOB_##k,                                                          \
	  .min = lo,                                                                     \
	  .max = hi,                                                                     \
	  .fallback = def,                                                               \
	  .live = when,                                                                  \
	  .words = w,                                                                    \
	  .meaning = m },
	VEX_KNOBS(X)
#undef X
};

const struct vex_knob_info *vex_knob_info(enum vex_knob k)
{
	return &infos[k];
}

int vex_knob_find(const char *name, size_t len)
{
	for (int k = 0; k < VEX_KNOB_COUNT; k++)
		if (strlen(infos[k].name) == len && !strncmp(infos[k].name, name, len))
			return k;
	return -1;
}

/* ---- values as text ---------------------------------------------------------------- */

/* The index of a word in "a|b|c". */
static bool word_index(const char *words, const char *text, uint64_t *out)
{
	size_t len = strlen(text);

	for (*out = 0; *words; ++*out) {
		size_t n = strcspn(words, "|");

		if (n == len && !strncmp(words, text, n))
			return true;
		words += n + (words[n] == '|');
	}
	return false;
}

static bool digits(const char *text, size_t n, uint64_t *out)
{
	uint64_t v = 0;

	if (!n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9' || v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(text[i] - '0');
	}
	*out = v;
	return true;
}

/* BYTES with K, M, G or T. */
static bool size(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	size_t n = strspn(text, "0123456789");
	const char *unit =
	    text[n] ? strchr(units, toupper((unsigned char)text[n])) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;

	if ((text[n] && (!unit || text[n + 1])) || !digits(text, n, out))
		return false;
	if (*out > UINT64_MAX >> shift)
		return false;
	*out <<= shift;
	return true;
}

static bool flag(const char *text, uint64_t *out)
{
	static const char *const yes[] = { "on", "true", "1" };
	static const char *const no[] = { "off", "false", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		*out = !strcmp(text, yes[i]);
		if (*out || !strcmp(text, no[i]))
			return true;
	}
	return false;
}

/* Names that were ever said, so that one is a number like any other value: few are, for
 * people say them. `spaces` guards how many there are; those there are stay. */
#define SPACES_MAX 64u
static pthread_mutex_t spaces = PTHREAD_MUTEX_INITIALIZER;
static char space_names[SPACES_MAX][VEX_SPACE_NAME_MAX + 1]; /* [0] is none */
static unsigned nspaces = 1;

static bool space_number(const char *text, uint64_t *out)
{
	SCOPED_LOCK(&spaces);

	if (*text && !space_name_ok(text, strlen(text)))
		return false;
	for (*out = 0; *out < nspaces; ++*out)
		if (!strcmp(space_names[*out], text))
			return true;
	if (nspaces == SPACES_MAX)
		return false;
	strcpy(space_names[nspaces++], text);
	return true;
}

const char *vex_knob_space(uint64_t v)
{
	return space_names[v < SPACES_MAX ? v : 0];
}

vex_err vex_knob_parse(enum vex_knob k, const char *text, uint64_t *out)
{
	const struct vex_knob_info *i = &infos[k];
	uint64_t v;
	bool ok;

	switch (i->kind) {
	case VEX_KNOB_WORD:
		ok = word_index(i->words, text, &v);
		break;
	case VEX_KNOB_FLAG:
		ok = flag(text, &v);
		break;
	case VEX_KNOB_SIZE:
		ok = size(text, &v);
		break;
	case VEX_KNOB_SPACE:
		ok = space_number(text, &v);
		break;
	default:
		ok = digits(text, strlen(text), &v);
	}
	if (!ok || v < i->min || v > i->max)
		return -EINVAL;
	*out = v;
	return 0;
}

static void print_size(uint64_t v, char *out, size_t room)
{
	static const char units[] = "KMGT";
	int u = -1;

	while (v && !(v & 1023) && u < 3) {
		v >>= 10;
		u++;
	}
	if (u < 0)
		snprintf(out, room, "%llu", (unsigned long long)v);
	else
		snprintf(out, room, "%llu%c", (unsigned long long)v, units[u]);
}

void vex_knob_print(enum vex_knob k, uint64_t v, char *out, size_t room)
{
	const struct vex_knob_info *i = &infos[k];
	const char *w = i->words;

	switch (i->kind) {
	case VEX_KNOB_WORD:
		for (; v && *w; v--)
			w += strcspn(w, "|") + 1;
		snprintf(out, room, "%.*s", (int)strcspn(w, "|"), w);
		break;
	case VEX_KNOB_FLAG:
		snprintf(out, room, "%s", v ? "on" : "off");
		break;
	case VEX_KNOB_SIZE:
		print_size(v, out, room);
		break;
	case VEX_KNOB_SPACE:
		snprintf(out, room, "%s", vex_knob_space(v));
		break;
	case VEX_KNOB_NUMBER:
		snprintf(out, room, "%llu", (unsigned long long)v);
	}
}

void vex_settings_init(struct vex_settings *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned k = 0; k < VEX_KNOB_COUNT; k++)
		s->value[k] = infos[k].fallback;
}

/* ---- in force ------------------------------------------------------------------------
 */

uint64_t vex_engine_knob(const struct vex_engine *e, enum vex_knob k)
{
	return atomic_load_explicit(&e->knob[k], memory_order_relaxed);
}

enum vex_knob_from vex_engine_knob_from(const struct vex_engine *e, enum vex_knob k)
{
	return (enum vex_knob_from)atomic_load(&e->knob_from[k]);
}

static void apply_limits(struct vex_engine *e)
{
	static const struct {
		enum vex_limit limit;
		enum vex_knob knob;
		uint64_t unit;
	} all[] = {
		{ VEX_LIMIT_SEARCH, VEX_KNOB_SLOW_SEARCH, 1000000 },
		{ VEX_LIMIT_STORAGE, VEX_KNOB_SLOW_STORAGE, 1000000 },
		{ VEX_LIMIT_SYNC, VEX_KNOB_SLOW_SYNC, 1000000 },
		{ VEX_LIMIT_OP, VEX_KNOB_SLOW_OP, 1000000 },
		{ VEX_LIMIT_STACK_WARN, VEX_KNOB_STACK_WARN, 1 },
		{ VEX_LIMIT_STACK, VEX_KNOB_STACK_LIMIT, 1 },
		{ VEX_LIMIT_ERRORS, VEX_KNOB_ERROR_RATE, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		vex_limit_set(all[i].limit,
			      vex_engine_knob(e, all[i].knob) * all[i].unit);
	vex_limit_set(VEX_LIMIT_MEMORY, vex_engine_knob(e, VEX_KNOB_MEM));
}

/* Those whose readers keep a copy. */
static void apply(struct vex_engine *e)
{
	apply_limits(e);
	vex_stack_every((uint32_t)vex_engine_knob(e, VEX_KNOB_STACK_SAMPLE));
	if (e->answers)
		answers_trim(e->answers, vex_engine_knob(e, VEX_KNOB_CACHE));
	if (e->scans)
		vex_pool_limit(e->scans,
			       (unsigned)vex_engine_knob(e, VEX_KNOB_CONCURRENT));
	if (e->store)
		vex_store_tune(e->store,
			       vex_engine_knob(e, VEX_KNOB_SYNC) ? VEX_SYNC_ALWAYS
								 : VEX_SYNC_LAZY,
			       (uint32_t)vex_engine_knob(e, VEX_KNOB_SYNC_INTERVAL));
}

vex_err knobs_init(struct vex_engine *e, const struct vex_engine_opts *o)
{
	struct vex_settings own = { 0 };
	const struct vex_settings *s = o->settings ? o->settings : &own;
	vex_err err = 0;

	pthread_mutex_init(&e->knobs_lock, NULL);
	vex_settings_init(&own);
	own.value[VEX_KNOB_METRIC] = o->metric;
	own.value[VEX_KNOB_STRICT] = o->strict;
	own.value[VEX_KNOB_INDEX_SYNC] = o->index_immediate;
	own.value[VEX_KNOB_MEM] = o->index_mem;
	if (o->vec_space)
		err = vex_knob_parse(VEX_KNOB_VEC_SPACE, o->vec_space,
				     &own.value[VEX_KNOB_VEC_SPACE]);
	own.value[VEX_KNOB_SYNC] = o->store.sync == VEX_SYNC_ALWAYS;
	if (o->store.sync_interval_ms)
		own.value[VEX_KNOB_SYNC_INTERVAL] = o->store.sync_interval_ms;
	for (unsigned k = 0; k < VEX_KNOB_COUNT; k++) {
		atomic_store(&e->knob[k], s->value[k]);
		atomic_store(&e->knob_from[k], s->from[k]);
	}
	vex_log_set_level((enum vex_log_level)s->value[VEX_KNOB_LOG]);
	return err;
}

void knobs_apply(struct vex_engine *e)
{
	apply(e);
}

vex_err vex_engine_set_knob(struct vex_engine *e, enum vex_knob k, uint64_t value,
			    bool keep)
{
	char was[64], now[64];
	vex_err err = 0;

	if (value < infos[k].min || value > infos[k].max)
		return -EINVAL;
	if (!infos[k].live)
		return -EPERM;
	SCOPED_LOCK(&e->knobs_lock);
	if (keep)
		err = conf_save(e, k, value);
	if (err)
		return err;
	vex_knob_print(k, vex_engine_knob(e, k), was, sizeof(was));
	vex_knob_print(k, value, now, sizeof(now));
	note_add(e, VEX_NOTE_CONFIG, 0, NULL, "%s %s %s", infos[k].name, now, was);
	atomic_store(&e->knob[k], value);
	atomic_store(&e->knob_from[k], keep ? VEX_FROM_FILE : VEX_FROM_RUNTIME);
	apply(e);
	if (k == VEX_KNOB_LOG)
		vex_log_set_level((enum vex_log_level)value);
	/* What was acknowledged before counts as always, too. */
	return k == VEX_KNOB_SYNC && value ? vex_store_sync(e->store, false) : 0;
}
