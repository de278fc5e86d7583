/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * srun: the coordinator of the step is started before the tasks are, and waited for at the end.
 *
 * Two descriptors join us.  The coordinator writes lines on its descriptor 3:
 *
 *     env NAME=VALUE            for the tasks
 *     wait SECONDS TEXT         it may take so long
 *     ready                     the step can start
 *     error TEXT                no checkpoints; the step runs as it would without us
 *     refuse TEXT               the step must not run
 *     block SECONDS CODE TEXT   the step was vacated, and at its end the script must not go on, whatever
 *                               becomes of the coordinator: Slurm ends us, or we end with CODE
 *
 * Its descriptor 4 becomes readable when we have ended: "exit" if in order, end of file in any case.
 *
 * srun has threads and handlers of its own.  posix_spawn() is safe there, and handlers are borrowed only while
 * the answer of the coordinator is awaited.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/plugin/options.h"
#include "spank/plugin/plugin.h"
#include "spank/plugin/start.h"

#define START_TIMEOUT_MS 10000
#define END_TIMEOUT_MS   10000
#define KILL_TIMEOUT_MS  1000U
#define MAX_WAIT_S       86400UL
#define LINE_SIZE        8192

extern char **environ;

static struct {
	pid_t pid;   /* 0: none */
	pid_t owner; /* a fork of srun has nothing to do with it */
	int status_fd, life_fd;
	size_t len, taken; /* of what is in text, of that handled */
	char text[LINE_SIZE];
} coordinator;

static volatile sig_atomic_t interrupted;

/* What the user or a failed coordinator has left must not reach the tasks.  Set to nothing, not removed: srun
 * has a copy of the environment by now, to which it adds what is set later. */
static void clear_env(void)
{
	const size_t prefix = sizeof(CKPTI_PLUGIN_ENV) - 1;
	char name[128];

	for (char **e = environ; e && *e; e++) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, CKPTI_PLUGIN_ENV, prefix) != 0 || len >= sizeof(name))
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, *e);
		(void)setenv(name, "", 1);
	}
}

/* ---- lines of the coordinator ------------------------------------------------------------- */

/* 1: *ret_line; 0: it has ended; -ETIMEDOUT; -EINTR: `interrupted`, with `wake` as mask of signals while
 * waiting (NULL: the present one).  A line that is too long comes in pieces. */
static int next_line(uint64_t deadline, const sigset_t *wake, char **ret_line)
{
	struct pollfd p = {.fd = coordinator.status_fd, .events = POLLIN};
	struct timespec left;
	char *begin, *end;
	ssize_t n;
	int r;

	for (;;) {
		begin = coordinator.text + coordinator.taken;
		end = memchr(begin, '\n', coordinator.len - coordinator.taken);
		if (end) {
			*end = '\0';
			coordinator.taken = (size_t)(end + 1 - coordinator.text);
			*ret_line = begin;
			return 1;
		}
		coordinator.len -= coordinator.taken;
		memmove(coordinator.text, begin, coordinator.len);
		coordinator.taken = 0;
		if (coordinator.len == LINE_SIZE)
			coordinator.len = 0;

		left = ckpti_clock_until(deadline);
		r = ppoll(&p, 1, &left, wake);
		if (interrupted)
			return -EINTR;
		if (r == 0 || (r < 0 && ckpti_clock_ms() >= deadline))
			return -ETIMEDOUT;
		if (r < 0)
			continue;
		n = read(coordinator.status_fd, coordinator.text + coordinator.len,
			 LINE_SIZE - coordinator.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		coordinator.len += (size_t)n;
	}
}

/* The rest of the line after "word ", or NULL when it begins with another one. */
static char *after(char *line, const char *word)
{
	size_t len = strlen(word);

	return strncmp(line, word, len) == 0 && line[len] == ' ' ? line + len + 1 : NULL;
}

static void set_env(char *pair)
{
	char *value = strchr(pair, '=');

	if (!value || strncmp(pair, CKPTI_PLUGIN_ENV, sizeof(CKPTI_PLUGIN_ENV) - 1) != 0)
		return;
	*value++ = '\0';
	(void)setenv(pair, value, 1);
}

/* A longer deadline; the same text is shown once. */
static uint64_t wait_longer(char *rest)
{
	static char shown[256];
	char *text;
	unsigned long seconds = strtoul(rest, &text, 10);

	text += strspn(text, " ");
	if (*text && strncmp(text, shown, sizeof(shown) - 1) != 0) {
		slurm_spank_log("srun: checkpoint: %s", text);
		(void)snprintf(shown, sizeof(shown), "%s", text);
	}
	if (seconds > MAX_WAIT_S)
		seconds = MAX_WAIT_S;
	return ckpti_clock_ms() + seconds * 1000 + START_TIMEOUT_MS;
}

enum answer {
	READY,
	WITHOUT,
	REFUSED
};

/* Then it must not begin anew, only because nobody can tell. */
static bool may_restart(void)
{
	const char *restarts = getenv("SLURM_RESTART_COUNT");

	return restarts && atoi(restarts) > 0 && !ckpti_options_get(CKPTI_OPT_FRESH);
}

static enum answer read_answer(const sigset_t *wake)
{
	uint64_t deadline = ckpti_clock_ms() + START_TIMEOUT_MS;
	const char *why;
	char *line, *rest;
	int r;

	while ((r = next_line(deadline, wake, &line)) == 1) {
		if (strcmp(line, "ready") == 0)
			return READY;
		if ((rest = after(line, "env"))) {
			set_env(rest);
		} else if ((rest = after(line, "wait"))) {
			deadline = wait_longer(rest);
		} else if ((rest = after(line, "error"))) {
			slurm_spank_log("srun: checkpoint: %s", rest);
			return WITHOUT;
		} else if ((rest = after(line, "refuse"))) {
			slurm_error("checkpoint: %s", rest);
			return REFUSED;
		}
	}
	if (r == -EINTR) {
		slurm_error("checkpoint: interrupted before the step began");
		return REFUSED;
	}
	why = r == 0 ? "has ended before the step began" : "was not ready in time";
	if (may_restart()) {
		slurm_error(
			"checkpoint: the coordinator %s, and the step might have to be restarted",
			why);
		return REFUSED;
	}
	slurm_spank_log("srun: checkpoint: the coordinator %s, the step runs without checkpoints",
			why);
	return WITHOUT;
}

static void note_interrupt(int number)
{
	interrupted = number;
}

/* A thread of srun waits for these signals, but has nothing that it could end before the launch: it would
 * forget them, and the step would run.  The main thread is given them first when it does not block them. */
static enum answer await_answer(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const size_t n = sizeof(ends) / sizeof(ends[0]);
	struct sigaction act = {.sa_handler = note_interrupt}, old[sizeof(ends) / sizeof(ends[0])];
	enum answer answer;
	sigset_t wake;

	(void)pthread_sigmask(SIG_SETMASK, NULL, &wake);
	(void)sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < n; i++) {
		(void)sigaction(ends[i], &act, &old[i]);
		(void)sigdelset(&wake, ends[i]);
	}
	answer = read_answer(&wake);
	for (size_t i = 0; i < n; i++)
		(void)sigaction(ends[i], &old[i], NULL);
	interrupted = 0;
	return answer;
}

/* ---- the end of the coordinator ----------------------------------------------------------- */

static pid_t wait_until(uint64_t deadline, int *ret_status)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	pid_t r;

	while ((r = waitpid(coordinator.pid, ret_status, WNOHANG)) == 0 &&
	       ckpti_clock_ms() < deadline)
		(void)nanosleep(&pause, NULL);
	return r;
}

/* Its wait status.  It is given until the deadline, then it is killed; one that hangs in the file system is
 * not even ended by that, and is left alone. */
static int reap(uint64_t deadline)
{
	int status = 0;

	if (wait_until(deadline, &status) == 0) {
		(void)kill(coordinator.pid, SIGKILL);
		(void)wait_until(ckpti_clock_ms() + KILL_TIMEOUT_MS, &status);
	}
	coordinator.pid = 0;
	return status;
}

static void give_up(void)
{
	(void)close(coordinator.life_fd);
	(void)close(coordinator.status_fd);
	(void)reap(ckpti_clock_ms() + 1000);
	clear_env();
}

void ckpti_srun_exit(void)
{
	uint64_t deadline = ckpti_clock_ms() + END_TIMEOUT_MS;
	char *line, *rest, last[512] = "";
	int r, status;

	if (coordinator.pid <= 0 || coordinator.owner != getpid())
		return;
	/* It may have died long ago: no SIGPIPE. */
	(void)send(coordinator.life_fd, "exit\n", 5, MSG_NOSIGNAL);
	(void)close(coordinator.life_fd);
	while ((r = next_line(deadline, NULL, &line)) == 1) {
		rest = after(line, "block");
		if (rest)
			(void)snprintf(last, sizeof(last), "%s", rest);
	}
	if (r == -ETIMEDOUT)
		slurm_spank_log("srun: checkpoint: the coordinator did not end in time");
	status = reap(r == 0 ? ckpti_clock_ms() + 1000 : deadline);
	(void)close(coordinator.status_fd);
	/* Nobody else can tell: the tasks ran on, and its own last words are missing. */
	if (r == 0 && WIFSIGNALED(status))
		slurm_spank_log("srun: checkpoint: the coordinator was ended by signal %d, "
				"there were no checkpoints after that",
				WTERMSIG(status));
	if (last[0])
		ckpti_vacated_block(last);
}

/* ---- start -------------------------------------------------------------------------------- */

/* Parts of a heterogeneous step have colons between them.  The program's arguments may have some, too. */
static bool has_colon(void)
{
	struct ckpti_cmdline c;
	bool found = false;

	if (ckpti_cmdline_read(&c) < 0)
		return true;
	for (int i = 0; i < c.n; i++)
		found = found || strcmp(c.word[i], ":") == 0;
	ckpti_cmdline_free(&c);
	return found;
}

void ckpti_srun_options_done(void)
{
	static int calls; /* one for each part of a heterogeneous step, but perhaps twice */
	const char *parts = getenv("SLURM_HET_SIZE");

	ckpti_vacated_note();
	ckpti_options_from_srun_env();
	calls++;
	if (ckpti_options_any() && ((calls > 1 && has_colon()) || (parts && atoi(parts) > 1))) {
		slurm_error("checkpoint: heterogeneous jobs cannot be checkpointed");
		/* Failures of an optional plugin do not end srun. */
		exit(ckpti_plugin_exit_error());
	}
}

/* Descriptors in the child: nothing on 0 and 1, our stderr, status on 3, life on 4; it closes the rest. */
static int spawn(char *path, char *argv[], int status, int life)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&files);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&files);
		return -r;
	}
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						      POSIX_SPAWN_SETSID);
	r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, status, 3);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, life, 4);
	if (r == 0)
		r = posix_spawn(&coordinator.pid, path, &files, &attr, argv, environ);
	if (r)
		coordinator.pid = 0;
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* Above the numbers that spawn() gives away. */
static int lift(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	(void)close(fd);
	return high < 0 ? -errno : high;
}

static int start_coordinator(char *path, char *argv[])
{
	int status[2], life[2], r;

	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) < 0) {
		r = -errno;
		(void)close(status[0]);
		(void)close(status[1]);
		return r;
	}
	status[1] = lift(status[1]);
	life[1] = lift(life[1]);
	r = status[1] < 0 ? status[1] : life[1];
	if (r >= 0)
		r = spawn(path, argv, status[1], life[1]);
	if (status[1] >= 0)
		(void)close(status[1]);
	if (life[1] >= 0)
		(void)close(life[1]);
	if (r < 0) {
		(void)close(status[0]);
		(void)close(life[0]);
		return r;
	}
	coordinator.owner = getpid();
	coordinator.status_fd = status[0];
	coordinator.life_fd = life[0];
	return 0;
}

void ckpti_srun_start(spank_t sp, const struct ckpti_plugin_conf *conf)
{
	char path[PATH_MAX], **argv = NULL;
	int r;

	clear_env();
	if (coordinator.pid > 0 || (!conf->always && !ckpti_options_any()))
		return;
	if (conf->unknown)
		slurm_spank_log("srun: checkpoint: plugstack.conf: unknown argument '%s', ignoring",
				conf->unknown);
	if (!ckpti_options_any() && getenv("SLURM_HET_SIZE"))
		return; /* nobody asked; who did has been refused already */
	(void)snprintf(path, sizeof(path), "%s/ckpt-coordinator", conf->libexec);
	r = ckpti_start_argv(sp, conf, path, &argv);
	if (r == 0)
		r = start_coordinator(path, argv);
	ckpti_start_free(argv);
	if (r < 0) {
		slurm_spank_log("srun: checkpoint: cannot start %s: %s, "
				"the step runs without checkpoints",
				path, strerror(-r));
		return;
	}
	switch (await_answer()) {
	case READY:
		break;
	case WITHOUT:
		give_up();
		break;
	case REFUSED:
		/* srun that ends here would leave its step in the allocation for good; so it is launched,
		 * and its tasks end before they are the program. */
		give_up();
		(void)setenv(CKPTI_PLUGIN_REFUSED, "1", 1);
		break;
	}
}
