/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Masks, handlers and exec windows of src/wrap, and the constructor.  The oracle is the kernel, asked
 * by raw system calls and through /proc, and whether processes die.
 */
#include "wrap/signo.h"
#include "wrap/wrap.h"

#include "agent/agent.h"
#include "wrap_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define STORM_ROUNDS 400 /* of five ways each */
#define SET_ID       "0123456789abcdef"

static uint64_t bit(int sig)
{
	return 1ULL << (sig - 1);
}

static bool is_open(void)
{
	return !(t_kernel_mask() & bit(t_signo()));
}

static bool reads_blocked(int sig)
{
	sigset_t set;

	CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
	return sigismember(&set, sig) == 1;
}

/* ---- masks -------------------------------------------------------------------------------- */

static void test_masks_stay_open_and_read_back(void)
{
	sigset_t full, none, old;
	sigset_t *same = &full;

	(void)sigfillset(&full);
	(void)sigemptyset(&none);
	__asm__("" : "+r"(same)); /* hide from the compiler what must not be done, and is */
	CHECK(is_open() && !reads_blocked(t_signo()));
	CHECK(sigprocmask(SIG_SETMASK, &full, &old) == 0);
	CHECK(!sigismember(&old, t_signo()));
	CHECK(is_open() && reads_blocked(t_signo()));
	CHECK(t_kernel_mask() & bit(SIGUSR1));
	CHECK(sigprocmask(SIG_UNBLOCK, &full, same) == 0);
	CHECK(sigismember(&full, t_signo()) == 1);
	CHECK(is_open() && !reads_blocked(t_signo()));
	CHECK(pthread_sigmask(SIG_BLOCK, &full, NULL) == 0);
	CHECK(is_open() && reads_blocked(t_signo()));
	CHECK(pthread_sigmask(SIG_SETMASK, &none, &old) == 0);
	CHECK(sigismember(&old, t_signo()) == 1 && !reads_blocked(t_signo()));
	CHECK(pthread_sigmask(99, &full, NULL) == EINVAL && !reads_blocked(t_signo()));
	errno = 0;
	CHECK(sigprocmask(99, &full, NULL) == -1 && errno == EINVAL);
	CHECK(sighold(t_signo()) == 0 && is_open() && reads_blocked(t_signo()));
	CHECK(sigrelse(t_signo()) == 0 && is_open() && !reads_blocked(t_signo()));
	CHECK(sigset(t_signo(), SIG_HOLD) == SIG_DFL && is_open() && reads_blocked(t_signo()));
	CHECK(sigset(t_signo(), SIG_IGN) == SIG_HOLD && !reads_blocked(t_signo()));
	CHECK(sigset(t_signo(), SIG_DFL) == SIG_IGN);
	CHECK(sighold(SIGUSR2) == 0 && t_kernel_mask() & bit(SIGUSR2));
	CHECK(sigrelse(SIGUSR2) == 0 && !(t_kernel_mask() & bit(SIGUSR2)));
	CHECK(sighold(0) == -1 && sighold(9999) == -1);
}

static void *report_mask(void *arg)
{
	*(uint64_t *)arg = t_kernel_mask();
	return NULL;
}

static void test_thread_attribute_is_stripped(void)
{
	uint64_t mask = ~0ULL;
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t full;

	(void)sigfillset(&full);
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setsigmask_np(&attr, &full) == 0);
	CHECK(pthread_create(&thread, &attr, report_mask, &mask) == 0);
	(void)pthread_join(thread, NULL);
	(void)pthread_attr_destroy(&attr);
	CHECK(!(mask & bit(t_signo())) && mask & bit(SIGUSR1));
}

static void test_signalfd_does_not_steal(void)
{
	unsigned long long mask = ~0ULL;
	char path[64], line[256];
	sigset_t full;
	FILE *f;
	int fd;

	(void)sigfillset(&full);
	fd = signalfd(-1, &full, SFD_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	CHECK(f != NULL);
	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "sigmask: %llx", &mask);
	if (f)
		(void)fclose(f);
	(void)close(fd);
	CHECK(!(mask & bit(t_signo())) && mask & bit(SIGUSR1));
}

static void *usr1_soon(void *arg)
{
	struct timespec ts = {.tv_nsec = 100000000};

	(void)syscall(SYS_nanosleep, &ts, NULL);
	(void)syscall(SYS_tgkill, getpid(), *(int *)arg, SIGUSR1);
	return NULL;
}

static void test_sigwait_on_a_full_set_does_not_steal(void)
{
	int tid = (int)syscall(SYS_gettid), sig = 0;
	long entered = t_entered;
	sigset_t full, old;
	pthread_t thread;

	(void)sigfillset(&full);
	CHECK(sigprocmask(SIG_SETMASK, &full, &old) == 0);
	CHECK(pthread_create(&thread, NULL, usr1_soon, &tid) == 0);
	t_bomb_start(2000, false);
	CHECK(sigwait(&full, &sig) == 0 && sig == SIGUSR1);
	t_bomb_stop();
	CHECK(t_entered > entered + 5);
	(void)pthread_join(thread, NULL);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}

/* ---- handlers ----------------------------------------------------------------------------- */

static volatile int calls;
static volatile bool open_inside, usr1_inside;
static void *volatile last_info;

static void on_signal(int sig)
{
	(void)sig;
	calls++;
	open_inside = is_open();
	usr1_inside = !(t_kernel_mask() & bit(SIGUSR1));
}

static void on_info(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	on_signal(sig);
	last_info = si->si_signo == sig ? si : NULL;
}

static bool kernel_has_ours(void)
{
	void *handler;

	t_kernel_action(t_signo(), &handler, NULL);
	return t_is_ours(handler);
}

static void test_other_handlers_run_with_sigckpt_open(void)
{
	struct sigaction sa = {.sa_handler = on_signal}, old;
	uint64_t mask;

	(void)sigfillset(&sa.sa_mask);
	CHECK(sigaction(SIGUSR2, &sa, NULL) == 0);
	t_kernel_action(SIGUSR2, NULL, &mask);
	CHECK(!(mask & bit(t_signo())) && mask & bit(SIGUSR1));
	CHECK(sigaction(SIGUSR2, NULL, &old) == 0 && sigismember(&old.sa_mask, t_signo()) == 1);
	calls = 0;
	(void)raise(SIGUSR2);
	CHECK(calls == 1 && open_inside && !usr1_inside);
	(void)sigemptyset(&sa.sa_mask);
	CHECK(sigaction(SIGUSR2, &sa, &old) == 0 && sigismember(&old.sa_mask, t_signo()) == 1);
	CHECK(sigaction(SIGUSR2, NULL, &old) == 0 && sigismember(&old.sa_mask, t_signo()) == 0);
	CHECK(signal(SIGUSR2, SIG_DFL) == on_signal);
	CHECK(sigaction(9999, &sa, NULL) == -1 && sigaction(SIGKILL, &sa, NULL) == -1);
}

static void test_own_handler_is_remembered_and_called(void)
{
	struct sigaction sa = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO}, old;

	(void)sigaddset(&sa.sa_mask, SIGUSR1);
	calls = 0;
	(void)kill(getpid(), t_signo()); /* ignored by default */
	CHECK(sigaction(t_signo(), &sa, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(kernel_has_ours());
	CHECK(sigaction(t_signo(), NULL, &old) == 0 && old.sa_sigaction == on_info);
	CHECK(ckpti_wrap_app_action(t_signo())->sa_sigaction == on_info);
	CHECK(ckpti_wrap_app_action(SIGUSR1) == NULL);
	CHECK(calls == 0);
	(void)kill(getpid(), t_signo());
	CHECK(calls == 1 && last_info && !usr1_inside && is_open());

	CHECK(signal(t_signo(), on_signal) == (void (*)(int))(uintptr_t)on_info);
	(void)raise(t_signo());
	(void)raise(t_signo());
	CHECK(calls == 3 && usr1_inside);
	CHECK(siginterrupt(t_signo(), 1) == 0 && kernel_has_ours());
	CHECK(sigaction(t_signo(), NULL, &old) == 0 && !(old.sa_flags & SA_RESTART));
	CHECK(sysv_signal(t_signo(), on_signal) == on_signal);
	(void)raise(t_signo());
	(void)raise(t_signo());
	CHECK(calls == 4); /* reset after the first */
	CHECK(sigignore(t_signo()) == 0 && ssignal(t_signo(), SIG_DFL) == SIG_IGN);
	CHECK(signal(t_signo(), SIG_ERR) == SIG_ERR);
	CHECK(kernel_has_ours());
}

/* ---- exec --------------------------------------------------------------------------------- */

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return status;
}

static int spawn(pid_t *pid, const char *file, bool set_mask, bool search, const char *script)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL};
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, set_mask ? POSIX_SPAWN_SETSIGMASK : 0);
	r = (search ? posix_spawnp : posix_spawn)(pid, file, NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return r;
}

/* Each way of exec, in a child; the new program sees its arguments and its environment. */
static void exec_some_way(int way)
{
	static const char script[] = "test \"$0$1\" = ab && test \"$T_WRAP\" = yes";
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script,
			(char *)"a",  (char *)"b",  NULL};
	char *envp[] = {(char *)"T_WRAP=yes", NULL};

	(void)setenv("T_WRAP", "yes", 1);
	switch (way) {
	case 0:
		(void)execl("/bin/sh", "sh", "-c", script, "a", "b", (char *)NULL);
		break;
	case 1:
		(void)execlp("sh", "sh", "-c", script, "a", "b", (char *)NULL);
		break;
	case 2:
		(void)unsetenv("T_WRAP");
		(void)execle("/bin/sh", "sh", "-c", script, "a", "b", (char *)NULL, envp);
		break;
	case 3:
		(void)execv("/bin/sh", argv);
		break;
	case 4:
		(void)execvp("sh", argv);
		break;
	case 5:
		(void)unsetenv("T_WRAP");
		(void)execvpe("sh", argv, envp);
		break;
	case 6:
		(void)execve("/bin/sh", argv, envp);
		break;
	case 7:
		(void)fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), argv, envp);
		break;
	case 8:
		(void)execveat(AT_FDCWD, "/bin/sh", argv, envp, 0);
		break;
	default:
		break;
	}
	_exit(99);
}

static void test_exec_hands_arguments_over(void)
{
	for (int way = 0; way < 9; way++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			exec_some_way(way);
		status = wait_for(pid);
		if (status != 0) {
			fprintf(stderr, "way %d of exec: status %#x\n", way, (unsigned int)status);
			t_failures++;
		}
	}
}

static void test_failed_exec_opens_again(void)
{
	CHECK(execl("/nonexistent", "x", (char *)NULL) == -1 && errno == ENOENT && is_open());
	CHECK(execlp("nonexistent", "x", (char *)NULL) == -1 && errno == ENOENT && is_open());
	CHECK(spawn(NULL, "/nonexistent", false, false, "") == ENOENT && is_open());
}

/* Send SIGCKPT to a program without agent that pid has become; what does it die of? */
static int signal_sleeper(pid_t pid, int exec_fd)
{
	int status;
	char c;

	(void)!read(exec_fd, &c, 1); /* end of file: closed by the exec */
	(void)close(exec_fd);
	(void)kill(pid, t_signo());
	(void)usleep(20000);
	(void)kill(pid, SIGTERM);
	status = wait_for(pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

static int sleeper(bool raw)
{
	char *argv[] = {(char *)"sleep", (char *)"20", NULL};
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		if (raw)
			(void)syscall(SYS_execve, "/bin/sleep", argv, environ);
		else
			(void)execv("/bin/sleep", argv);
		_exit(99);
	}
	(void)close(fd[1]);
	return signal_sleeper(pid, fd[0]);
}

static void test_sigckpt_is_closed_across_exec(void)
{
	CHECK(sleeper(true) == t_signo()); /* so does one that we did not wrap */
	CHECK(sleeper(false) == SIGTERM);
	for (int way = 0; way < 4; way++) {
		bool search = way & 2;
		int fd[2];
		pid_t pid;

		CHECK(pipe2(fd, O_CLOEXEC) == 0);
		CHECK(spawn(&pid, search ? "sh" : "/bin/sh", way & 1, search, "exec sleep 20") ==
		      0);
		(void)close(fd[1]);
		CHECK(signal_sleeper(pid, fd[0]) == SIGTERM);
		CHECK(is_open());
	}
}

static void *run_system(void *arg)
{
	*(int *)arg = system("sleep 0.1; exit 4");
	return NULL;
}

static void *run_cancelled(void *arg)
{
	(void)arg;
	(void)system("exec sleep 20");
	return NULL;
}

static void test_system(void)
{
	long entered = t_entered;
	int status = 0;
	pthread_t thread;
	void *handler, *value;

	CHECK(system(NULL) == 1);
	CHECK(system("exit 3") == W_EXITCODE(3, 0));
	CHECK(system("kill -KILL $$") == W_EXITCODE(0, SIGKILL));
	/* The caller ignores SIGINT meanwhile, the command does not. */
	CHECK(system("kill -INT $PPID; kill -QUIT $PPID") == 0);
	CHECK(system("kill -INT $$") == W_EXITCODE(0, SIGINT));
	CHECK(pthread_create(&thread, NULL, run_system, &status) == 0);
	t_bomb_start(2000, false); /* dash opens all signals when it waits */
	CHECK(system("sleep 0.2") == 0);
	t_bomb_stop();
	CHECK(t_entered > entered + 20); /* open while it waits */
	(void)pthread_join(thread, NULL);
	CHECK(status == W_EXITCODE(4, 0));
	t_kernel_action(SIGINT, &handler, NULL);
	CHECK(handler == (void *)SIG_DFL);

	CHECK(pthread_create(&thread, NULL, run_cancelled, NULL) == 0);
	(void)usleep(50000);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &value) == 0 && value == PTHREAD_CANCELED);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	t_kernel_action(SIGQUIT, &handler, NULL);
	CHECK(handler == (void *)SIG_DFL && is_open());
	CHECK(!(t_kernel_mask() & bit(SIGCHLD)));
}

static int run_popen(void)
{
	FILE *f = popen("echo hello", "re");
	char line[16] = "";

	if (!f || !fgets(line, sizeof(line), f) || strcmp(line, "hello\n") != 0)
		return -1;
	return pclose(f);
}

static void test_popen_and_wordexp(void)
{
	wordexp_t words;

	CHECK(run_popen() == 0 && is_open());
	CHECK(wordexp("a $(echo b)", &words, 0) == 0);
	CHECK(words.we_wordc == 2 && strcmp(words.we_wordv[1], "b") == 0 && is_open());
	wordfree(&words);
}

/* ---- the storm ---------------------------------------------------------------------------- */

static pid_t fork_true(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(99);
	}
	return pid;
}

static pid_t vfork_true(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		(void)execlp("true", "true", (char *)NULL);
		_exit(99);
	}
	return pid;
}

/* Programs without agent are started in all ways, while they and we are signalled all the time. */
static void test_storm(void)
{
	int deaths = 0, other = 0;
	long entered = t_entered;

	t_bomb_start(300, true);
	for (int i = 0; i < STORM_ROUNDS; i++) {
		int status[5];
		pid_t pid;

		status[0] = wait_for(fork_true());
		status[1] = wait_for(vfork_true());
		if (spawn(&pid, "/bin/sh", i & 1, i & 2, "exec true") != 0)
			abort();
		status[2] = wait_for(pid);
		status[3] = system("exec true");
		status[4] = run_popen();
		for (int way = 0; way < 5; way++) {
			if (WIFSIGNALED(status[way]))
				deaths++;
			else if (status[way])
				other++;
		}
	}
	t_bomb_stop();
	printf("storm: %d programs, %ld signals to us, %d deaths, %d failures\n", STORM_ROUNDS * 5,
	       t_entered - entered, deaths, other);
	CHECK(deaths == 0 && other == 0);
	CHECK(t_entered - entered > STORM_ROUNDS);
}

/* ---- the constructor, in programs started anew -------------------------------------------- */

static int rerun(const char *what, const char *variable)
{
	char *argv[] = {(char *)"test", (char *)(uintptr_t)what, NULL};
	char *envp[] = {(char *)"CKPT_SET=" SET_ID, (char *)(uintptr_t)variable, NULL};
	pid_t pid = fork();

	if (pid == 0) {
		(void)execve("/proc/self/exe", argv, envp);
		_exit(99);
	}
	return wait_for(pid);
}

/* Returns the exit status of such a program. */
static int constructor_is_right(const char *what)
{
	const int preset = SIGRTMAX - 2;
	void *handler;

	if (strcmp(what, "disabled") == 0) {
		t_kernel_action(preset, &handler, NULL);
		return ckpti_agent.host.signo || ckpti_agent.set_id || handler;
	}
	t_kernel_action(t_signo(), &handler, NULL);
	if (!t_is_ours(handler) || !is_open())
		return 1; /* we were started by an exec that closed it */
	if (ckpti_agent.set_id != strtoull(SET_ID, NULL, 16))
		return 2;
	if (!ckpti_agent.host.foreign || !ckpti_agent.host.interrupted ||
	    !ckpti_agent.host.rseq_size || !ckpti_agent.host.rseq_offset)
		return 3;
	if (strcmp(what, "numbers") == 0)
		return t_signo() != 50 || ckpti_signo_checkpoint() != 50 ||
		       ckpti_signo_restart() != 51;
	if (strcmp(what, "one-number") == 0)
		return t_signo() != SIGRTMAX - 3 || ckpti_signo_restart() != SIGRTMAX - 2;
	return t_signo() != preset || ckpti_signo_restart() != preset - 1;
}

static void test_constructor(void)
{
	char one[32];

	(void)snprintf(one, sizeof(one), "CKPT_SIGNO=%d", SIGRTMAX - 3);
	CHECK(rerun("plain", NULL) == 0);
	CHECK(rerun("plain", "CKPT_DISABLE=0") == 0);
	CHECK(rerun("disabled", "CKPT_DISABLE=1") == 0);
	CHECK(rerun("numbers", "CKPT_SIGNO=50,51") == 0);
	CHECK(rerun("one-number", one) == 0);
	CHECK(rerun("plain", "CKPT_SIGNO=9") == 0);
	CHECK(rerun("plain", "CKPT_SIGNO=50,50") == 0);
	CHECK(rerun("plain", "CKPT_SIGNO=50x") == 0);
	CHECK(rerun("plain", "CKPT_SIGNO=") == 0);
	CHECK(rerun("plain", "CKPT_SIGNO=99999999999") == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return constructor_is_right(argv[1]);
	if (!t_signo()) {
		fprintf(stderr, "the constructor has not started the agent\n");
		return 1;
	}
	test_constructor();
	test_masks_stay_open_and_read_back();
	test_thread_attribute_is_stripped();
	test_signalfd_does_not_steal();
	test_sigwait_on_a_full_set_does_not_steal();
	test_other_handlers_run_with_sigckpt_open();
	test_own_handler_is_remembered_and_called();
	test_exec_hands_arguments_over();
	test_failed_exec_opens_again();
	test_sigckpt_is_closed_across_exec();
	test_system();
	test_popen_and_wordexp();
	test_storm();
	printf("%d failures\n", t_failures);
	return t_failures ? 1 : 0;
}
