/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does this step restart, and from what?
 *
 * By itself only in a later life of the same job and when the directory says that it is this step's; by
 * --restart-dir whatever the user says, as long as it fits.  What is found and not used is named in one
 * line.  Restarts that never come as far as a new generation are counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"
#include "spank/lib/fs.h"
#include "spank/lib/interval.h"

#define REFUSED 1

#define VERDICT_MS 3000 /* less than the end waits for it */

/* ---- who we are --------------------------------------------------------------------------- */

/* argv as one text, for people and for the key: malloc()ed. */
static char *join(char *const *argv)
{
	size_t size = 1, len = 0;
	char *text;

	for (size_t i = 0; argv[i]; i++)
		size += strlen(argv[i]) + 1;
	text = malloc(size);
	if (!text)
		return NULL;
	text[0] = '\0';
	for (size_t i = 0; argv[i]; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "", argv[i]);
	return text;
}

static bool is_token(const char *text)
{
	return text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

/* The name that tells steps of one job apart: --job-name of the step, else what it runs. */
static int identify(const struct ckpti_coord *c, struct ckpti_step_id *id, struct ckpti_err *err)
{
	const char *name = c->args.name ? c->args.name : "",
		   *token = getenv("SLURM_JOB_CKPT_TOKEN");
	char *command = join(c->args.command);
	unsigned occurrence = 0;
	int r;

	if (!command)
		return ckpti_err(err, -ENOMEM, "no memory for the command");
	if (!*name)
		name = command;
	*id = (struct ckpti_step_id){
		.uid = geteuid(),
		.job = c->args.job,
		.step = c->args.step,
		.submit_time = c->job.submit_time,
		.restarts = c->lives,
		.ntasks = c->args.ntasks,
	};
	(void)snprintf(id->cluster, sizeof(id->cluster), "%s", c->slurm.cluster);
	(void)snprintf(id->token, sizeof(id->token), "%s", is_token(token) ? token : "");
	(void)snprintf(id->name, sizeof(id->name), "%.127s", name);
	/* Room for the ranks below it. */
	(void)getrandom(&id->set_base, sizeof(id->set_base), 0);
	id->set_base &= ~0xffffffffULL;
	r = ckpti_step_occurrence(c->base, id, c->lives, name, c->args.cwd,
				  c->args.stdio ? c->args.stdio : "", &occurrence, err);
	if (r == 0)
		ckpti_step_key(name, c->args.cwd, c->args.ntasks, occurrence, id->key);
	free(command);
	return r;
}

/* A job that was submitted with --restart-dir comes back by itself like any other. */
bool ckpti_restore_by_hand(const struct ckpti_coord *c)
{
	return c->args.restart_dir && c->lives == 0;
}

/* ---- --restart-dir ------------------------------------------------------------------------ */

static int fits(const struct ckpti_coord *c, const struct ckpti_step *st, struct ckpti_err *err)
{
	if (st->id.ntasks == c->args.ntasks)
		return 0;
	return ckpti_err(err, -EINVAL,
			 "'%s' is of a step with %" PRIu32 " tasks, this one has %" PRIu32,
			 st->path, st->id.ntasks, c->args.ntasks);
}

/* The one step in a directory of steps that has our key. */
static int find_in_job(struct ckpti_coord *c, const char *dir, const struct ckpti_step_id *id,
		       struct ckpti_err *err)
{
	char path[PATH_MAX + NAME_MAX + 2], **names = NULL;
	struct ckpti_step st;
	size_t n = 0;
	int fd = ckpti_fs_open_path(dir, false), r;

	if (fd < 0)
		return ckpti_err(err, fd, "cannot open --restart-dir '%s': %s", dir,
				 strerrordesc_np(-fd));
	r = ckpti_fs_names(fd, &names, &n);
	(void)close(fd);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (names[i][0] < '0' || names[i][0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (ckpti_step_open(path, &st, NULL) < 0)
			continue;
		if (strcmp(st.id.key, id->key) != 0 || c->step.dirfd >= 0) {
			if (strcmp(st.id.key, id->key) == 0)
				r = ckpti_err(err, -ENOTUNIQ,
					      "--restart-dir '%s' holds more than one such step: "
					      "name one of '%s' and '%s'",
					      dir, c->step.path, st.path);
			ckpti_step_close(&st);
			continue;
		}
		c->step = st;
	}
	ckpti_fs_free_names(names, n);
	if (r == 0 && c->step.dirfd < 0)
		r = ckpti_err(err, -ENOENT,
			      "--restart-dir '%s' holds no checkpoint of this step (%s)", dir,
			      id->name);
	return r;
}

static int find_explicit(struct ckpti_coord *c, const struct ckpti_step_id *id,
			 struct ckpti_err *err)
{
	char expanded[PATH_MAX], path[PATH_MAX], file[PATH_MAX + 8];
	int r;

	r = ckpti_dir_expand(c->args.restart_dir, c->args.job, c->args.step_text, c->job.user,
			     c->slurm.cluster, expanded, sizeof(expanded));
	if (r < 0)
		return ckpti_err(err, r, "--restart-dir '%s' cannot be used: %s",
				 c->args.restart_dir, strerrordesc_np(-r));
	if (snprintf(path, sizeof(path), "%s%s%s", expanded[0] == '/' ? "" : c->args.cwd,
		     expanded[0] == '/' ? "" : "/", expanded) >= (int)sizeof(path))
		return ckpti_err(err, -ENAMETOOLONG, "--restart-dir '%s' is too long",
				 c->args.restart_dir);
	(void)snprintf(file, sizeof(file), "%s/step", path);
	r = access(file, F_OK) == 0 ? ckpti_step_open(path, &c->step, err)
				    : find_in_job(c, path, id, err);
	return r == 0 ? fits(c, &c->step, err) : r;
}

/* ---- by itself ---------------------------------------------------------------------------- */

/* Something of a job with our number is there, and it is not ours: say what. */
static void name_similar(const struct ckpti_coord *c, const struct ckpti_step_id *id)
{
	char path[PATH_MAX + NAME_MAX + 2], prefix[16], **names = NULL;
	struct ckpti_step st;
	bool found = false;
	size_t n = 0;
	int fd = ckpti_fs_open_path(c->base, false);

	(void)snprintf(prefix, sizeof(prefix), "%" PRIu32 ".", id->job);
	if (fd >= 0 && ckpti_fs_names(fd, &names, &n) < 0)
		n = 0;
	for (size_t i = 0; !found && i < n; i++) {
		if (strncmp(names[i], prefix, strlen(prefix)) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", c->base, names[i]);
		if (ckpti_step_open(path, &st, NULL) < 0)
			continue;
		found = true;
		ckpti_report_say(c, true, "checkpoint: starting anew: '%s' is of %s", st.path,
				 strcmp(st.id.key, id->key) != 0 ? "another step of the job"
				 : strcmp(st.id.cluster, id->cluster) != 0
					 ? "another cluster"
					 : "another job with this number");
		ckpti_step_close(&st);
	}
	if (!found)
		ckpti_report_say(c, true,
				 "checkpoint: starting anew: '%s' holds no checkpoint of "
				 "this step",
				 c->base);
	ckpti_fs_free_names(names, n);
	if (fd >= 0)
		(void)close(fd);
}

/* A step that had ended well is run again as the script has it, unless the user wants it to be passed
 * over and what it has printed is still there; it is not restored, because others may have used up what
 * it has written. */
static bool runs_again(struct ckpti_coord *c)
{
	struct ckpti_manifest m;
	unsigned skipped;

	if (!ckpti_fence_ended_well(c))
		return false;
	if (c->config.skip_done && c->args.own_output &&
	    ckpti_step_load(&c->step, 0, &m, &skipped, NULL) == 0) {
		c->done = strcmp(m.reason, CKPTI_REASON_DONE) == 0;
		ckpti_manifest_free(&m);
	}
	ckpti_report_say(c, true,
			 c->done ? "checkpoint: step '%s' had ended well and is not run again"
				 : "checkpoint: step '%s' had ended well, it is run again",
			 c->step.id.name);
	return !c->done;
}

int ckpti_restore_find(struct ckpti_coord *c, bool *ret_restore, struct ckpti_err *err)
{
	bool again = c->lives > 0 && !c->args.fresh;
	struct ckpti_err not_found = {.code = 0};
	struct ckpti_step_id id;
	int r;

	r = identify(c, &id, err);
	if (r < 0)
		return c->args.restart_dir || again ? REFUSED : r;
	if (c->args.restart_dir && !c->args.fresh) {
		*ret_restore = true;
		return find_explicit(c, &id, err) < 0 ? REFUSED : 0;
	}
	r = ckpti_step_find(c->base, &id, &c->step, &not_found);
	if (r == 0) {
		*ret_restore = again && !runs_again(c);
		return 0;
	}
	if (again && r != -ENOENT) {
		*err = not_found;
		return REFUSED;
	}
	if (again)
		name_similar(c, &id);
	else if (c->lives > 0)
		ckpti_report_say(c, true, "checkpoint: starting anew, as --checkpoint-fresh says");
	return ckpti_step_make(c->base, &id, &c->step, err);
}

/* ---- which generation --------------------------------------------------------------------- */

static bool is_rejected(const struct ckpti_coord *c, uint64_t gen)
{
	struct ckpti_kv kv;
	char key[32];
	bool found;

	(void)snprintf(key, sizeof(key), "gen-%" PRIu64, gen);
	if (ckpti_step_read_file(&c->step, "rejected", &kv) < 0)
		return false;
	found = ckpti_kv_get(&kv, key, NULL) != NULL;
	ckpti_kv_free(&kv);
	return found;
}

/* What could not be restarted may be good all the same: nothing is started from nothing beside it. */
static bool any_rejected(const struct ckpti_coord *c)
{
	struct ckpti_kv kv;
	bool any;

	if (ckpti_step_read_file(&c->step, "rejected", &kv) < 0)
		return false;
	any = kv.n > 0;
	ckpti_kv_free(&kv);
	return any;
}

/* The newest one below `below` that can be used, 0: none; says what is wrong with the others. */
static uint64_t next_good(const struct ckpti_coord *c, uint64_t below, bool say)
{
	size_t n = ckpti_step_list(&c->step, NULL, 0);
	uint64_t *gen = calloc(n + 1, sizeof(*gen)), found = 0;

	if (!gen)
		return 0;
	n = ckpti_step_list(&c->step, gen, n);
	while (!found && n-- > 0) {
		struct ckpti_err err = {.code = 0};
		struct ckpti_manifest m;
		unsigned skipped;

		if (gen[n] >= below)
			continue;
		if (is_rejected(c, gen[n])) {
			(void)ckpti_err(&err, -ENODATA,
					"generation %" PRIu64 " could not be restarted before",
					gen[n]);
		} else if (ckpti_step_load(&c->step, gen[n], &m, &skipped, &err) == 0) {
			ckpti_manifest_free(&m);
			found = gen[n];
			continue;
		}
		if (say)
			ckpti_report_say(c, true, "checkpoint: not used: %s", err.text);
	}
	free(gen);
	return found;
}

static void read_restarts(const struct ckpti_coord *c, struct ckpti_restarts *ret)
{
	struct ckpti_kv kv;

	*ret = (struct ckpti_restarts){0};
	if (ckpti_step_read_file(&c->step, "restarts", &kv) < 0)
		return;
	ret->gen = ckpti_kv_get_u64(&kv, "gen", 0);
	ret->count = (unsigned)ckpti_kv_get_u64(&kv, "count", 0);
	ret->back = ckpti_kv_get_u64(&kv, "back", 0) != 0;
	ckpti_kv_free(&kv);
}

static int write_restarts(struct ckpti_coord *c, const struct ckpti_restarts *r,
			  struct ckpti_err *err)
{
	struct ckpti_kv kv;
	int w;

	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "gen", r->gen);
	ckpti_kv_set_u64(&kv, "count", r->count);
	ckpti_kv_set_u64(&kv, "back", r->back);
	w = ckpti_step_write_file(&c->step, "restarts", &kv, err);
	ckpti_kv_free(&kv);
	return w;
}

/* The job goes on when a person has looked at it. */
static int hold(struct ckpti_coord *c, uint64_t gen, unsigned times, struct ckpti_err *err)
{
	struct ckpti_err why = {.code = 0};
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "held: generation %" PRIu64 " was restarted %u times "
		       "without a newer one; scontrol release %" PRIu32 " tries again",
		       gen, times, c->args.job);
	ckpti_report_log(c, "event=held gen=%" PRIu64 " restarts=%u", gen, times);
	if (!c->job.batch) {
		(void)ckpti_err(err, -ELOOP, "%s", text);
		return REFUSED;
	}
	/* First the reason: to be held is the end of the script, of srun and perhaps of us. */
	ckpti_report_say(c, true, "checkpoint: %s", text);
	(void)ckpti_slurm_comment(c->args.job, text, NULL);
	if (ckpti_slurm_requeue(c->args.job, true, &why) < 0)
		(void)ckpti_err(err, -ELOOP, "the job cannot be held: %s", why.text);
	else
		(void)ckpti_err(err, -ELOOP, "the job is held");
	return REFUSED;
}

static int reject(struct ckpti_coord *c, uint64_t gen, const char *why, struct ckpti_err *err)
{
	int r = ckpti_step_reject(&c->step, gen, why);

	return r < 0 ? ckpti_err(err, r, "cannot write 'rejected' in '%s': %s", c->step.path,
				 strerrordesc_np(-r))
		     : 0;
}

/* Restarts by themselves must come to an end.  *gen may become an older one. */
static int count_restart(struct ckpti_coord *c, uint64_t *gen, struct ckpti_err *err)
{
	struct ckpti_restarts r;
	unsigned max = c->config.max_restarts;
	uint64_t older = next_good(c, *gen, false), tried = *gen;
	enum ckpti_restart_action action;
	int w = 0;

	read_restarts(c, &r);
	action = ckpti_policy_restart(&r, *gen, older, max);
	/* First, or the next life would take it for progress. */
	if (action == CKPTI_RESTART_BACK)
		w = reject(c, tried, "no progress after it", err);
	if (w == 0)
		w = write_restarts(c, &r, err);
	/* What cannot be counted might be done for ever. */
	if (w < 0)
		return w;
	switch (action) {
	case CKPTI_RESTART_USE:
		return 0;
	case CKPTI_RESTART_BACK:
		ckpti_report_say(c, true,
				 "checkpoint: generation %" PRIu64 " was restarted %u times "
				 "without a newer one; going back to generation %" PRIu64,
				 tried, max, older);
		*gen = older;
		return 0;
	case CKPTI_RESTART_HOLD:
		break;
	}
	return hold(c, tried, max, err);
}

int ckpti_restore_choose(struct ckpti_coord *c, struct ckpti_err *err)
{
	const bool explicit = ckpti_restore_by_hand(c);
	uint64_t gen = next_good(c, UINT64_MAX, true);
	struct ckpti_manifest m;
	unsigned skipped;
	int r = 0;

	if (!gen) {
		/* Damaged is one thing; what only cannot be read now is not given up for it. */
		r = ckpti_step_load(&c->step, 0, &m, &skipped, err);
		if (r == 0)
			ckpti_manifest_free(&m);
		if (explicit || any_rejected(c) || (r != -ENODATA && r != -EBADMSG && r != -ENOENT))
			return REFUSED;
		*err = (struct ckpti_err){.code = 0};
		ckpti_report_say(c, true,
				 "checkpoint: starting anew: '%s' holds no generation that "
				 "can be used",
				 c->step.path);
		return 0;
	}
	if (!explicit && !c->done)
		r = count_restart(c, &gen, err);
	if (r == 0)
		r = ckpti_step_load(&c->step, gen, &m, &skipped, err);
	if (r != 0)
		return REFUSED;
	c->restored = gen;
	c->last = m;
	c->last.task = NULL;
	ckpti_manifest_free(&m);
	return 0;
}

/* ---- it cannot be restored ---------------------------------------------------------------- */

struct verdict {
	uint64_t older; /* that the next life tries; 0: none */
	struct ckpti_err err;
};

static size_t condemn(void *arg, void *result)
{
	struct ckpti_coord *c = arg;
	struct verdict *v = result;

	*v = (struct verdict){.older = next_good(c, c->restored, false)};
	/* Without a note of it the next life would try the same one again. */
	if (v->older && reject(c, c->restored, c->restore_why, &v->err) < 0)
		v->older = 0;
	return sizeof(*v);
}

/* Without the one that is missing the others would work for nothing, or wait for it. */
static void end_tasks(struct ckpti_coord *c, const char *why)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", why);
	ckpti_agents_send(c, CKPTI_W_KILL, &kv);
	ckpti_kv_free(&kv);
}

static void end_of_job(struct ckpti_coord *c, uint64_t older)
{
	char text[256];

	if (c->vacated)
		return;
	if (!c->job.batch || !c->job.requeue) {
		end_tasks(c, c->restore_why);
		return;
	}
	if (older)
		(void)snprintf(text, sizeof(text),
			       "the job is requeued, to go on from generation %" PRIu64, older);
	else
		(void)snprintf(text, sizeof(text),
			       "the job is held; scontrol release %" PRIu32
			       " tries generation %" PRIu64 " again",
			       c->args.job, c->restored);
	end_tasks(c, text);
	ckpti_finish_vacated(c, older ? CKPTI_JOB_REQUEUE : CKPTI_JOB_HOLD, text);
}

static void condemned(struct ckpti_coord *c, const void *result, size_t len)
{
	struct verdict v = {.older = 0};

	c->rejecting = false;
	if (len == sizeof(v))
		v = *(const struct verdict *)result;
	else
		(void)ckpti_err(&v.err, -ETIMEDOUT, "'%s' does not answer", c->step.path);
	if (v.err.code < 0)
		ckpti_report_say(c, true, "checkpoint: %s", v.err.text);
	end_of_job(c, v.older);
}

/*
 * The next life tries the generation before.  When there is none, this one stays the one to be tried, and
 * a person has to look: what is wrong may as well be the node, or a file.
 */
void ckpti_restore_failed(struct ckpti_coord *c, unsigned node, const char *text)
{
	struct verdict v = {.older = 0};

	if (!c->restored || c->restored_told || c->restore_failed || c->vacated)
		return;
	c->restore_failed = true;
	(void)snprintf(c->restore_why, sizeof(c->restore_why), "%s",
		       *text ? text : "no reason given");
	ckpti_report_say(c, true, "checkpoint: generation %" PRIu64 " cannot be restored: %s: %s",
			 c->restored, ckpti_node_name(c, node), c->restore_why);
	ckpti_report_log(c, "event=restore_failed gen=%" PRIu64 " text=%s", c->restored, text);
	if (ckpti_restore_by_hand(c)) {
		end_tasks(c, c->restore_why);
		return;
	}
	c->rejecting = true;
	if (ckpti_child_start(c, condemn, c, VERDICT_MS, condemned, NULL, &v.err) < 0)
		condemned(c, &v, sizeof(v));
}
