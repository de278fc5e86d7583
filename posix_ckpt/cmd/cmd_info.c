/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr -i: what a checkpoint directory holds, from the records alone; the data files are not read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "json.h"
#include "mpirun.h"
#include "step.h"
#include "text.h"

struct info {
	const char *dir;
	const char *path; /* absolute */
	const struct ckpti_image *img;
	const struct ckpti_header *hdr;
	uint64_t *gens;
	size_t ngens;
	struct ckpti_r_set set;
	struct ckpti_view set_v;
	struct ckpti_r_machine machine;
	struct ckpti_view machine_v;
};

struct proc {
	struct ckpti_r_proc p;
	uint64_t threads, fds, mem_bytes;
	const char *comm, *exe, *cwd, *args; /* in the image */
};

/* Bytes that lie in data files of earlier generations. */
static uint64_t reused_bytes(const struct ckpti_image *img)
{
	struct ckpti_r_datafile file;
	struct ckpti_e_extent e;
	struct ckpti_view v, f;
	uint64_t sum = 0;
	size_t pos = 0;

	memset(&file, 0, sizeof(file));
	while (ckpti_image_next(img, &pos, &v) == 1) {
		for (uint64_t i = 0; v.type == CKPTI_R_EXTENTS && i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			if (file.id != e.datafile &&
			    ckpti_image_find(img, CKPTI_R_DATAFILE, e.datafile, &f))
				CKPTI_FIXED(&f, &file);
			sum += file.generation ? e.len : 0;
		}
	}
	return sum;
}

/* Array length of the process' record of this type. */
static uint64_t count_of(const struct ckpti_image *img, uint32_t type, int32_t pid)
{
	struct ckpti_view v;

	return ckpti_image_find(img, type, (uint32_t)pid, &v) == 1 ? v.count : 0;
}

static uint64_t memory_of(const struct ckpti_image *img, int32_t pid)
{
	struct ckpti_r_extents head;
	struct ckpti_e_extent e;
	struct ckpti_view v;
	uint64_t sum = 0;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v) == 1) {
		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		if (head.owner_kind != CKPTI_OWN_PROC || head.owner != (uint32_t)pid)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			sum += e.len;
		}
	}
	return sum;
}

/* The next process after *pos. */
static bool next_proc(const struct info *in, size_t *pos, struct proc *ret)
{
	struct ckpti_view v;

	while (ckpti_image_next(in->img, pos, &v) == 1) {
		if (v.type != CKPTI_R_PROC)
			continue;
		CKPTI_FIXED(&v, &ret->p);
		ret->comm = ckpti_view_str(&v, 0);
		ret->exe = ckpti_view_str(&v, 1);
		ret->cwd = ckpti_view_str(&v, 2);
		ret->args = ckpti_view_str(&v, 4);
		ret->threads = count_of(in->img, CKPTI_R_THREADS, ret->p.pid);
		ret->fds = count_of(in->img, CKPTI_R_FDS, ret->p.pid);
		ret->mem_bytes = memory_of(in->img, ret->p.pid);
		return true;
	}
	return false;
}

static const char *arch_name(uint32_t machine)
{
	switch (machine) { /* e_machine of elf.h */
	case 62:
		return "x86_64";
	case 183:
		return "aarch64";
	default:
		return "other";
	}
}

static void json_info(struct ckpti_json *j, const struct info *in)
{
	struct proc p;
	size_t pos = 0;

	ckpti_json_open(j, NULL, '{');
	ckpti_json_str(j, "directory", in->path);
	ckpti_json_u64(j, "generation", in->hdr->generation);
	ckpti_json_open(j, "generations", '[');
	for (size_t i = 0; i < in->ngens; i++)
		ckpti_json_u64(j, NULL, in->gens[i]);
	ckpti_json_close(j, ']');
	ckpti_json_u64(j, "format", in->hdr->version);
	ckpti_json_i64(j, "committed_ns", in->hdr->ctime_ns);
	ckpti_json_u64(j, "uid", in->hdr->uid);
	ckpti_json_hex(j, "set", in->set.set_id);
	ckpti_json_str(j, "host", ckpti_view_str(&in->set_v, 0));
	ckpti_json_str(j, "program", ckpti_view_str(&in->set_v, 1));
	ckpti_json_str(j, "requested_type", ckpti_text_type_name(in->set.request_type));
	ckpti_json_i64(j, "requested_id", in->set.request_id);
	ckpti_json_u64(j, "root_pid", in->set.root_pid);
	ckpti_json_u64(j, "restarts", in->set.restarts);
	ckpti_json_u64(j, "memory_bytes", in->set.mem_bytes);
	ckpti_json_u64(j, "stored_bytes", in->set.stored_bytes);
	ckpti_json_u64(j, "reused_bytes", reused_bytes(in->img));
	ckpti_json_u64(j, "stop_ns", in->set.stop_ns);
	ckpti_json_open(j, "machine", '{');
	ckpti_json_str(j, "arch", arch_name(in->machine.arch));
	ckpti_json_str(j, "kernel", ckpti_view_str(&in->machine_v, 0));
	ckpti_json_str(j, "cpu", ckpti_view_str(&in->machine_v, 1));
	ckpti_json_str(j, "boot_id", ckpti_view_str(&in->machine_v, 2));
	ckpti_json_u64(j, "page_size", in->machine.page_size);
	ckpti_json_u64(j, "xsave_size", in->machine.xsave_size);
	ckpti_json_hex(j, "xcr0", in->machine.xcr0);
	ckpti_json_hex(j, "vdso", in->machine.vdso_hash);
	ckpti_json_close(j, '}');
	ckpti_json_open(j, "processes", '[');
	while (next_proc(in, &pos, &p)) {
		ckpti_json_open(j, NULL, '{');
		ckpti_json_i64(j, "pid", p.p.pid);
		ckpti_json_i64(j, "ppid", p.p.ppid);
		ckpti_json_i64(j, "pgid", p.p.pgid);
		ckpti_json_i64(j, "sid", p.p.sid);
		ckpti_json_bool(j, "zombie", p.p.state == CKPTI_PROC_ZOMBIE);
		ckpti_json_u64(j, "threads", p.threads);
		ckpti_json_u64(j, "fds", p.fds);
		ckpti_json_u64(j, "memory_bytes", p.mem_bytes);
		ckpti_json_str(j, "comm", p.comm);
		ckpti_json_str(j, "exe", p.exe);
		ckpti_json_str(j, "cwd", p.cwd);
		ckpti_json_str(j, "args", p.args);
		ckpti_json_close(j, '}');
	}
	ckpti_json_close(j, ']');
	ckpti_json_close(j, '}');
}

/* A string of the image for the terminal; static, valid until the next call. */
static const char *clean(const char *s)
{
	static char buf[4096];

	(void)snprintf(buf, sizeof(buf), "%s", s);
	return ckpti_text_clean(buf);
}

static void print_info(const struct info *in)
{
	time_t t = (time_t)(in->hdr->ctime_ns / 1000000000);
	char when[32] = "?", buf[16], more[16], pid[16];
	uint64_t reused = reused_bytes(in->img);
	struct tm tm;
	struct proc p;
	size_t pos = 0;

	if (localtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	(void)printf("%s: generation %" PRIu64 " of %s", clean(in->dir), in->hdr->generation, when);
	(void)printf(" on %s, %s\n", clean(ckpti_view_str(&in->set_v, 0)),
		     ckpti_text_bytes(in->set.mem_bytes, buf));
	if (reused)
		(void)printf("stored: %s, and %s in files of earlier generations\n",
			     ckpti_text_bytes(in->set.stored_bytes, buf),
			     ckpti_text_bytes(reused, more));
	(void)printf("generations:");
	for (size_t i = 0; i < in->ngens; i++)
		(void)printf(" %" PRIu64, in->gens[i]);
	(void)printf("\nrequest: %s %" PRId64 ", restarted %u time%s before, stood still %s\n",
		     ckpti_text_type_name(in->set.request_type), in->set.request_id,
		     in->set.restarts, in->set.restarts == 1 ? "" : "s",
		     ckpti_text_time(in->set.stop_ns, buf));
	(void)printf("machine: %s, pages of %u bytes", arch_name(in->machine.arch),
		     in->machine.page_size);
	(void)printf(", kernel %s", clean(ckpti_view_str(&in->machine_v, 0)));
	(void)printf(", %s\n", clean(ckpti_view_str(&in->machine_v, 1)));
	(void)printf("%8s %8s %7s %5s %11s  %-15s %s\n", "PID", "PPID", "THREADS", "FDS", "MEMORY",
		     "COMMAND", "ARGUMENTS");
	while (next_proc(in, &pos, &p)) {
		bool zombie = p.p.state == CKPTI_PROC_ZOMBIE;

		(void)snprintf(pid, sizeof(pid), "%d", p.p.ppid);
		(void)printf("%8d %8s %7" PRIu64 " %5" PRIu64 " %11s", p.p.pid,
			     p.p.ppid ? pid : "-", p.threads, p.fds,
			     ckpti_text_bytes(p.mem_bytes, buf));
		(void)printf("  %-15s", clean(p.comm));
		(void)printf(" %s\n", zombie ? "(ended, not waited for)" : clean(p.args));
	}
}

static int show(const struct ckpti_cmd_opts *o, struct ckpti_json *j, const char *dir,
		struct ckpti_err *err);

/* The ranks of an mpirun; for machines each is one more statefile. */
static int show_mpirun(const struct ckpti_cmd_opts *o, struct ckpti_json *j, const char *dir,
		       struct ckpti_err *err)
{
	struct ckpti_mpirun_record rec;
	struct ckpti_cmd_opts one = *o;
	int r = ckpti_mpirun_load(dir, o->generation, &rec, err);

	if (r == 0 && !o->json) {
		(void)printf("%s: generation %" PRIu64 ", %zu ranks of", dir, rec.generation,
			     rec.nranks);
		for (char **arg = rec.args; *arg; arg++)
			(void)printf(" %s", clean(*arg));
		(void)printf("\n");
	}
	for (size_t i = 0; r == 0 && i < rec.nranks; i++) {
		char *rank = ckpti_mpirun_rank_dir(dir, i);

		one.generation = rec.rank[i];
		if (!o->json)
			(void)putchar('\n');
		r = rank ? show(&one, j, rank, err) : -ENOMEM;
		free(rank);
	}
	ckpti_mpirun_record_free(&rec);
	return r;
}

static int show(const struct ckpti_cmd_opts *o, struct ckpti_json *j, const char *dir,
		struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	struct info in = {.dir = dir, .img = &img};
	int r;

	/* The tasks below it can be named themselves. */
	if (ckpti_step_is_dir(dir))
		return o->json ? ckpti_err(
					 err, -ENOTSUP,
					 "'%s' is the directory of a job step, for which there is "
					 "no --json; its tasks are in life-*/task-*",
					 dir)
			       : ckpti_step_ask("show", dir, err);
	if (ckpti_mpirun_is_dir(dir))
		return show_mpirun(o, j, dir, err);
	ckpti_image_init(&img);
	r = ckpti_store_open_read(dir, &st, err);
	if (r < 0)
		goto out;
	r = ckpti_store_load(st, o->generation, &img, err);
	if (r < 0)
		goto out;
	in.path = ckpti_store_path(st);
	in.hdr = ckpti_image_header(&img);
	in.ngens = ckpti_store_list(st, NULL, 0);
	in.gens = calloc(in.ngens + 1, sizeof(*in.gens));
	if (!in.gens) {
		r = -ENOMEM;
		goto out;
	}
	(void)ckpti_store_list(st, in.gens, in.ngens);
	if (ckpti_image_first(&img, CKPTI_R_SET, &in.set_v) != 1 ||
	    ckpti_image_first(&img, CKPTI_R_MACHINE, &in.machine_v) != 1) {
		r = ckpti_err_obj(err, -EBADMSG, 0, dir, "the image does not describe itself");
		goto out;
	}
	CKPTI_FIXED(&in.set_v, &in.set);
	CKPTI_FIXED(&in.machine_v, &in.machine);
	if (o->json)
		json_info(j, &in);
	else
		print_info(&in);
out:
	free(in.gens);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	return r;
}

int ckpti_cmd_info(const struct ckpti_cmd_opts *o)
{
	struct ckpti_json j = {.f = stdout};
	int status = CKPTI_EXIT_OK;

	if (o->json)
		ckpti_json_open(&j, NULL, '[');
	for (int i = 0; i < o->nargs; i++) {
		struct ckpti_err err = {.code = 0};
		int r;

		if (i > 0 && !o->json)
			(void)putchar('\n');
		r = show(o, &j, o->args[i], &err);
		if (r < 0) {
			/* ckpt-step has said it. */
			int one = r == -EREMOTEIO && !err.text[0] ? CKPTI_EXIT_FAILED
								  : ckpti_report_error(o, r, &err);

			status = one > status ? one : status;
		}
	}
	if (o->json) {
		ckpti_json_close(&j, ']');
		(void)ckpti_json_end(&j); /* main() notices a failed write */
	}
	return status;
}
