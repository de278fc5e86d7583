/* SPDX-License-Identifier: BSD-3-Clause */
/* One process: what /proc tells and what its agent wrote into the mailbox become records. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/capture.h"

static int add(struct ckpti_snap *s, uint32_t type, const void *fixed, size_t size,
	       const void *array, size_t elem, size_t count, struct ckpti_err *err)
{
	int r = ckpti_image_add(&s->img, type, fixed, size, NULL, 0, array, elem, count);

	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

static int proc_number(int pid, const char *name, int base)
{
	char *text = ckpti_procfs_slurp(pid, name, NULL);
	int v = text ? (int)strtol(text, NULL, base) : 0;

	free(text);
	return v;
}

/* The command line as one string for people. */
static char *command_line(int pid)
{
	size_t len = 0;
	char *text = ckpti_procfs_slurp(pid, "cmdline", &len);

	while (text && len && !text[len - 1])
		len--;
	for (size_t i = 0; text && i < len; i++)
		if (!text[i])
			text[i] = ' ';
	return text;
}

static uint32_t exe_pin(const struct ckpti_snap *s, int pid)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (stat(path, &st) < 0)
		return 0;
	for (size_t i = 0; i < s->npin; i++)
		if (s->pin[i].ino == st.st_ino && s->pin[i].st.st_dev == st.st_dev)
			return s->pin[i].id;
	return 0;
}

static int add_proc(struct ckpti_snap *s, struct ckpti_member *m, const struct ckpti_state *st,
		    struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &m->info;
	struct ckpti_member *parent = ckpti_set_find(s->set, p->ppid);
	char exe[PATH_MAX] = "", cwd[PATH_MAX] = "", root[PATH_MAX] = "";
	char *args = command_line(p->pid);
	struct ckpti_r_proc rec = {
		.pid = p->inner_pid,
		.ppid = parent ? parent->info.inner_pid : 0,
		.pgid = p->inner_pgid,
		.sid = p->inner_sid,
		.state = m->state == CKPTI_MEMBER_ZOMBIE ? CKPTI_PROC_ZOMBIE : CKPTI_PROC_LIVE,
		.wstatus = p->wstatus,
		.exit_signal = p->exit_signal,
		.umask = p->umask,
		.cap_inh = p->cap_inh,
		.cap_prm = p->cap_prm,
		.cap_eff = p->cap_eff,
		.cap_bnd = p->cap_bnd,
		.cap_amb = p->cap_amb,
		.no_new_privs = (uint32_t)p->no_new_privs,
		.tty_fg = p->tty && p->tpgid == p->pgid,
	};
	const char *strs[5];
	int r;

	rec.host_pid = p->pid;
	rec.start_time = p->start_time;
	rec.tty = ckpti_pty_control(&s->cap, (dev_t)p->tty, p->sid);
	memcpy(rec.uid, p->uid, sizeof(rec.uid));
	memcpy(rec.gid, p->gid, sizeof(rec.gid));
	if (st) {
		if (ckpti_procfs_link(p->pid, "exe", exe) < 0 ||
		    ckpti_procfs_link(p->pid, "cwd", cwd) < 0 ||
		    ckpti_procfs_link(p->pid, "root", root) < 0) {
			free(args);
			return ckpti_err_obj(err, -EPERM, p->pid, p->comm,
					     "its /proc entries may not be read");
		}
		rec.oom_score_adj = proc_number(p->pid, "oom_score_adj", 10);
		rec.personality = (uint32_t)proc_number(p->pid, "personality", 16);
		rec.dumpable = st->dumpable;
		rec.subreaper = st->subreaper;
		rec.pdeathsig = st->pdeathsig;
		rec.thp_disable = st->thp_disable;
		rec.agent_block = m->block;
		rec.agent_resume = m->resume;
		rec.leader_tid = st->leader_tid;
		rec.restarts = st->restarts;
		rec.exe_mapfile = exe_pin(s, p->pid);
	}
	strs[0] = p->comm;
	strs[1] = exe;
	strs[2] = cwd;
	strs[3] = root;
	strs[4] = args ? args : "";
	r = ckpti_image_add(&s->img, CKPTI_R_PROC, &rec, sizeof(rec), strs, 5, NULL, 0, 0);
	free(args);
	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

static int add_limits(struct ckpti_snap *s, const struct ckpti_procinfo *p, struct ckpti_err *err)
{
	struct ckpti_pid_head head = {.pid = p->inner_pid};
	struct ckpti_e_rlimit lim[RLIM_NLIMITS];
	int r;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit v;

		if (prlimit(p->pid, (enum __rlimit_resource)i, NULL, &v) < 0)
			return ckpti_err_obj(err, -errno, p->pid, p->comm,
					     "its resource limits may not be read: %s",
					     strerror(errno));
		lim[i].cur = v.rlim_cur;
		lim[i].max = v.rlim_max;
	}
	r = add(s, CKPTI_R_RLIMITS, &head, sizeof(head), lim, sizeof(*lim), RLIM_NLIMITS, err);
	if (r == 0 && p->ngroups)
		r = add(s, CKPTI_R_GROUPS, &head, sizeof(head), p->groups, sizeof(*p->groups),
			p->ngroups, err);
	return r;
}

static int add_mm(struct ckpti_snap *s, const struct ckpti_member *m, const struct ckpti_state *st,
		  struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &m->info;
	struct ckpti_r_mm mm = {
		.pid = p->inner_pid,
		.start_code = p->start_code,
		.end_code = p->end_code,
		.start_data = p->start_data,
		.end_data = p->end_data,
		.start_brk = p->start_brk,
		.brk = st->brk,
		.start_stack = p->start_stack,
		.arg_start = p->arg_start,
		.arg_end = p->arg_end,
		.env_start = p->env_start,
		.env_end = p->env_end,
		.def_flags = m->def_flags,
	};

	return add(s, CKPTI_R_MM, &mm, sizeof(mm), (const uint8_t *)m->mailbox + st->auxv, 8,
		   st->nauxv, err);
}

/* Pending signals, one record for the process and one for each thread that has any. */
static int add_pending(struct ckpti_snap *s, const struct ckpti_procinfo *p,
		       const struct ckpti_state *st, const uint8_t *box, struct ckpti_err *err)
{
	const struct ckpti_state_pending *q = (const void *)(box + st->pending);
	struct ckpti_e_siginfo *info = calloc(st->npending ? st->npending : 1, sizeof(*info));
	int r = info ? 0 : ckpti_err(err, -ENOMEM, "out of memory");

	for (uint64_t i = 0; r == 0 && i < st->npending; i++) {
		struct ckpti_pid_head head = {.pid = p->inner_pid, .tid = q[i].tid};
		uint64_t before, n = 0;

		for (before = 0; before < i && q[before].tid != q[i].tid; before++)
			;
		if (q[i].tid < 0 || before < i)
			continue;
		for (uint64_t k = i; k < st->npending; k++)
			if (q[k].tid == q[i].tid)
				memcpy(info[n++].raw, q[k].info, sizeof(info->raw));
		r = add(s, CKPTI_R_PENDING, &head, sizeof(head), info, sizeof(*info), n, err);
	}
	free(info);
	return r;
}

static bool state_sane(const struct ckpti_state *st)
{
	const struct {
		uint64_t off, n, size;
	} part[] = {
		{st->threads, st->nthreads, sizeof(struct ckpti_e_thread)},
		{st->sigactions, CKPTI_STATE_SIGNALS, sizeof(struct ckpti_e_sigaction)},
		{st->pending, st->npending, sizeof(struct ckpti_state_pending)},
		{st->itimers, 3, sizeof(struct ckpti_e_itimer)},
		{st->timers, st->ntimers, sizeof(struct ckpti_e_timer)},
		{st->foreign_maps, st->nforeign_maps, sizeof(struct ckpti_e_range)},
		{st->exclude, st->nexclude, sizeof(struct ckpti_e_range)},
		{st->auxv, st->nauxv, sizeof(uint64_t)},
	};

	for (size_t i = 0; i < sizeof(part) / sizeof(*part); i++)
		if (!ckpti_in_mailbox(part[i].off, part[i].n, part[i].size))
			return false;
	return st->nthreads > 0;
}

int ckpti_snap_state(const struct ckpti_member *m, struct ckpti_state *ret, struct ckpti_err *err)
{
	*ret = *(const struct ckpti_state *)(const void *)m->mailbox;
	return state_sane(ret) ? 0
			       : ckpti_err_obj(err, -EPROTO, m->info.pid, m->info.comm,
					       "its libckpt sent nonsense");
}

int ckpti_snap_process(struct ckpti_snap *s, struct ckpti_member *m, const struct ckpti_state *st,
		       struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &m->info;
	struct ckpti_pid_head head = {.pid = p->inner_pid};
	const uint8_t *box = m->mailbox;
	int r;

	if (!st)
		return add_proc(s, m, NULL, err);
	if (!st->dumpable && getuid() != 0)
		return ckpti_err_obj(err, -EPERM, p->pid, p->comm,
				     "asked not to be dumped (PR_SET_DUMPABLE): respected");
	r = ckpti_surroundings_check(s->set, m, err);
	if (r < 0)
		return r;
	s->nthreads += (uint32_t)st->nthreads;
	s->eintr_hidden += st->eintr_hidden;
	s->eintr_lost += st->eintr_lost;
	if (st->restarts > s->restarts)
		s->restarts = st->restarts;
	r = add_proc(s, m, st, err);
	if (r == 0)
		r = add_limits(s, p, err);
	if (r == 0)
		r = add_mm(s, m, st, err);
	if (r == 0)
		r = add(s, CKPTI_R_THREADS, &head, sizeof(head), box + st->threads,
			sizeof(struct ckpti_e_thread), st->nthreads, err);
	if (r == 0)
		r = add(s, CKPTI_R_SIGACTIONS, &head, sizeof(head), box + st->sigactions,
			sizeof(struct ckpti_e_sigaction), CKPTI_STATE_SIGNALS, err);
	if (r == 0)
		r = add(s, CKPTI_R_ITIMERS, &head, sizeof(head), box + st->itimers,
			sizeof(struct ckpti_e_itimer), 3, err);
	if (r == 0)
		r = add(s, CKPTI_R_TIMERS, &head, sizeof(head), box + st->timers,
			sizeof(struct ckpti_e_timer), st->ntimers, err);
	if (r == 0)
		r = add_pending(s, p, st, box, err);
	return r;
}
