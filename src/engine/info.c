/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.vexfs._info: what VexFS knows of a file, as one JSON object:
 *
 *   {"attachments": 2, "rows": 5, "stale": false, "vec_error": null, "list": [
 *     {"space": "words", "key": "", "rows": 1, "dim": 100, "form": "text",
 *      "stale": false, "lsn": 12}, ...], "truncated": false}
 *
 * form is text, binary or content (from a .vec file). The totals count everything; the
 * list ends where the value would grow past what an xattr can hold.
 */
#include "engine_i.h"
#include "attach_i.h"

#define LIST_CAP 1000u
#define LIST_BYTES (60u << 10)

struct info {
	struct vex_engine *e;
	struct spaceset spaces;
	struct stat st;
	struct vex_buf list;
	uint64_t attachments, rows;
	bool stale, truncated;
};

static const char *form_name(uint8_t form)
{
	if (form & VEX_FORM_CONTENT)
		return "content";
	return form & VEX_FORM_TEXT ? "text" : "binary";
}

static const char *json_bool(bool b)
{
	return b ? "true" : "false";
}

static void add_entry(struct info *f, const struct vex_attach *a, struct vex_space *sp,
		      bool stale)
{
	struct vex_space_spec spec;

	vex_space_spec(sp, &spec);
	vex_buf_str(&f->list, f->list.len ? ", {\"space\": " : "{\"space\": ");
	vex_buf_json(&f->list, spec.name, strlen(spec.name));
	vex_buf_str(&f->list, ", \"key\": ");
	vex_buf_json(&f->list, a->key, a->key_len);
	vex_buf_fmt(&f->list,
		    ", \"rows\": %u, \"dim\": %u, \"form\": \"%s\", \"stale\": %s, "
		    "\"lsn\": %llu}",
		    a->rows, vex_space_dim(sp), form_name(a->form), json_bool(stale),
		    (unsigned long long)a->lsn);
}

static vex_err count_one(void *arg, const struct vex_attach *a)
{
	struct info *f = arg;
	bool stale = stamp_stale(&a->stamp, &f->st);
	struct vex_space *sp;
	vex_err err = spaceset_get(f->e, &f->spaces, a->space, &sp);

	if (err)
		return err == -ENODEV ? 0 : err;
	f->attachments++;
	f->rows += a->rows;
	f->stale |= stale;
	/* A key can take six bytes of JSON for each of its own. */
	if (f->attachments > LIST_CAP || f->list.len + 6 * a->key_len + 256 > LIST_BYTES)
		f->truncated = true;
	if (!f->truncated)
		add_entry(f, a, sp, stale);
	return f->list.err;
}

static vex_err count_all(struct info *f, uint64_t node)
{
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err;

	if (!node)
		return 0;
	err = vex_reader_get(f->e->store, &r);
	if (!err)
		err = vex_read_attaches(r, node, count_one, f);
	return err;
}

static void add_error(struct vex_buf *out, vex_err err)
{
	const char *name = err ? strerrorname_np(-err) : NULL;
	const char *text = content_sentence(err);

	if (!err) {
		vex_buf_str(out, "null");
		return;
	}
	vex_buf_fmt(out, "{\"errno\": %d, \"name\": \"%s\", \"text\": ", -err,
		    name ? name : "?");
	vex_buf_json_words(out, text);
	vex_buf_str(out, "}");
}

static vex_err put_together(struct info *f, vex_err vec_err, struct vex_buf *out)
{
	vex_buf_fmt(out,
		    "{\"attachments\": %llu, \"rows\": %llu, \"stale\": %s, "
		    "\"vec_error\": ",
		    (unsigned long long)f->attachments, (unsigned long long)f->rows,
		    json_bool(f->stale));
	add_error(out, vec_err);
	vex_buf_str(out, ", \"list\": [");
	vex_buf_add(out, f->list.data, f->list.len);
	vex_buf_fmt(out, "], \"truncated\": %s}\n", json_bool(f->truncated));
	return out->err;
}

vex_err info_text(struct vex_engine *e, const struct vex_obj *o, struct vex_buf *out)
{
	struct info f = { .e = e };
	struct vex_fh fh;
	uint64_t node;
	vex_err err = obj_complete(o, &fh, &f.st);

	if (!err)
		err = node_identify(e, o, &node);
	if (!err)
		err = count_all(&f, node);
	if (!err)
		err = put_together(&f, vecerrs_get(e->vecerrs, &fh, f.st.st_ino), out);
	spaceset_free(&f.spaces);
	vex_buf_free(&f.list);
	return err;
}
