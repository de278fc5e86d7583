/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the command line to a step that can start: settings, what Slurm knows of the job, the directory,
 * an epoch of our own, the generation to restart from, and a port.  Everything that can be refused is
 * refused before the epoch is taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"

#define REFUSED 1

#define ASK_S        45 /* two questions to Slurm, as long as it may take to answer them */
#define ASK_AGAIN_MS 90000
#define ASK_PAUSE_MS 2000

/* ---- settings ----------------------------------------------------------------------------- */

static int load_config(struct ckpti_coord *c, struct ckpti_err *err)
{
	const char *site = c->args.config ? c->args.config : ckpti_config_site_path;
	char user[PATH_MAX];
	int r = ckpti_config_user_path(user, sizeof(user), err);

	if (r < 0)
		return r;
	c->args.config = site;
	r = ckpti_config_load(site, user, &c->config, err);
	if (r == 0 && c->config.disabled)
		r = ckpti_err(err, -ECANCELED, "checkpoints are switched off by the site");
	return r;
}

/* What the user asked for and may not have is an error of his, told before anything starts. */
static int take_options(struct ckpti_coord *c, struct ckpti_err *err)
{
	const struct ckpti_coord_args *a = &c->args;
	char number[32];
	int r = 0;

	c->interval = a->interval_given ? a->interval : c->config.interval;
	if (a->keep) {
		(void)snprintf(number, sizeof(number), "%u", a->keep);
		r = ckpti_config_set_job(&c->config, "--checkpoint-keep", "keep", number, err);
	}
	if (r == 0 && a->interval_given && a->interval < CKPTI_CONFIG_AUTO)
		r = ckpti_config_check_job(&c->config, a->interval, 0, NULL, err);
	c->keep = c->config.keep;
	c->config.skip_done = c->config.skip_done || a->skip_done;
	return r < 0 ? REFUSED : 0;
}

/* Other groups than the first one: tasks are in the same ones as we are. */
static bool has_groups(void)
{
	int n = getgroups(0, NULL);
	gid_t *group = n > 0 ? calloc((size_t)n, sizeof(*group)) : NULL;
	bool others = false;

	if (group)
		n = getgroups(n, group);
	for (int i = 0; group && i < n; i++)
		others = others || group[i] != getegid();
	free(group);
	return others;
}

/* In the user namespace that old process numbers need, groups have no names. */
static int check_groups(struct ckpti_coord *c, struct ckpti_err *err)
{
	if (c->config.restart_pids != CKPTI_PIDS_USERNS ||
	    c->config.restart_groups == CKPTI_GROUPS_ALLOW || !has_groups())
		return 0;
	if (c->config.restart_groups == CKPTI_GROUPS_NEW_PIDS) {
		c->config.restart_pids = CKPTI_PIDS_OFF;
		return 0;
	}
	/* There is no use in a checkpoint that must not be restarted. */
	return ckpti_err(err, -ECANCELED,
			 "the site refuses to restart tasks in supplementary groups "
			 "(restart_groups)");
}

/* ---- what Slurm knows --------------------------------------------------------------------- */

static int ask_slurm(struct ckpti_coord *c, struct ckpti_err *err)
{
	const char *cluster = getenv("SLURM_CLUSTER_NAME");
	char job[16], *dot;
	int r = 0;

	(void)snprintf(job, sizeof(job), "%" PRIu32, c->args.job);
	r = ckpti_slurm_job(job, &c->job, err);
	if (r < 0)
		return r;
	if (c->job.het_job) {
		(void)ckpti_err(err, -ENOTSUP, "heterogeneous jobs cannot be checkpointed");
		return REFUSED;
	}
	if (!cluster || !*cluster || c->config.ports.high == 0)
		r = ckpti_slurm_conf(&c->slurm, err);
	if (r < 0)
		return r;
	if (cluster && *cluster)
		(void)snprintf(c->slurm.cluster, sizeof(c->slurm.cluster), "%s", cluster);
	/* The variable may be that of another job, whose script has submitted this one. */
	c->lives = c->job.restarts;
	if (gethostname(c->host, sizeof(c->host) - 1) < 0)
		return ckpti_err(err, -errno, "cannot tell the name of this host");
	/* As Slurm names hosts. */
	dot = strchr(c->host, '.');
	if (dot)
		*dot = '\0';
	return 0;
}

static bool may_restart(const struct ckpti_coord *c)
{
	return c->lives > 0 && !c->args.fresh;
}

/* When many jobs are put back at once Slurm is busy, or has just been started itself. */
static int ask_slurm_patiently(struct ckpti_coord *c, struct ckpti_err *err)
{
	int64_t end = ckpti_now_ms() + ASK_AGAIN_MS;
	struct pollfd pfd = {.fd = c->args.life_fd, .events = POLLIN};
	int r;

	ckpti_report_status(c, "wait %d", ASK_S);
	while ((r = ask_slurm(c, err)) < 0 && r != -ENOENT && may_restart(c) &&
	       ckpti_now_ms() < end) {
		*err = (struct ckpti_err){.code = 0};
		ckpti_report_status(c, "wait %d Slurm does not answer, asking again", ASK_S);
		if (poll(&pfd, 1, ASK_PAUSE_MS) > 0)
			return ckpti_err(err, -ECANCELED, "srun has ended");
	}
	return r;
}

/* ---- where -------------------------------------------------------------------------------- */

static int find_base(struct ckpti_coord *c, struct ckpti_err *err)
{
	const char *pattern = c->args.dir ? c->args.dir : c->config.directory;
	char path[PATH_MAX];
	int r;

	r = ckpti_dir_expand(pattern, c->args.job, c->args.step_text, c->job.user, c->slurm.cluster,
			     path, sizeof(path));
	if (r == 0 &&
	    snprintf(c->base, sizeof(c->base), "%s%s%s", path[0] == '/' ? "" : c->args.cwd,
		     path[0] == '/' ? "" : "/", path) >= (int)sizeof(c->base))
		r = -ENAMETOOLONG;
	if (r < 0)
		(void)ckpti_err(err, r, "the checkpoint directory '%s' cannot be used: %s", pattern,
				r == -EINVAL ? "only %j, %s, %u, %n and %% have a meaning"
					     : strerrordesc_np(-r));
	else
		r = ckpti_config_check_job(&c->config, 0, 0, c->base, err);
	/* A directory that the user named, or one that the site's own settings do not allow. */
	return r == 0 ? 0 : c->args.dir ? REFUSED : r;
}

/* ---- going public ------------------------------------------------------------------------- */

static int go_public(struct ckpti_coord *c, struct ckpti_err *err)
{
	unsigned low = c->config.ports.high ? c->config.ports.low : c->slurm.port_low;
	unsigned high = c->config.ports.high ? c->config.ports.high : c->slurm.port_high;
	struct ckpti_kv kv;
	int r;

	c->listen_fd = ckpti_wire_listen(low, high, &c->port, err);
	if (c->listen_fd < 0)
		return c->listen_fd;
	c->conns_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->conns_fd < 0)
		return ckpti_err(err, -errno, "cannot wait for connections: %s", strerror(errno));
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "host", c->host);
	ckpti_kv_set_u64(&kv, "port", c->port);
	ckpti_kv_setf(&kv, "pid", "%d", (int)getpid());
	ckpti_kv_set(&kv, "dir", c->step.path);
	ckpti_kv_set_u64(&kv, "epoch", c->epoch);
	ckpti_kv_setf(&kv, "set", "%016" PRIx64, c->step.id.set_base);
	ckpti_kv_set_u64(&kv, "lives", c->lives);
	r = ckpti_registry_write(c->slurm.cluster, c->args.job, c->args.step_text, &kv, err);
	ckpti_kv_free(&kv);
	return r;
}

static void tell_plugin(const struct ckpti_coord *c)
{
	int64_t wait_ms = c->tasks_ms - ckpti_now_ms();

	ckpti_report_env(c, "SLURM_CKPT_PORT", "%u", c->port);
	ckpti_report_env(c, "SLURM_CKPT_EPOCH", "%" PRIu32, c->epoch);
	ckpti_report_env(c, "SLURM_CKPT_STEPDIR", "%s", c->step.path);
	ckpti_report_env(c, "SLURM_CKPT_SET", "%016" PRIx64, c->step.id.set_base);
	if (c->restored)
		ckpti_report_env(c, "SLURM_CKPT_RESTORE", "%s/gen-%" PRIu64, c->step.path,
				 c->restored);
	ckpti_report_env(c, "SLURM_CKPT_PIDS", "%s",
			 c->config.restart_pids == CKPTI_PIDS_OFF ? "off" : "userns");
	ckpti_report_env(c, "SLURM_CKPT_FENCE", "%" PRIu64, c->config.fence);
	ckpti_report_env(c, "SLURM_CKPT_CONFIG", "%s", c->args.config);
	if (wait_ms > 0)
		ckpti_report_env(c, "SLURM_CKPT_WAIT", "%lld", (long long)wait_ms);
	ckpti_report_status(c, "ready");
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int prepare(struct ckpti_coord *c, bool *ret_restore, struct ckpti_err *err)
{
	int r = load_config(c, err);

	if (r == 0 && c->args.ntasks > CKPTI_STEP_MAX_TASKS)
		r = ckpti_err(err, -ECANCELED,
			      "a step of more than %u tasks cannot be checkpointed",
			      CKPTI_STEP_MAX_TASKS);
	if (r == 0)
		r = take_options(c, err);
	if (r == 0)
		r = check_groups(c, err);
	if (r == 0)
		r = ask_slurm_patiently(c, err);
	if (r == 0)
		r = find_base(c, err);
	if (r == 0)
		r = ckpti_restore_find(c, ret_restore, err);
	if (r != 0)
		return r;
	c->rank = calloc(c->args.ntasks, sizeof(*c->rank));
	return c->rank ? 0 : ckpti_err(err, -ENOMEM, "no memory for %u tasks", c->args.ntasks);
}

static int take_over(struct ckpti_coord *c, bool restore, struct ckpti_err *err)
{
	uint64_t newest = 0;
	size_t n;
	int r;

	r = ckpti_fence_wait(c, err);
	if (r < 0)
		return r;
	/* Only now: until then the life before may have committed another one. */
	n = ckpti_step_list(&c->step, NULL, 0);
	if (n > 0) {
		uint64_t *gen = calloc(n, sizeof(*gen));

		if (!gen)
			return ckpti_err(err, -ENOMEM, "no memory for %zu generations", n);
		n = ckpti_step_list(&c->step, gen, n);
		newest = gen[n - 1];
		free(gen);
	}
	c->next_gen = newest + 1;
	ckpti_requests_load(c);
	/* The files that the tasks are about to write anew are not those that belong to them any more. */
	if (!restore && n > 0 && ckpti_step_forget(&c->step, err) < 0)
		return REFUSED;
	r = restore ? ckpti_restore_choose(c, err) : 0;
	if (r == 0)
		r = go_public(c, err);
	if (r == 0)
		r = ckpti_watch_start(c, err);
	return r;
}

int ckpti_start(struct ckpti_coord *c, struct ckpti_err *err)
{
	const char *restarts = getenv("SLURM_RESTART_COUNT");
	bool restore = false;
	int r;

	/* Until Slurm has been asked. */
	c->lives = restarts ? (unsigned)strtoul(restarts, NULL, 10) : 0;
	r = prepare(c, &restore, err);
	/* Who asks for a restart does not want to begin anew. */
	if (r < 0 && c->args.restart_dir && !c->args.fresh)
		return REFUSED;
	/* Nor does a job that was put back; but -ECANCELED: there are not to be any checkpoints. */
	if (r < 0 && r != -ECANCELED && may_restart(c))
		return REFUSED;
	if (r != 0)
		return r;
	if (restore && ckpti_restore_by_hand(c) && ckpti_fence_check_idle(c, err) < 0)
		return REFUSED;
	r = ckpti_step_take_epoch(&c->step, &c->epoch, err);
	/* Another life of this step runs: starting anew beside it would be worse than not starting. */
	if (r == -EEXIST)
		return REFUSED;
	if (r < 0)
		return restore ? REFUSED : r;
	r = take_over(c, restore, err);
	if (r != 0) {
		/* No task of this life will ever run with us. */
		ckpti_fence_over(c, false);
		/* From nothing, and without checkpoints, is not what a restart is. */
		return restore && r != -ECANCELED ? REFUSED : r;
	}
	tell_plugin(c);
	ckpti_report_log(c, "event=start epoch=%" PRIu32 " restored=%" PRIu64 " dir=%s", c->epoch,
			 c->restored, c->step.path);
	return 0;
}
