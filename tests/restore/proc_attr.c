/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What belongs to a process beside its memory and its files: directory, umask, limits, priority,
 * command line, environment, name, executable, credentials, prctl settings.  Two processes, because
 * each has its own.
 */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "proc.h"

#define GROUPS_MAX 64

struct attrs {
	char cwd[PATH_MAX], exe[PATH_MAX], root[PATH_MAX];
	char cmdline[512], environ[8192], comm[32], oom[16], caps[512];
	size_t ncmdline, nenviron;
	mode_t umask;
	int nice, subreaper, pdeathsig, nnp, keepcaps, dumpable, ngroups, securebits;
	uid_t uid[3];
	gid_t gid[3], group[GROUPS_MAX];
	struct rlimit limit[RLIM_NLIMITS];
};

static void link_of(const char *name, char out[PATH_MAX])
{
	ssize_t n = readlink(name, out, PATH_MAX - 1);

	t_check(n > 0, "readlink %s: %m", name);
	out[n] = 0;
}

/* The lines of capability sets, but not the bounding set: a private user namespace has its own. */
static void caps_of(char *out, size_t size)
{
	static char text[8192];
	size_t n = t_read_file("/proc/self/status", text, sizeof(text) - 1);

	text[n] = 0;
	out[0] = 0;
	for (char *p = strtok(text, "\n"); p; p = strtok(NULL, "\n"))
		if (strncmp(p, "Cap", 3) == 0 && strncmp(p, "CapBnd", 6) != 0)
			(void)snprintf(out + strlen(out), size - strlen(out), "%s ", p);
}

static void look(struct attrs *a)
{
	memset(a, 0, sizeof(*a));
	t_check(getcwd(a->cwd, sizeof(a->cwd)), "getcwd: %m");
	link_of("/proc/self/exe", a->exe);
	link_of("/proc/self/root", a->root);
	a->ncmdline = t_read_file("/proc/self/cmdline", a->cmdline, sizeof(a->cmdline));
	a->nenviron = t_read_file("/proc/self/environ", a->environ, sizeof(a->environ));
	(void)t_read_file("/proc/self/comm", a->comm, sizeof(a->comm) - 1);
	(void)t_read_file("/proc/self/oom_score_adj", a->oom, sizeof(a->oom) - 1);
	caps_of(a->caps, sizeof(a->caps));
	a->umask = umask(0);
	(void)umask(a->umask);
	a->nice = getpriority(PRIO_PROCESS, 0);
	t_sys(prctl(PR_GET_CHILD_SUBREAPER, &a->subreaper));
	t_sys(prctl(PR_GET_PDEATHSIG, &a->pdeathsig));
	a->nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	a->keepcaps = prctl(PR_GET_KEEPCAPS);
	a->dumpable = prctl(PR_GET_DUMPABLE);
	a->securebits = prctl(PR_GET_SECUREBITS);
	t_sys(getresuid(&a->uid[0], &a->uid[1], &a->uid[2]));
	t_sys(getresgid(&a->gid[0], &a->gid[1], &a->gid[2]));
	a->ngroups = t_sys(getgroups(GROUPS_MAX, a->group));
	for (int i = 0; i < RLIM_NLIMITS; i++)
		t_sys(getrlimit((enum __rlimit_resource)i, &a->limit[i]));
}

#define SAME(field, fmt)                                                                           \
	t_check(then->field == now.field, "%s: " #field " was " fmt ", is " fmt, who, then->field, \
		now.field)
#define SAME_TEXT(field)                                                                  \
	t_check(strcmp(then->field, now.field) == 0, "%s: " #field " was %s, is %s", who, \
		then->field, now.field)

static void compare(const struct attrs *then, const char *who)
{
	struct attrs now;

	look(&now);
	SAME_TEXT(cwd);
	SAME_TEXT(exe);
	SAME_TEXT(root);
	SAME_TEXT(comm);
	SAME_TEXT(oom);
	SAME_TEXT(caps);
	SAME(ncmdline, "%zu");
	SAME(nenviron, "%zu");
	t_check(memcmp(then->cmdline, now.cmdline, then->ncmdline) == 0, "%s: cmdline", who);
	t_check(memcmp(then->environ, now.environ, then->nenviron) == 0, "%s: environ", who);
	SAME(umask, "%o");
	SAME(nice, "%d");
	SAME(subreaper, "%d");
	SAME(pdeathsig, "%d");
	SAME(nnp, "%d");
	SAME(keepcaps, "%d");
	SAME(dumpable, "%d");
	SAME(ngroups, "%d");
	SAME(securebits, "%d");
	t_check(memcmp(then->uid, now.uid, sizeof(now.uid)) == 0, "%s: uids", who);
	t_check(memcmp(then->gid, now.gid, sizeof(now.gid)) == 0, "%s: gids", who);
	t_check(memcmp(then->group, now.group, sizeof(now.group)) == 0, "%s: groups", who);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		t_check(then->limit[i].rlim_cur == now.limit[i].rlim_cur &&
				then->limit[i].rlim_max == now.limit[i].rlim_max,
			"%s: limit %d was %lu of %lu, is %lu of %lu", who, i,
			then->limit[i].rlim_cur, then->limit[i].rlim_max, now.limit[i].rlim_cur,
			now.limit[i].rlim_max);
}

static void limit(enum __rlimit_resource what, rlim_t cur, rlim_t max)
{
	struct rlimit lim = {cur, max};

	t_check(setrlimit(what, &lim) == 0, "setrlimit %d: %m", (int)what);
}

static void set_up_child(void)
{
	t_sys(mkdir("below", 0700));
	t_sys(chdir("below"));
	(void)umask(0007);
	t_sys(setpriority(PRIO_PROCESS, 0, 17));
	limit(RLIMIT_NOFILE, 333, 444);
	t_sys(prctl(PR_SET_NAME, "a (bad) name"));
	t_sys(prctl(PR_SET_PDEATHSIG, SIGUSR2));
	t_sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	t_sys(setenv("T_CHILD", "yes", 1));
}

static void set_up_root(char **argv)
{
	(void)umask(0027);
	t_sys(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 3));
	limit(RLIMIT_CORE, 0, 4096);
	limit(RLIMIT_STACK, 3 << 20, 16 << 20);
	limit(RLIMIT_NPROC, 3000, 4000);
	t_sys(prctl(PR_SET_CHILD_SUBREAPER, 1));
	t_sys(prctl(PR_SET_NAME, "t-renamed"));
	t_sys(setenv("T_TOKEN", "of this life", 1));
	argv[1][0] = 'X'; /* as programs do that show their state in ps */
	t_write_file("/proc/self/oom_score_adj", "77", 2);
}

static void child(void)
{
	struct attrs then;

	set_up_child();
	look(&then);
	p_live_through(0, 0);
	compare(&then, "child");
	t_check(strcmp(getenv("T_CHILD"), "yes") == 0, "the child's environment");
	t_check(getenv("T_TOKEN"), "the environment from the parent");
	/* As a subreaper the root gets our child when we end. */
	if (t_sys(fork()) == 0) {
		while (getppid() == p_board->m[0].ids.pid)
			(void)usleep(1000);
		_exit(getppid() == p_board->m[0].ids.ppid ? 55 : 56);
	}
	_exit(p_status(0));
}

int main(int argc, char **argv)
{
	struct attrs then;
	int pid, status;

	t_start();
	p_start();
	t_check(argc == 3, "two arguments are needed");
	set_up_root(argv);
	pid = t_sys(fork());
	if (pid == 0)
		child();
	p_all_ready(1);
	look(&then);
	t_ready();
	compare(&then, "root");
	t_check(strcmp(getenv("T_TOKEN"), "of this life") == 0, "the environment");
	t_check(argv[1][0] == 'X' && strcmp(argv[2], "second argument") == 0, "the arguments");
	p_go();
	p_reap(pid, p_status(0));
	t_check(wait(&status) > 0 && WIFEXITED(status), "no orphan came to the subreaper");
	t_check(WEXITSTATUS(status) == 55, "an orphan came to somebody else");
	t_done();
}
