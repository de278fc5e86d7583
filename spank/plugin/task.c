/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A task, between fork and exec, already its user.  The first one of a node starts the node agent, as a
 * sibling (CLONE_PARENT): so the agent is the user, is in the control group of the step and is a child of
 * slurmstepd, which sends it the step's signals and ends it with the step.
 *
 * Then the task becomes ready for checkpoints by its environment, or becomes what it was in a checkpoint.
 * The program finds nothing of what coordinator, agent and plugin tell each other.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/page.h"
#include "spank/plugin/plugin.h"
#include "util/launch.h"

#define AGENT_PAGE_FD    3
#define AGENT_FAIL_FD    4 /* until it is the agent */
#define AGENT_TIMEOUT_MS 5000
#define AGENT_ENV_MAX    64

#define MAX_FENCE_MS 7200000U

/* ---- page --------------------------------------------------------------------------------- */

static struct ckpti_page *map_page(int fd)
{
	struct ckpti_page *page;
	struct stat st;

	if (fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof(*page))
		return NULL;
	page = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (page->magic != CKPTI_PAGE_MAGIC ||
	    (size_t)st.st_size < sizeof(*page) + page->nslots * sizeof(page->slot[0])) {
		(void)munmap(page, (size_t)st.st_size);
		return NULL;
	}
	return page;
}

void ckpti_task_set_slot(struct ckpti_slot *slot, uint32_t rank, uint32_t state, const char *reason)
{
	slot->pid = (int32_t)getpid();
	slot->rank = rank;
	(void)snprintf(slot->reason, sizeof(slot->reason), "%s", reason ? reason : "");
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

/* ---- environment -------------------------------------------------------------------------- */

static bool is_ours(const char *pair)
{
	return strncmp(pair, CKPTI_PLUGIN_ENV, sizeof(CKPTI_PLUGIN_ENV) - 1) == 0;
}

static bool is_for_agent(const char *pair)
{
	static const char *const names[] = {
		"SLURM_JOB_ID=",
		"SLURM_STEP_ID=",
		"SLURM_NODEID=",
		"SLURM_NNODES=",
		"SLURM_NTASKS=",
		"SLURM_STEP_NUM_NODES=",
		"SLURM_STEP_NUM_TASKS=",
		"SLURM_SRUN_COMM_HOST=",
		"SLURM_CLUSTER_NAME=",
		"SLURMD_NODENAME=",
		"SLURM_CONF=",
		"HOME=",
		"PATH=",
		"USER=",
		"TZ=",
		"CKPT_TRACE=",
		"CKPT_TEST_HOLD=",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(pair, names[i], strlen(names[i])) == 0)
			return true;
	}
	return is_ours(pair);
}

static void clean_env(spank_t sp)
{
	char name[128], **env = NULL;

	/* Each removal moves the others. */
	for (;;) {
		if (spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
			return;
		while (*env && !is_ours(*env))
			env++;
		if (!*env)
			break;
		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(*env, "="), *env);
		if (spank_unsetenv(sp, name) != ESPANK_SUCCESS)
			break;
	}
	/* It was meant for this step, not for one that the program starts. */
	(void)spank_unsetenv(sp, "SLURM_RESTART_DIR");
	(void)spank_unsetenv(sp, CKPTI_PLUGIN_TOKEN);
}

/* NULL when there is none, or nothing in it. */
static const char *get_env(spank_t sp, const char *name, char *ret, size_t size)
{
	return spank_getenv(sp, name, ret, (int)size) == ESPANK_SUCCESS && ret[0] ? ret : NULL;
}

/* ---- node agent --------------------------------------------------------------------------- */

static void close_above(int fd)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, fd + 1, ~0U, 0) == 0)
		return;
#endif
	for (int i = fd + 1; i < 4096; i++)
		(void)close(i);
}

/* In the new process, which shares nothing but was not made by fork(): system calls only. */
static void be_agent(char *argv[], char *envp[], int page, int fail)
{
	struct sigaction deflt = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null, r;

	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &deflt, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Not the task's output: srun waits for its end of file. */
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		goto failed;
	page = fcntl(page, F_DUPFD_CLOEXEC, 10);
	fail = fcntl(fail, F_DUPFD_CLOEXEC, 10);
	if (page < 0 || fail < 0 || dup2(page, AGENT_PAGE_FD) < 0)
		goto failed;
	fail = dup3(fail, AGENT_FAIL_FD, O_CLOEXEC);
	if (fail < 0)
		goto failed;
	close_above(AGENT_FAIL_FD);
	(void)execve(argv[0], argv, envp);
failed:
	r = errno;
	if (fail >= 0)
		(void)!write(fail, &r, sizeof(r));
	_exit(127);
}

/* 0 or -errno: why it is not the agent. */
static int spawn_agent(char *argv[], char *envp[], int page)
{
	struct pollfd p = {.events = POLLIN};
	int fail[2], r = 0;
	long pid;

	if (pipe2(fail, O_CLOEXEC) < 0)
		return -errno;
	pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, 0);
	if (pid == 0)
		be_agent(argv, envp, page, fail[1]);
	if (pid < 0)
		r = -errno;
	(void)close(fail[1]);
	p.fd = fail[0];
	if (r == 0 && poll(&p, 1, AGENT_TIMEOUT_MS) <= 0)
		r = -ETIMEDOUT;
	/* End of file: exec has closed it. */
	if (r == 0 && read(fail[0], &r, sizeof(r)) == (ssize_t)sizeof(r))
		r = -r;
	(void)close(fail[0]);
	return r;
}

static void start_agent(spank_t sp, const struct ckpti_plugin_conf *conf, struct ckpti_page *page)
{
	char path[PATH_MAX], *envp[AGENT_ENV_MAX + 1], **env = NULL;
	char *argv[] = {path,
			(char *)(uintptr_t) "--bindir",
			(char *)(uintptr_t)conf->bindir,
			(char *)(uintptr_t) "--libdir",
			(char *)(uintptr_t)conf->libdir,
			NULL};
	size_t n = 0;
	int r;

	if (__atomic_exchange_n(&page->agent, CKPTI_AGENT_STARTED, __ATOMIC_ACQ_REL) !=
	    CKPTI_AGENT_NONE)
		return;
	if (spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
		return;
	for (; *env && n < AGENT_ENV_MAX; env++) {
		if (is_for_agent(*env))
			envp[n++] = *env;
	}
	envp[n] = NULL;
	(void)snprintf(path, sizeof(path), "%s/ckpt-node-agent", conf->libexec);
	r = spawn_agent(argv, envp, ckpti_step_page_fd());
	if (r == 0)
		return;
	__atomic_store_n(&page->agent, CKPTI_AGENT_OVER, __ATOMIC_RELEASE);
	slurm_error("spank_ckpt: cannot start %s: %s, no checkpoints of the tasks of this node",
		    path, strerror(-r));
}

/* ---- task --------------------------------------------------------------------------------- */

/* The identity of this rank in the set of the step: processes of the rank are found by it. */
static bool set_of(const char *base, uint32_t rank, char ret[17])
{
	char *end;
	uint64_t n = strtoull(base, &end, 16);

	(void)snprintf(ret, 17, "%016" PRIx64, n + rank);
	return end != base && !*end && n + rank != 0;
}

/* Where programs look for Open MPI they find the shim, which is not there on every site. */
static void prepare_mpi(spank_t sp, const char *dir)
{
	char look[PATH_MAX], shim[PATH_MAX], old[32768], audit[sizeof(look) + sizeof(old)];
	spank_err_t r;

	(void)snprintf(look, sizeof(look), "%s/ckpt-look.so", dir);
	(void)snprintf(shim, sizeof(shim), "%s/libmpi.so.40", dir);
	if (ckpti_preload_obstacle(look) || ckpti_preload_obstacle(shim))
		return;
	r = spank_getenv(sp, "LD_AUDIT", old, sizeof(old));
	if (r != ESPANK_SUCCESS && r != ESPANK_ENV_NOEXIST)
		return;
	(void)snprintf(audit, sizeof(audit), "%s%s%s", look,
		       r == ESPANK_SUCCESS && old[0] ? ":" : "", r == ESPANK_SUCCESS ? old : "");
	if (spank_setenv(sp, "CKPT_MPI_LIB", shim, 1) == ESPANK_SUCCESS)
		(void)spank_setenv(sp, "LD_AUDIT", audit, 1);
}

static const char *prepare(spank_t sp, const struct ckpti_plugin_conf *conf, uint32_t rank)
{
	char lib[PATH_MAX], base[32], set[17], step_dir[PATH_MAX];
	char old[32768], preload[sizeof(lib) + sizeof(old)], cpus[8192];
	const char *why;
	spank_err_t r;

	(void)snprintf(lib, sizeof(lib), "%s/" CKPTI_PLUGIN_LIBRARY, conf->libdir);
	why = isatty(STDIN_FILENO) ? "pseudo terminal" : ckpti_preload_obstacle(lib);
	if (why)
		return why;
	if (!get_env(sp, CKPTI_PLUGIN_ENV "SET", base, sizeof(base)) || !set_of(base, rank, set))
		return "the coordinator has named no set";
	r = spank_getenv(sp, "LD_PRELOAD", old, sizeof(old));
	if (r != ESPANK_SUCCESS && r != ESPANK_ENV_NOEXIST)
		return "LD_PRELOAD is too long";
	(void)snprintf(preload, sizeof(preload), "%s%s%s", lib,
		       r == ESPANK_SUCCESS && old[0] ? ":" : "", r == ESPANK_SUCCESS ? old : "");
	if (spank_setenv(sp, "CKPT_SET", set, 1) != ESPANK_SUCCESS ||
	    spank_setenv(sp, "LD_PRELOAD", preload, 1) != ESPANK_SUCCESS)
		return "Slurm does not set the environment";
	/* One that srun has brought along is of the launch that srun runs in. */
	if (ckpti_launch_cpus_format(cpus, sizeof(cpus)) < 0 ||
	    spank_setenv(sp, CKPTI_LAUNCH_CPUS, cpus, 1) != ESPANK_SUCCESS)
		(void)spank_unsetenv(sp, CKPTI_LAUNCH_CPUS);
	prepare_mpi(sp, conf->mpidir);
	if (get_env(sp, CKPTI_PLUGIN_ENV "STEPDIR", step_dir, sizeof(step_dir)))
		(void)spank_setenv(sp, "SLURM_CHECKPOINT_IMAGE_DIR", step_dir, 1);
	return NULL;
}

/* When the environment is that of the program.  It does not fail for want of the file. */
static void write_launch_file(spank_t sp)
{
	char set[17], path[64], **env = NULL;
	struct ckpti_launch_file file;
	int r;

	if (!get_env(sp, "CKPT_SET", set, sizeof(set)) ||
	    spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
		return;
	r = ckpti_launch_file_name(set, path, sizeof(path));
	if (r == 0)
		r = ckpti_launch_file_write(path, env, 0, 0, &file);
	if (r == 0)
		(void)spank_setenv(sp, CKPTI_LAUNCH_FILE, path, 1);
	else
		slurm_error("spank_ckpt: no " CKPTI_LAUNCH_FILE ": %s: %s", path, strerror(-r));
}

/* Until no task of the life before can run any more.  Here and not in srun: the credential that it
 * launches tasks with is good for a short time only. */
static void wait_for_fence(spank_t sp)
{
	char text[24];
	struct timespec left;
	uint64_t ms;

	if (!get_env(sp, CKPTI_PLUGIN_ENV "WAIT", text, sizeof(text)))
		return;
	ms = strtoull(text, NULL, 10);
	if (ms > MAX_FENCE_MS)
		ms = MAX_FENCE_MS;
	left = (struct timespec){.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) < 0 && errno == EINTR) {
		/* Not before time. */
	}
}

/*
 * With --mpi=pmix slurmstepd leaves to its tasks the socket on which it listens to the other nodes.  No
 * task uses it; in an image it would be a port that is taken on the node of the restart.
 */
static void drop_listeners(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int fd = atoi(e->d_name), listens = 0;
		socklen_t len = sizeof(listens);

		if (fd > STDERR_FILENO &&
		    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	if (dir)
		(void)closedir(dir);
}

static void begin(spank_t sp, const struct ckpti_plugin_conf *conf, struct ckpti_page *page, int id,
		  uint32_t rank)
{
	struct ckpti_slot *slot = &page->slot[id];
	char manifest[PATH_MAX], pids[16], epoch[16];
	struct ckpti_restore re = {.conf = conf, .rank = rank, .page = page, .slot = slot};
	const char *why;

	start_agent(sp, conf, page);
	drop_listeners();
	wait_for_fence(sp);
	re.manifest = get_env(sp, CKPTI_PLUGIN_ENV "RESTORE", manifest, sizeof(manifest));
	re.pids = get_env(sp, CKPTI_PLUGIN_ENV "PIDS", pids, sizeof(pids));
	if (re.manifest) {
		if (get_env(sp, CKPTI_PLUGIN_ENV "EPOCH", epoch, sizeof(epoch)))
			re.epoch = (uint32_t)strtoul(epoch, NULL, 10);
		clean_env(sp);
		ckpti_restore_become(sp, &re);
	}
	why = prepare(sp, conf, rank);
	clean_env(sp);
	if (!why)
		write_launch_file(sp);
	ckpti_task_set_slot(slot, rank, why ? CKPTI_SLOT_LEFT_OUT : CKPTI_SLOT_FRESH, why);
}

void ckpti_task_begin(spank_t sp, const struct ckpti_plugin_conf *conf)
{
	struct ckpti_page *page;
	char refused[8];
	uint32_t rank;
	int id;

	if (!ckpti_step_is_ordinary(sp)) {
		ckpti_batch_begin(sp, conf);
		return;
	}
	(void)spank_unsetenv(sp, CKPTI_PLUGIN_LAUNCHER);
	/* Of a launch that srun is part of. */
	(void)spank_unsetenv(sp, CKPTI_LAUNCH_FILE);
	if (get_env(sp, CKPTI_PLUGIN_REFUSED, refused, sizeof(refused)))
		_exit(1); /* srun has said why */
	if (ckpti_step_page_fd() < 0) {
		clean_env(sp);
		return;
	}
	page = map_page(ckpti_step_page_fd());
	if (page && spank_get_item(sp, S_TASK_ID, &id) == ESPANK_SUCCESS &&
	    spank_get_item(sp, S_TASK_GLOBAL_ID, &rank) == ESPANK_SUCCESS && id >= 0 &&
	    (uint32_t)id < page->nslots)
		begin(sp, conf, page, id, rank);
	else
		clean_env(sp);
}
