/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr -r of the ranks of an mpirun: become mpirun again, as it was started, whose ranks become `cpr -r` of
 * their statefiles.  What mpirun would give to its caller, signals, exit status, input and output, it gives.
 *
 * Its environment is the old one, for what the user has set there (PATH, OMPI_MCA_...), except for what a
 * batch system says about where it runs.
 *
 * A process beside it waits until all ranks run, and says so: an mpirun cannot.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpirun.h"

#define LOOK_MS 20

/* ---- the environment ---------------------------------------------------------------------- */

static bool begins(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* That of today counts: where we run, and our own words. */
static bool is_of_place(const char *e)
{
	static const char *const names[] = {"SLURM", "PMI", "CKPT_",
					    "TMPDIR=", "OMPI_MCA_orte_fork_agent="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (begins(e, names[i]))
			return true;
	return false;
}

/* Without the library that `cpr run` had put in front: it will do so again. */
static const char *without_ours(const char *list, const char *library)
{
	size_t first = strcspn(list, ": "), n = strlen(library);

	if (first < n || strncmp(list + first - n, library, n) != 0)
		return list;
	return list[first] ? list + first + 1 : list + first;
}

static int put_variable(const char *e)
{
	const char *value = strchr(e, '=');
	char *name;
	int r;

	if (!value || value == e)
		return 0;
	name = strndup(e, (size_t)(value - e));
	if (!name)
		return -ENOMEM;
	value++;
	if (strcmp(name, "LD_PRELOAD") == 0)
		value = without_ours(value, "/libckpt.so.0");
	else if (strcmp(name, "LD_AUDIT") == 0)
		value = without_ours(value, "/ckpt-look.so");
	r = *value || !begins(name, "LD_") ? setenv(name, value, 1) : unsetenv(name);
	free(name);
	return r < 0 ? -errno : 0;
}

static int restore_environment(const struct ckpti_mpirun_record *rec)
{
	char **now = environ, **keep = NULL;
	size_t n = 0;
	int r = 0;

	while (now[n])
		n++;
	keep = calloc(n + 1, sizeof(*keep));
	for (size_t i = 0, k = 0; keep && i < n; i++)
		if (is_of_place(now[i]))
			keep[k++] = strdup(now[i]);
	if (!keep || clearenv() != 0)
		r = -ENOMEM;
	for (char **e = rec->env; r == 0 && *e; e++)
		if (!is_of_place(*e))
			r = put_variable(*e);
	for (char **e = keep; r == 0 && *e; e++)
		r = put_variable(*e);
	for (char **e = keep; keep && *e; e++)
		free(*e);
	free(keep);
	(void)unsetenv("OMPI_MCA_orte_fork_agent"); /* what it wrapped is in the image */
	return r;
}

/* What the ranks' `cpr -r` are to be told, a word in a line. */
static int put_options(const struct ckpti_cmd_opts *o, const char *dir, struct ckpti_err *err)
{
	static const char *const ids[] = {[CKPTI_IDS_AUTO] = "auto",
					  [CKPTI_IDS_HOST] = "host",
					  [CKPTI_IDS_PRIVATE] = "private",
					  [CKPTI_IDS_NEW] = "new"};
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int r = 0;

	if (!f)
		return -ENOMEM;
	(void)fputs("-q", f);
	if (o->generation)
		(void)fprintf(f, "\n--generation\n%" PRIu64, o->generation);
	if (o->ids_given)
		(void)fprintf(f, "\n--ids\n%s", ids[o->ids]);
	if (o->clone)
		(void)fputs("\n--clone", f);
	if (o->fenced)
		(void)fputs("\n--fenced", f);
	if (o->lazy)
		(void)fputs("\n--lazy", f);
	for (size_t i = 0; i < o->nreloc; i++) {
		if (strchr(o->reloc[i].from, '\n') || strchr(o->reloc[i].to, '\n'))
			r = ckpti_err(err, -ENOTSUP, "--relocate: a path with a line feed");
		(void)fprintf(f, "\n--relocate\n%s=%s", o->reloc[i].from, o->reloc[i].to);
	}
	if (fclose(f) != 0)
		r = -ENOMEM;
	if (r == 0 &&
	    (setenv(CKPTI_MPIRUN_OPTIONS, text, 1) < 0 || setenv("CKPT_RESTART", dir, 1) < 0))
		r = -errno;
	free(text);
	return r;
}

/* ---- who tells that it runs --------------------------------------------------------------- */

static void tell(const struct ckpti_cmd_opts *o, const char *dir,
		 const struct ckpti_mpirun_record *rec, pid_t mpirun)
{
	struct ckpti_result r = {
		.generation = rec->generation, .root_pid = mpirun, .nprocs = (uint32_t)rec->nranks};

	ckpti_report_result(o, &r);
	if (o->ready_fd >= 0)
		(void)!write(o->ready_fd, "", 1);
	if (!o->quiet && o->result_fd == CKPTI_RESULT_NONE)
		(void)fprintf(stderr,
			      "cpr: restarted %s generation %" PRIu64
			      ": mpirun pid %d (%zu rank%s)\n",
			      dir, rec->generation, (int)mpirun, rec->nranks,
			      rec->nranks == 1 ? "" : "s");
}

/* page has a byte for each rank, cleared when it runs. */
static void watch(const struct ckpti_cmd_opts *o, const char *dir,
		  const struct ckpti_mpirun_record *rec, pid_t mpirun, const volatile char *page)
{
	struct pollfd pfd = {.fd = (int)syscall(SYS_pidfd_open, mpirun, 0), .events = POLLIN};
	size_t up = 0;

	if (pfd.fd < 0)
		return;
	while (up < rec->nranks) {
		if (page[up] == 0)
			up++;
		else if (poll(&pfd, 1, LOOK_MS) > 0)
			return; /* and mpirun has said why */
	}
	tell(o, dir, rec, mpirun);
}

static int start_watch(const struct ckpti_cmd_opts *o, const char *dir,
		       const struct ckpti_mpirun_record *rec)
{
	pid_t mpirun = getpid(), pid;
	int fd = memfd_create("ckpt-ranks", MFD_CLOEXEC), go[2] = {-1, -1};
	char path[40] = "", *page = MAP_FAILED;

	if (fd < 0 || ftruncate(fd, (off_t)rec->nranks) < 0 || pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	page = mmap(NULL, rec->nranks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	memset(page, 1, rec->nranks);
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* No child of mpirun, which would find out. */
		pid = fork();
		if (pid != 0) {
			(void)!write(go[1], &pid, sizeof(pid));
			_exit(0);
		}
		watch(o, dir, rec, mpirun, page);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (read(go[0], &pid, sizeof(pid)) != sizeof(pid) || pid <= 0)
		return -EAGAIN;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	(void)close(go[0]);
	(void)close(go[1]);
	(void)close(fd);
	(void)munmap(page, rec->nranks);
	return setenv(CKPTI_MPIRUN_READY, path, 1) < 0 ? -errno : 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int check_ranks(const struct ckpti_cmd_opts *o, const struct ckpti_mpirun_record *rec)
{
	int status = CKPTI_EXIT_OK, one;

	for (size_t i = 0; i < rec->nranks; i++) {
		char *dir = ckpti_mpirun_rank_dir(o->args[0], i);
		struct ckpti_cmd_opts rank = *o;

		if (!dir)
			return CKPTI_EXIT_FAILED;
		rank.args = &dir;
		rank.generation = rec->rank[i];
		one = ckpti_cmd_restart(&rank);
		status = one > status ? one : status;
		free(dir);
	}
	return status;
}

/* Returns only when it fails. */
static int become_mpirun(const struct ckpti_cmd_opts *o, const struct ckpti_mpirun_record *rec,
			 struct ckpti_err *err)
{
	char *dir = realpath(o->args[0], NULL);
	struct ckpti_cmd_opts exact = *o;
	int r;

	if (!dir)
		return ckpti_err(err, -errno, "'%s': %s", o->args[0], strerror(errno));
	if (o->job)
		return ckpti_err(err, -ENOTSUP, "-j does not go with an mpirun");
	if (chdir(rec->cwd) < 0)
		return ckpti_err(err, -errno, "the working directory '%s': %s", rec->cwd,
				 strerror(errno));
	exact.generation = rec->generation;
	r = restore_environment(rec);
	if (r == 0)
		r = put_options(&exact, dir, err);
	if (r == 0)
		r = start_watch(o, dir, rec);
	if (r < 0)
		return ckpti_err(err, r, "cannot prepare mpirun: %s", strerror(-r));
	exact.verb = CKPTI_VERB_RUN;
	exact.args = rec->args;
	for (exact.nargs = 0; rec->args[exact.nargs]; exact.nargs++)
		;
	return ckpti_run_become(&exact);
}

int ckpti_mpirun_restart(const struct ckpti_cmd_opts *o)
{
	struct ckpti_mpirun_record rec;
	struct ckpti_err err = {.code = 0};
	int r = ckpti_mpirun_load(o->args[0], o->generation, &rec, &err);

	if (r == 0 && o->check)
		r = check_ranks(o, &rec);
	else if (r == 0)
		r = become_mpirun(o, &rec, &err);
	ckpti_mpirun_record_free(&rec);
	return r < 0 ? ckpti_report_error(o, r, &err) : r;
}

/* ---- one rank ----------------------------------------------------------------------------- */

/* The options of `cpr -r` that mpirun has handed on; free *ret_text when o is not used any more. */
static int take_options(struct ckpti_cmd_opts *o, char **ret_text)
{
	const char *text = getenv(CKPTI_MPIRUN_OPTIONS);
	char **argv, *save = NULL;
	size_t most = 5; /* a last word without a line feed, those below, and NULL */
	int argc = 0;

	*ret_text = strdup(text ? text : "");
	for (const char *p = text; p && (p = strchr(p, '\n')); p++)
		most++;
	argv = calloc(most, sizeof(*argv));
	if (!*ret_text || !argv) {
		free(argv);
		return -ENOMEM;
	}
	argv[argc++] = program_invocation_short_name;
	argv[argc++] = (char *)"-r";
	for (char *word = strtok_r(*ret_text, "\n", &save); word;
	     word = strtok_r(NULL, "\n", &save))
		argv[argc++] = word;
	argv[argc++] = (char *)"."; /* the caller knows the directory */
	argv[argc] = NULL;
	ckpti_opts_parse(argc, argv, o);
	free(argv); /* the words stay */
	return 0;
}

int ckpti_mpirun_restart_rank(const struct ckpti_cmd_opts *o, const char *dir, int rank)
{
	const char *ready = getenv(CKPTI_MPIRUN_READY);
	char *own = ckpti_mpirun_rank_dir(dir, (size_t)rank), *text = NULL;
	struct ckpti_mpirun_record rec = {.generation = 0};
	struct ckpti_err err = {.code = 0};
	struct ckpti_cmd_opts mine = *o;
	int r = own ? take_options(&mine, &text) : -ENOMEM;

	if (r == 0)
		r = ckpti_mpirun_load(dir, mine.generation, &rec, &err);
	if (r == 0 && (size_t)rank >= rec.nranks)
		r = ckpti_err(&err, -ENOTSUP, "'%s' has %zu ranks, this is rank %d", dir,
			      rec.nranks, rank);
	if (r == 0) {
		mine.args = &own;
		mine.nargs = 1;
		mine.generation = rec.rank[rank];
		/* NOLINTNEXTLINE(android-cloexec-open): cpr has it, and closes it */
		mine.ready_fd = ready ? open(ready, O_WRONLY) : -1;
		if (mine.ready_fd >= 0)
			(void)lseek(mine.ready_fd, rank, SEEK_SET);
		(void)unsetenv(CKPTI_MPIRUN_READY);
		(void)unsetenv(CKPTI_MPIRUN_OPTIONS);
		r = ckpti_cmd_restart(&mine);
	} else {
		r = ckpti_report_error(o, r, &err);
	}
	ckpti_mpirun_record_free(&rec);
	ckpti_opts_free(&mine);
	free(text);
	free(own);
	return r;
}
