/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt_stat() and ckpt_remove(): what can be said and done about a statefile without cpr.  The records
 * of a generation were checked in full when they were loaded; the data files are not opened.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "image/image.h"
#include "store/store.h"

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%.*s", (int)size - 1, from);
}

/* The end of a path says more than its start. */
static void copy_path(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);

	if (len < size)
		memcpy(to, from, len + 1);
	else
		(void)snprintf(to, size, "...%s", from + len - (size - 4));
}

static uint64_t mapped_bytes(const struct ckpti_image *img, uint32_t pid)
{
	struct ckpti_view v;
	struct ckpti_e_vma e;
	uint64_t sum = 0;

	if (!ckpti_image_find(img, CKPTI_R_VMAS, pid, &v))
		return 0;
	for (uint64_t i = 0; i < v.count; i++) {
		CKPTI_ELEM(&v, i, &e);
		sum += e.end - e.start;
	}
	return sum;
}

static uint64_t stored_bytes(const struct ckpti_image *img, uint32_t pid)
{
	struct ckpti_r_extents head;
	struct ckpti_e_extent e;
	struct ckpti_view v;
	uint64_t sum = 0;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v)) {
		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		if (head.owner_kind != CKPTI_OWN_PROC || head.owner != pid)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			sum += e.len;
		}
	}
	return sum;
}

static uint32_t count_of(const struct ckpti_image *img, uint32_t type, uint32_t pid)
{
	struct ckpti_view v;

	return ckpti_image_find(img, type, pid, &v) ? (uint32_t)v.count : 0;
}

static void fill(struct ckpt_stat *s, const struct ckpti_image *img, const struct ckpti_view *set,
		 const struct ckpti_view *proc)
{
	struct ckpti_r_set rs;
	struct ckpti_r_proc rp;

	CKPTI_FIXED(set, &rs);
	CKPTI_FIXED(proc, &rp);
	s->cs_revision = ckpti_image_header(img)->version;
	s->cs_flags = rp.state == CKPTI_PROC_ZOMBIE ? CKPT_CS_ZOMBIE : 0;
	s->cs_id = rs.request_id;
	s->cs_type = (unsigned long)rs.request_type;
	s->cs_pid = rp.pid;
	s->cs_ppid = rp.ppid;
	s->cs_pgrp = rp.pgid;
	s->cs_sid = rp.sid;
	s->cs_uid = rp.uid[0];
	s->cs_gid = rp.gid[0];
	s->cs_rank = -1;
	s->cs_nodeid = -1;
	copy_text(s->cs_host, sizeof(s->cs_host), ckpti_view_str(set, 0));
	copy_text(s->cs_comm, sizeof(s->cs_comm), ckpti_view_str(proc, 0));
	copy_path(s->cs_cdir, sizeof(s->cs_cdir), ckpti_view_str(proc, 2));
	copy_text(s->cs_psargs, sizeof(s->cs_psargs), ckpti_view_str(proc, 4));
	s->cs_nfiles = count_of(img, CKPTI_R_FDS, (uint32_t)rp.pid);
	s->cs_nthreads = count_of(img, CKPTI_R_THREADS, (uint32_t)rp.pid);
	s->cs_bytes = mapped_bytes(img, (uint32_t)rp.pid);
	s->cs_stored = stored_bytes(img, (uint32_t)rp.pid);
	s->cs_ctime = ckpti_image_header(img)->ctime_ns / 1000000000;
	s->cs_generation = ckpti_image_header(img)->generation;
}

static int build(const struct ckpti_image *img, struct ckpt_stat **ret, struct ckpti_err *err)
{
	struct ckpt_stat *list = NULL;
	struct ckpt_stat **end = &list;
	struct ckpti_view set, v;
	size_t pos = 0;

	if (!ckpti_image_first(img, CKPTI_R_SET, &set))
		return ckpti_err(err, -EBADMSG, "the image does not say what it is of");
	while (ckpti_image_next(img, &pos, &v)) {
		if (v.type != CKPTI_R_PROC)
			continue;
		*end = calloc(1, sizeof(**end));
		if (!*end) {
			ckpt_stat_free(list);
			return ckpti_err(err, -ENOMEM, "no memory for the list of processes");
		}
		fill(*end, img, &set, &v);
		end = &(*end)->cs_next;
	}
	*ret = list;
	return 0;
}

static int read_list(const char *path, struct ckpt_stat **ret, struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	int r;

	ckpti_image_init(&img);
	r = ckpti_store_open_read(path, &st, err);
	if (r == 0)
		r = ckpti_store_load(st, 0, &img, err);
	if (r == 0)
		r = build(&img, ret, err);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	return r;
}

int ckpt_stat(const char *path, struct ckpt_stat **sp)
{
	struct ckpti_err err = {0};
	int r;

	if (!sp) {
		r = ckpti_err(&err, -EINVAL, "ckpt_stat() was given no place for its answer");
		return ckpti_api_fail(CKPT_AT_CALL, r, &err);
	}
	*sp = NULL;
	if (!path) {
		r = ckpti_err(&err, -EINVAL, "no directory was given");
		return ckpti_api_fail(CKPT_AT_CALL, r, &err);
	}
	r = read_list(path, sp, &err);
	return r < 0 ? ckpti_api_fail(CKPT_AT_WORK, r, &err) : 0;
}

void ckpt_stat_free(struct ckpt_stat *sp)
{
	int saved = errno;

	while (sp) {
		struct ckpt_stat *next = sp->cs_next;

		free(sp);
		sp = next;
	}
	errno = saved;
}

int ckpt_remove(const char *path)
{
	struct ckpti_err err = {0};
	int r;

	if (!path) {
		r = ckpti_err(&err, -EINVAL, "no directory was given");
		return ckpti_api_fail(CKPT_AT_CALL, r, &err);
	}
	r = ckpti_store_remove(path, &err);
	return r < 0 ? ckpti_api_fail(CKPT_AT_WORK, r, &err) : 0;
}
