/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: refusals root|user GROUP        GROUP: descriptors, sockets, memory, processes
 *        refusals --doc FILE
 *
 * Everything that cannot be saved is refused at the checkpoint, by name, and the program is unharmed:
 * for each row of the group a program makes the object, `cpr -c` must fail with the row's text and
 * status, and the program must find its object, its descriptors and its mappings as they were.
 * As `user`, all that is done as a plain user, and rows that need privileges are left out.
 *
 * --doc compares the rows with the tables in docs/limits.md: both list the same, in the same order;
 * and every kind of descriptor that is saved is in the table of those.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "fd.h"
#include "refused.h"
#include "state/state.h"

#define PLAIN_USER 1000
#define LIMIT_MS   20000

const char *outside_unix;
int outside_port;

static const struct table {
	const char *name;
	const struct refused *rows;
} groups[] = {
	{"descriptors", refused_descriptors},
	{"sockets", refused_sockets},
	{"memory", refused_memory},
	{"processes", refused_processes},
};
#define NGROUPS (sizeof(groups) / sizeof(groups[0]))

/* ---- the program that is refused ------------------------------------------------------------ */

/* What all descriptors lead to and where the mappings are, as one text. */
static void describe(char *out, size_t size)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	char name[64], link[4096];
	size_t n = 0;

	out[0] = 0;
	while ((e = readdir(dir))) {
		ssize_t len;

		if (atoi(e->d_name) == dirfd(dir) || e->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof(name), "/proc/self/fd/%.16s", e->d_name);
		len = readlink(name, link, sizeof(link) - 1);
		n += (size_t)snprintf(out + n, size - n, "%s -> %.*s\n", e->d_name, (int)len, link);
	}
	(void)closedir(dir);
	n += t_read_file("/proc/self/maps", out + n, size - n - 1);
	out[n] = 0;
}

static int run_row(int argc, char **argv)
{
	static char before[200000], after[200000];
	const struct refused *row;

	t_check(argc == 6, "usage: --row GROUP INDEX UNIX PORT");
	row = &groups[atoi(argv[2])].rows[atoi(argv[3])];
	outside_unix = argv[4];
	outside_port = atoi(argv[5]);
	t_start();
	row->make();
	describe(before, sizeof(before)); /* makes what stdio and readdir() allocate */
	describe(before, sizeof(before));
	t_ready();
	describe(after, sizeof(after));
	t_check(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
	if (row->after)
		row->after();
	t_done();
}

/* ---- the one who asks for the checkpoint ------------------------------------------------------ */

static const char *cpr, *self;
static int listening[2]; /* listening */
static char base[] = "/tmp/ckpt-refusals-XXXXXX";

/* Start a program with its output in a file and only descriptors 0 to 2, and OUTSIDE_PIPE. */
static pid_t start(const char *dir, const char *log, int pipe_end, char *const argv[])
{
	pid_t pid = t_sys(fork());
	int in, out;

	if (pid)
		return pid;
	t_sys(chdir(dir));
	in = t_sys(open("/dev/null", O_RDONLY));
	out = t_sys(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600));
	t_sys(dup2(in, 0));
	t_sys(dup2(out, 1));
	t_sys(dup2(out, 2));
	if (pipe_end >= 0 && pipe_end != OUTSIDE_PIPE)
		t_sys(dup2(pipe_end, OUTSIDE_PIPE));
	t_sys(close_range(3, OUTSIDE_PIPE - 1, 0));
	t_sys(close_range(OUTSIDE_PIPE + (pipe_end >= 0), ~0U, 0));
	(void)execv(argv[0], argv);
	t_fail("cannot execute %s: %m", argv[0]);
}

/* Wait status, or -1 when it takes too long. */
static int finish(pid_t pid)
{
	int status;

	for (int i = 0; i < LIMIT_MS / 5; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		t_sleep_ms(5);
	}
	return -1;
}

static int end(pid_t pid)
{
	int status = finish(pid);

	if (status == -1) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return status;
}

static char *slurp(const char *dir, const char *name)
{
	static char text[100000];
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	text[0] = 0;
	if (access(path, R_OK) == 0)
		text[t_read_file(path, text, sizeof(text) - 1)] = 0;
	return text;
}

static void touch(const char *dir, const char *name)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	t_write_file(path, "", 0);
}

/* 1: the program stands, with its object; 0: it cannot be made here; -1: failed. */
static int await_ready(pid_t pid, const char *dir)
{
	int status;

	for (int i = 0; i < LIMIT_MS / 5; i++) {
		if (slurp(dir, "ready")[0])
			return 1;
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 0 : -1;
		t_sleep_ms(5);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return -1;
}

/* Connections to us. */
static void accept_all(void)
{
	for (int i = 0; i < 2; i++)
		while (accept4(listening[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) >= 0)
			;
}

/* The checkpoint must fail as the row says. */
static int refused_as(const struct refused *row, const char *dir, pid_t pid)
{
	char number[16];
	char *const argv[] = {(char *)(uintptr_t)cpr,
			      (char *)(uintptr_t) "-c",
			      (char *)(uintptr_t) "state",
			      (char *)(uintptr_t) "-p",
			      number,
			      (char *)(uintptr_t) "--timeout",
			      (char *)(uintptr_t) "2",
			      NULL};
	int status;

	(void)snprintf(number, sizeof(number), "%d", pid);
	status = end(start(dir, "cpr.log", -1, argv));
	if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != row->status) {
		(void)printf("%s: cpr ended with wait status %#x, not %d: %s\n", row->name, status,
			     row->status, slurp(dir, "cpr.log"));
		return 0;
	}
	if (!strstr(slurp(dir, "cpr.log"), row->says)) {
		(void)printf("%s: cpr does not say '%s': %s\n", row->name, row->says,
			     slurp(dir, "cpr.log"));
		return 0;
	}
	return 1;
}

/* 1 as it should be, 0 not, -1 could not be tried. */
static int try_row(size_t group, size_t i, int pipe_end)
{
	const struct refused *row = &groups[group].rows[i];
	char dir[64], g[24], n[24], port[16];
	char *const argv[] = {(char *)(uintptr_t)cpr,
			      (char *)(uintptr_t) "run",
			      (char *)(uintptr_t) "--",
			      (char *)(uintptr_t)self,
			      (char *)(uintptr_t) "--row",
			      g,
			      n,
			      (char *)(uintptr_t)outside_unix,
			      port,
			      NULL};
	int outside = strstr(row->name, "pipe") != NULL;
	pid_t pid;
	int ok, status;

	(void)snprintf(dir, sizeof(dir), "%s/%zu", base, i);
	(void)snprintf(g, sizeof(g), "%zu", group);
	(void)snprintf(n, sizeof(n), "%zu", i);
	(void)snprintf(port, sizeof(port), "%d", outside_port);
	t_sys(mkdir(dir, 0755));
	pid = start(dir, "log", outside ? pipe_end : -1, argv);
	ok = await_ready(pid, dir);
	if (ok <= 0) {
		(void)printf("%s: %s%s", row->name,
			     ok == 0 ? "left out: " : "not made: ", slurp(dir, "log"));
		return ok == 0 ? -1 : 0;
	}
	accept_all();
	ok = refused_as(row, dir, pid);
	touch(dir, "go");
	status = end(pid);
	if (status != 0) {
		(void)printf("%s: the program is harmed, wait status %#x: %s\n", row->name, status,
			     slurp(dir, "log"));
		return 0;
	}
	return ok;
}

/* The other ends for rows that lead outside the set. */
static int make_outside(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);
	int pair[2];

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/outside", base);
	outside_unix = strdup(un.sun_path);
	listening[0] = t_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
	t_sys(bind(listening[0], (struct sockaddr *)&un, sizeof(un)));
	t_sys(listen(listening[0], 10));
	listening[1] = t_sys(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	t_sys(bind(listening[1], (struct sockaddr *)&in, sizeof(in)));
	t_sys(listen(listening[1], 10));
	t_sys(getsockname(listening[1], (struct sockaddr *)&in, &len));
	outside_port = ntohs(in.sin_port);
	t_sys(pipe2(pair, 0));
	return pair[1];
}

static void run_shell(const char *command)
{
	t_check(system(command) == 0, "failed: %s", command);
}

/* A copy of the file in `dir` that the plain user can read. */
static const char *copy(const char *dir, const char *name)
{
	char command[8192];
	char *path;

	(void)snprintf(command, sizeof(command), "cp -L '%s'/%s '%s'", dir, name, base);
	run_shell(command);
	t_check(asprintf(&path, "%s/%s", base, name) > 0, "out of memory");
	return path;
}

/* The build tree may be closed to others. */
static void become_plain(void)
{
	char *bin = strdup(cpr), *own = strdup(self);
	const char *name = strrchr(self, '/') + 1;

	*strrchr(bin, '/') = 0;
	*strrchr(own, '/') = 0;
	(void)copy(bin, "libckpt.so*");
	cpr = copy(bin, "cpr");
	self = copy(own, name);
	t_sys(chown(base, PLAIN_USER, PLAIN_USER));
	t_sys(setgroups(0, NULL));
	t_sys(setresgid(PLAIN_USER, PLAIN_USER, PLAIN_USER));
	t_sys(setresuid(PLAIN_USER, PLAIN_USER, PLAIN_USER));
	/* Changing ids hid our /proc entries, where the build tree is looked up. */
	(void)prctl(PR_SET_DUMPABLE, 1);
}

static int run_group(const char *who, const char *name)
{
	int plain = strcmp(who, "user") == 0, bad = 0, good = 0, left_out = 0, pipe_end;
	char command[64];
	size_t g;

	for (g = 0; g < NGROUPS && strcmp(groups[g].name, name) != 0; g++)
		;
	t_check(g < NGROUPS, "no group %s", name);
	cpr = getenv("CPR");
	t_check(cpr != NULL, "CPR is not set");
	self = realpath("/proc/self/exe", NULL);
	if (!plain && geteuid() != 0)
		t_skip("needs to be root");
	t_check(mkdtemp(base) != NULL, "mkdtemp: %m");
	t_sys(chmod(base, 0755));
	t_sys(setenv("HOME", base, 1)); /* no attribute file */
	(void)signal(SIGPIPE, SIG_IGN);
	if (plain && geteuid() == 0)
		become_plain();
	pipe_end = make_outside();
	for (size_t i = 0; groups[g].rows[i].name; i++) {
		int r = plain && groups[g].rows[i].root ? -1 : try_row(g, i, pipe_end);

		good += r > 0;
		bad += r == 0;
		left_out += r < 0;
	}
	(void)printf("%d refused as they should be, %d not, %d left out\n", good, bad, left_out);
	if (!getenv("T_KEEP")) {
		(void)snprintf(command, sizeof(command), "rm -rf '%s'", base);
		run_shell(command);
	}
	return bad || !good;
}

/* ---- docs/limits.md --------------------------------------------------------------------------- */

/* Which kinds does the first column of this line name?  One bit each. */
static size_t kinds_in(const char *line)
{
	char column[256], want[256];
	size_t found = 0;

	(void)snprintf(column, sizeof(column), "%.*s,", (int)strcspn(line + 2, "|") - 1, line + 2);
	for (size_t k = 0; ckpti_fd_kinds[k]; k++) {
		(void)snprintf(want, sizeof(want), "%s,", ckpti_fd_kinds[k]->name);
		if (strstr(column, want))
			found |= (size_t)1 << k;
	}
	return found;
}

/* Rows of its tables look like: | name | `says` | remedy | */
static int compare_doc(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[4096], want[1024];
	size_t g = 0, i = 0, saved = 0;

	t_check(f != NULL, "cannot read %s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		const char *tick = strstr(line, " | `");

		saved |= line[0] == '|' && !tick ? kinds_in(line) : 0;
		if (line[0] != '|' || !tick || !strstr(tick, "` | "))
			continue;
		while (g < NGROUPS && !groups[g].rows[i].name) {
			g++;
			i = 0;
		}
		t_check(g < NGROUPS, "%s lists what no test makes: %s", path, line);
		(void)snprintf(want, sizeof(want), "| %s | `%s` | ", groups[g].rows[i].name,
			       groups[g].rows[i].says);
		t_check(strncmp(line, want, strlen(want)) == 0, "%s: '%s' is expected, found: %s",
			path, want, line);
		t_check(strlen(line) > strlen(want) + 5, "%s: no remedy: %s", path, line);
		i++;
	}
	(void)fclose(f);
	for (size_t k = 0; ckpti_fd_kinds[k]; k++)
		t_check(saved >> k & 1, "%s lacks '%s'", path, ckpti_fd_kinds[k]->name);
	t_check(g == NGROUPS - 1 && !groups[g].rows[i].name, "%s lacks '%s'", path,
		groups[g].rows[i].name);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "--row") == 0)
		return run_row(argc, argv);
	t_check(argc == 3, "usage: refusals root|user GROUP, or refusals --doc FILE");
	if (strcmp(argv[1], "--doc") == 0)
		return compare_doc(argv[2]);
	return run_group(argv[1], argv[2]);
}
