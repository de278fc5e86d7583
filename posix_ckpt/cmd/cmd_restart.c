/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr -r: restart, say so, wait, and end as the root process of the tree has ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attr.h"
#include "cmd.h"
#include "mpirun.h"
#include "step.h"

struct announce {
	const struct ckpti_cmd_opts *o;
	const char *dir;
	struct ckpti_r_set set; /* zeros when it could not be read beforehand */
};

/* What the image says about itself, for the attribute file and the messages.  Failures are left to
 * the restart proper, which reports them. */
static void peek(const char *dir, uint64_t generation, struct ckpti_r_set *ret)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	struct ckpti_view v;

	ckpti_image_init(&img);
	if (ckpti_store_open_read(dir, &st, NULL) == 0 &&
	    ckpti_store_load(st, generation, &img, NULL) == 0 &&
	    ckpti_image_first(&img, CKPTI_R_SET, &v) == 1)
		CKPTI_FIXED(&v, ret);
	ckpti_image_free(&img);
	ckpti_store_close(st);
}

static void started(void *arg, int root_pid, uint64_t generation)
{
	const struct announce *a = arg;
	struct ckpti_result r = {.generation = generation, .root_pid = root_pid};
	bool same = a->set.generation == generation;
	char size[40] = "";

	if (same) {
		r.nprocs = a->set.nprocs;
		r.nthreads = a->set.nthreads;
		r.mem_bytes = a->set.mem_bytes;
		r.stored_bytes = a->set.stored_bytes;
	}
	ckpti_report_result(a->o, &r);
	if (a->o->ready_fd >= 0) {
		(void)!write(a->o->ready_fd, "", 1);
		(void)close(a->o->ready_fd);
	}
	if (a->o->quiet || a->o->result_fd != CKPTI_RESULT_NONE)
		return;
	if (same)
		(void)snprintf(size, sizeof(size), " (%u process%s)", r.nprocs,
			       r.nprocs == 1 ? "" : "es");
	/* In one piece: the program may write to the same place by now. */
	(void)fprintf(stderr, "cpr: restarted %s generation %" PRIu64 ": root pid %d%s\n", a->dir,
		      generation, root_pid, size);
}

static void note(void *arg, const char *text)
{
	const struct announce *a = arg;

	if (!a->o->quiet && a->o->result_fd == CKPTI_RESULT_NONE)
		(void)fprintf(stderr, "cpr: note: %s\n", text);
}

/* The caller of cpr sees what the parent of the program would have seen. */
static int end_like(int wstatus)
{
	struct rlimit none = {0, 0};
	sigset_t set;
	int sig;

	if (!WIFSIGNALED(wstatus))
		return WEXITSTATUS(wstatus);
	sig = WTERMSIG(wstatus);
	(void)setrlimit(RLIMIT_CORE, &none); /* the program has dumped its own, if anybody */
	(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, sig);
	(void)fflush(NULL);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)raise(sig);
	return 128 + sig; /* a signal that does not end us: as a shell puts it */
}

/* What the attribute file says and the command line does not. */
static int apply_attr(const struct ckpti_cmd_opts *o, const struct ckpti_r_set *set,
		      struct ckpti_restart_req *req, struct ckpti_err *err)
{
	struct ckpti_target target = {.type = (unsigned long)set->request_type,
				      .id = set->request_id};
	struct ckpti_attr_choice c = {.nrules = 0};
	struct ckpti_attr attr;
	int r;

	r = ckpti_attr_load(&attr, err);
	if (r < 0)
		return r;
	r = ckpti_attr_select(&attr, &target, 1, &c);
	if (r == 0) {
		if (!o->ids_given && c.action[CKPTI_ATTR_FORK] == CKPTI_ATTR_ANY)
			req->ids = CKPTI_IDS_NEW;
		req->ignore_cdir = c.action[CKPTI_ATTR_CDIR] == CKPTI_ATTR_IGNORE;
		req->ignore_rdir = c.action[CKPTI_ATTR_RDIR] == CKPTI_ATTR_IGNORE;
	}
	free(c.rules);
	ckpti_attr_free(&attr);
	return r;
}

/* All tasks of a job step at once: only Slurm can start them. */
static int restart_step(const struct ckpti_cmd_opts *o)
{
	struct ckpti_err err = {.code = 0};
	int r;

	if (!o->check)
		r = ckpti_err(
			&err, -ENOTSUP,
			"'%s' is the directory of a job step: srun --restart-dir=%s restarts it",
			o->args[0], o->args[0]);
	else
		r = ckpti_step_ask("check", o->args[0], &err);
	if (r == -EREMOTEIO)
		return CKPTI_EXIT_REFUSED;
	return r < 0 ? ckpti_report_error(o, r, &err) : CKPTI_EXIT_OK;
}

int ckpti_cmd_restart(const struct ckpti_cmd_opts *o)
{
	struct announce a = {.o = o, .dir = o->args[0]};
	struct ckpti_restart_req req = {.dir = a.dir,
					.generation = o->generation,
					.ids = o->ids,
					.check = o->check,
					.clone = o->clone,
					.fenced = o->fenced,
					.job = o->job,
					.lazy = o->lazy,
					.quiet = o->quiet || o->result_fd != CKPTI_RESULT_NONE,
					.reloc = o->reloc,
					.nreloc = o->nreloc,
					.launch = o->launch,
					.settled = o->settled,
					.after = o->after,
					.nafter = o->nafter,
					.progress = ckpti_report_progress(o),
					.started = started,
					.started_arg = &a,
					.note = note};
	struct ckpti_err err = {.code = 0};
	int wstatus = 0, status, r;

	if (ckpti_step_is_dir(o->args[0]))
		return restart_step(o);
	if (ckpti_mpirun_is_dir(o->args[0]))
		return ckpti_mpirun_restart(o);
	peek(a.dir, o->generation, &a.set);
	r = apply_attr(o, &a.set, &req, &err);
	if (r == 0)
		r = ckpti_restart(&req, &wstatus, &err);
	if (r < 0) {
		status = ckpti_report_error(o, r, &err);
		/* Whatever stands in the way, the answer to the question is no. */
		return o->check && status == CKPTI_EXIT_FAILED ? CKPTI_EXIT_REFUSED : status;
	}
	if (o->check) {
		if (!o->quiet)
			(void)printf("cpr: %s can be restarted here\n", a.dir);
		return CKPTI_EXIT_OK;
	}
	return end_like(wstatus);
}
