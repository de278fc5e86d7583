/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The coordinator, as the plugin has it in srun: what is written on its descriptors 3 and 4 is said
 * there (plugin/srun.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/batch/batch.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"
#include "spank/plugin/plugin.h"

#define START_TIMEOUT_MS 10000U
#define END_TIMEOUT_MS   10000U
#define KILL_TIMEOUT_MS  1000U
#define MAX_WAIT_S       86400UL
#define MAX_ARGS         64
#define PREFIX           "SLURM_CKPT_"

static struct {
	pid_t pid;
	int status_fd, life_fd;
	FILE *lines;
} coordinator = {.status_fd = -1, .life_fd = -1};

/* ---- its command line --------------------------------------------------------------------- */

struct args {
	char *v[MAX_ARGS];
	size_t n;
};

static void add(struct args *a, const char *option, const char *value)
{
	if (!value || a->n + 3 >= MAX_ARGS)
		return;
	a->v[a->n++] = (char *)(uintptr_t)option;
	if (*value)
		a->v[a->n++] = (char *)(uintptr_t)value;
	a->v[a->n] = NULL;
}

static void add_interval(struct args *a, char number[24])
{
	const char *text = ckpti_batch_option(CKPTI_BATCH_INTERVAL);
	uint64_t seconds;

	if (!text || ckpti_interval_parse(text, &seconds) < 0)
		return;
	if (seconds == CKPTI_INTERVAL_NONE)
		(void)snprintf(number, 24, "none");
	else if (seconds == CKPTI_INTERVAL_AUTO)
		(void)snprintf(number, 24, "auto");
	else
		(void)snprintf(number, 24, "%" PRIu64, seconds);
	add(a, "--interval", number);
}

static void execute(const struct ckpti_batch *b)
{
	char path[PATH_MAX + 32], cwd[PATH_MAX], job[16], interval[24], **argv;
	struct args a = {.n = 0};
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/ckpt-coordinator", b->libexec);
	(void)snprintf(job, sizeof(job), "%" PRIu32, b->job);
	if (!getcwd(cwd, sizeof(cwd)))
		return;
	add(&a, path, "");
	add(&a, "--job", job);
	add(&a, "--step", "batch");
	add_interval(&a, interval);
	add(&a, "--dir", ckpti_batch_option(CKPTI_BATCH_DIR));
	add(&a, "--restart-dir", ckpti_batch_option(CKPTI_BATCH_RESTART_DIR));
	add(&a, "--keep", ckpti_batch_option(CKPTI_BATCH_KEEP));
	add(&a, "--fresh", ckpti_batch_option(CKPTI_BATCH_FRESH) ? "" : NULL);
	add(&a, "--skip-done", ckpti_batch_option(CKPTI_BATCH_SKIP_DONE) ? "" : NULL);
	add(&a, "--cwd", cwd);
	add(&a, "--ntasks", "1");
	add(&a, "--config", b->config);
	add(&a, "--bindir", b->bindir);
	add(&a, "--status-fd", "3");
	add(&a, "--life-fd", "4");
	add(&a, "--quiet", b->quiet ? "" : NULL);
	add(&a, "--", "");
	while (b->command[n])
		n++;
	argv = calloc(a.n + n + 1, sizeof(*argv));
	if (!argv)
		return;
	memcpy(argv, a.v, a.n * sizeof(*argv));
	memcpy(argv + a.n, b->command, n * sizeof(*argv));
	(void)execv(path, argv);
	free(argv);
}

/* Descriptors in the child: nothing on 0 and 1, our stderr, status on 3, life on 4; it closes the rest. */
static void be_coordinator(const struct ckpti_batch *b, int status, int life)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	status = fcntl(status, F_DUPFD_CLOEXEC, 10);
	life = fcntl(life, F_DUPFD_CLOEXEC, 10);
	if (null >= 0 && status >= 0 && life >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
	    dup2(status, 3) >= 0 && dup2(life, 4) >= 0)
		execute(b);
	(void)dprintf(status,
		      "error cannot start %s/ckpt-coordinator: %s, the program runs without "
		      "checkpoints\n",
		      b->libexec, strerror(errno));
	_exit(1);
}

static int start(const struct ckpti_batch *b)
{
	int status[2], life[2];

	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) < 0)
		return -errno;
	coordinator.pid = fork();
	if (coordinator.pid == 0)
		be_coordinator(b, status[1], life[1]);
	if (coordinator.pid < 0)
		return -errno;
	(void)close(status[1]);
	(void)close(life[1]);
	coordinator.status_fd = status[0];
	coordinator.life_fd = life[0];
	coordinator.lines = fdopen(status[0], "r");
	/* So that poll() tells when there is something to read. */
	if (coordinator.lines)
		(void)setvbuf(coordinator.lines, NULL, _IONBF, 0);
	return coordinator.lines ? 0 : -ENOMEM;
}

/* ---- what it says ------------------------------------------------------------------------- */

/* 1: a line; 0: it has ended; -ETIMEDOUT. */
static int next_line(uint64_t deadline, char *ret, size_t size)
{
	struct pollfd p = {.fd = coordinator.status_fd, .events = POLLIN};
	uint64_t now;
	int r;

	do {
		now = ckpti_clock_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)(deadline - now));
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return -ETIMEDOUT;
	/* Whole lines are written at once. */
	if (!fgets(ret, (int)size, coordinator.lines))
		return 0;
	ret[strcspn(ret, "\n")] = '\0';
	return 1;
}

static char *after(char *line, const char *word)
{
	size_t len = strlen(word);

	return strncmp(line, word, len) == 0 && line[len] == ' ' ? line + len + 1 : NULL;
}

void ckpti_batch_clear_env(void)
{
	char name[128];

	/* Each removal moves the others. */
	for (char **e = environ; e && *e;) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, PREFIX, sizeof(PREFIX) - 1) != 0 || len >= sizeof(name)) {
			e++;
			continue;
		}
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, *e);
		if (unsetenv(name) < 0)
			return;
		e = environ;
	}
}

static void take_env(char *pair)
{
	char *value = strchr(pair, '=');

	if (!value || strncmp(pair, PREFIX, sizeof(PREFIX) - 1) != 0)
		return;
	*value++ = '\0';
	(void)setenv(pair, value, 1);
}

static uint64_t wait_longer(char *rest)
{
	char *text;
	unsigned long seconds = strtoul(rest, &text, 10);

	text += strspn(text, " ");
	if (*text)
		(void)fprintf(stderr, "checkpoint: %s\n", text);
	if (seconds > MAX_WAIT_S)
		seconds = MAX_WAIT_S;
	return ckpti_clock_ms() + seconds * 1000 + START_TIMEOUT_MS;
}

static enum ckpti_batch_answer read_answer(const struct ckpti_batch *b)
{
	uint64_t deadline = ckpti_clock_ms() + START_TIMEOUT_MS;
	char line[PATH_MAX + 256], *rest;
	bool without;
	int r;

	while ((r = next_line(deadline, line, sizeof(line))) == 1) {
		if (strcmp(line, "ready") == 0)
			return CKPTI_BATCH_READY;
		if ((rest = after(line, "env"))) {
			take_env(rest);
		} else if ((rest = after(line, "wait"))) {
			deadline = wait_longer(rest);
		} else if ((rest = after(line, "error"))) {
			(void)fprintf(stderr, "cpr: checkpoint: %s\n", rest);
			return CKPTI_BATCH_WITHOUT;
		} else if ((rest = after(line, "refuse"))) {
			(void)fprintf(stderr, "cpr: checkpoint: %s\n", rest);
			return CKPTI_BATCH_REFUSED;
		}
	}
	/* In a later life of the job it must not begin anew, only because nobody can tell. */
	without = b->restarts == 0 || ckpti_batch_option(CKPTI_BATCH_FRESH);
	(void)fprintf(stderr, "cpr: checkpoint: the coordinator %s, %s\n",
		      r == 0 ? "has ended before the program began" : "was not ready in time",
		      without ? "the program runs without checkpoints"
			      : "and the program might have to be restarted");
	return without ? CKPTI_BATCH_WITHOUT : CKPTI_BATCH_REFUSED;
}

static bool has_ended_by(uint64_t deadline)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	pid_t r;

	while ((r = waitpid(coordinator.pid, NULL, WNOHANG)) == 0 && ckpti_clock_ms() < deadline)
		(void)nanosleep(&pause, NULL);
	return r != 0;
}

/* It is given until the deadline, then it is killed; one that hangs in the file system is not even ended by
 * that, and is left alone. */
static void reap(uint64_t deadline)
{
	if (has_ended_by(deadline))
		return;
	(void)kill(coordinator.pid, SIGKILL);
	(void)has_ended_by(ckpti_clock_ms() + KILL_TIMEOUT_MS);
}

/* ---- start and end ------------------------------------------------------------------------ */

/* A job has one name, JOB.batch, for what runs in its script. */
static bool another_runs(const struct ckpti_batch *b)
{
	struct ckpti_slurm_conf conf;
	struct ckpti_kv kv;
	bool runs = false;

	ckpti_kv_init(&kv);
	if (ckpti_slurm_conf(&conf, NULL) == 0 &&
	    ckpti_registry_read(conf.cluster, b->job, "batch", &kv, NULL) == 0) {
		pid_t pid = (pid_t)ckpti_kv_get_i64(&kv, "pid", 0);

		/* What an earlier life has left may be on another node. */
		runs = ckpti_kv_get_u64(&kv, "lives", 0) == b->restarts && pid > 1 &&
		       kill(pid, 0) == 0;
	}
	ckpti_kv_free(&kv);
	return runs;
}

enum ckpti_batch_answer ckpti_batch_coordinate(const struct ckpti_batch *b)
{
	enum ckpti_batch_answer answer;
	int r;

	if (another_runs(b)) {
		(void)fprintf(stderr, "cpr: checkpoint: another `cpr run` of this script is being "
				      "checkpointed, this one is not; srun makes steps of both\n");
		return CKPTI_BATCH_WITHOUT;
	}
	ckpti_batch_clear_env();
	r = start(b);
	if (r < 0) {
		(void)fprintf(stderr,
			      "cpr: checkpoint: cannot start %s/ckpt-coordinator: %s, "
			      "the program runs without checkpoints\n",
			      b->libexec, strerror(-r));
		return CKPTI_BATCH_WITHOUT;
	}
	answer = read_answer(b);
	if (answer != CKPTI_BATCH_READY) {
		(void)close(coordinator.life_fd);
		reap(ckpti_clock_ms() + 1000);
		(void)fclose(coordinator.lines);
	}
	return answer;
}

void ckpti_batch_coordinate_end(void)
{
	uint64_t deadline = ckpti_clock_ms() + END_TIMEOUT_MS;
	char line[PATH_MAX + 256], last[512] = "", *rest;
	int r;

	/* It may have died long ago: no SIGPIPE. */
	(void)send(coordinator.life_fd, "exit\n", 5, MSG_NOSIGNAL);
	(void)close(coordinator.life_fd);
	while ((r = next_line(deadline, line, sizeof(line))) == 1) {
		rest = after(line, "block");
		if (rest)
			(void)snprintf(last, sizeof(last), "%s", rest);
	}
	reap(r == 0 ? ckpti_clock_ms() + 1000 : deadline);
	(void)fclose(coordinator.lines);
	/* Whatever became of it then: the program was vacated. */
	if (last[0])
		ckpti_vacated_block(last);
}
