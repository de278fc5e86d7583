/* SPDX-License-Identifier: BSD-3-Clause */
#include "api_fake.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "util/result.h"
#include "wrap/signo.h"
#include "wrap/wrap.h"

struct ckpti_agent ckpti_agent = {.magic = CKPTI_AGENT_MAGIC, .own_fd = {-1, -1, -1, -1}};

uint64_t fake_nonce;
int fake_veto;
int fake_foreign_calls;
static unsigned prepared;

/* ---- agent and wrappers ------------------------------------------------------------------- */

int ckpti_agent_prepared(uint64_t nonce, int veto)
{
	fake_nonce = nonce;
	fake_veto = veto;
	__atomic_add_fetch(&prepared, 1, __ATOMIC_SEQ_CST);
	return 0;
}

void ckpti_wrap_foreign(int sig, void *si, void *uc)
{
	(void)sig;
	(void)si;
	(void)uc;
	fake_foreign_calls++;
}

int ckpti_signo_checkpoint(void)
{
	return SIGRTMAX - 2;
}

int ckpti_signo_restart(void)
{
	return SIGRTMAX - 3;
}

bool fake_wait_prepared(unsigned n)
{
	for (int i = 0; i < 2000; i++) {
		if (__atomic_load_n(&prepared, __ATOMIC_SEQ_CST) >= n)
			return true;
		(void)usleep(1000);
	}
	return false;
}

static void bump(uint32_t *word)
{
	__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void fake_prepare(uint64_t nonce)
{
	ckpti_agent.prepare_nonce = nonce;
	bump(&ckpti_agent.prepare_seq);
}

void fake_end(uint64_t generation)
{
	__atomic_store_n(&ckpti_agent.generation, generation, __ATOMIC_SEQ_CST);
	bump(&ckpti_agent.event_seq);
}

void fake_new_life(void)
{
	bump(&ckpti_agent.restarts);
	bump(&ckpti_agent.event_seq);
}

int fake_own_fds(void)
{
	int n = 0;

	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++)
		n += ckpti_agent.own_fd[i] != -1;
	return n;
}

/* ---- cpr ---------------------------------------------------------------------------------- */

void fake_cpr_use(const char *how)
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		abort();
	(void)setenv("CKPT_CPR", self, 1);
	(void)setenv("FAKE_CPR", how, 1);
}

static void write_log(int argc, char **argv)
{
	FILE *f = fopen(getenv("FAKE_LOG"), "we");
	sigset_t mask;
	struct dirent *e;
	DIR *d = opendir("/proc/self/fd");

	if (!f || !d)
		exit(1);
	(void)fprintf(f, "args");
	for (int i = 1; i < argc; i++)
		(void)fprintf(f, " %s", argv[i]);
	(void)fprintf(f, "\npreload %d set %d\n", getenv("LD_PRELOAD") != NULL,
		      getenv("CKPT_SET") != NULL);
	(void)fprintf(f, "leader %d\n", getsid(0) == getpid());
	(void)fprintf(f, "fds");
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d) && fd != fileno(f))
			(void)fprintf(f, " %d", fd);
	}
	(void)sigprocmask(SIG_BLOCK, NULL, &mask);
	(void)fprintf(f, "\nblocked %d\n", sigismember(&mask, SIGTERM));
	(void)closedir(d);
	(void)fclose(f);
}

void fake_cpr_main(int argc, char **argv)
{
	struct ckpti_result res = {
		.magic = CKPTI_RESULT_MAGIC, .size = sizeof(res), .generation = 7};
	const char *how = getenv("FAKE_CPR");
	bool is_restart = false;

	if (argc < 2 || strcmp(argv[1], "--api-result") != 0)
		return;
	for (int i = 2; i < argc; i++)
		is_restart |= strcmp(argv[i], "-r") == 0;
	if (!how || strcmp(how, "die") == 0)
		exit(1);
	if (strcmp(how, "log") == 0)
		write_log(argc, argv);
	if (strcmp(how, "slow") == 0)
		(void)usleep(400000);
	if (how[0] == 'E') {
		res.error = -atoi(how + 1);
		res.pid = 99;
		(void)snprintf(res.object, sizeof(res.object), "thing");
		(void)snprintf(res.text, sizeof(res.text), "the thing cannot be saved");
	} else if (is_restart) {
		res.root_pid = 4711;
	}
	if (pwrite(CKPTI_RESULT_FD, &res, sizeof(res), 0) != (ssize_t)sizeof(res))
		exit(1);
	if (is_restart) {
		if (write(CKPTI_READY_FD, "", 1) != 1)
			exit(1);
		(void)close(CKPTI_READY_FD);
		exit(how[0] == 'E' ? 1 : 5);
	}
	exit(0);
}
