/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pseudo-terminals with both ends in the set: settings, size, modes, what is unread in both directions
 * line by line, echoes, ends that are closed, never opened or hung up, output that the user or the
 * program has stopped, stopped input; and a session with its controlling terminal, whose foreground
 * group gets the interrupt key.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "proc.h"

#define EOL   '#'
#define NOISE 3000

#define OTHER 010000 /* BOTHER: the speed is in a field of its own */
#define SPEED 12345

/* As the kernel has it: glibc knows only the usual speeds. */
struct termios2 {
	tcflag_t c_iflag, c_oflag, c_cflag, c_lflag;
	cc_t c_line, c_cc[19];
	speed_t c_ispeed, c_ospeed;
};

struct pair {
	int master, slave;
};

static struct pair lines, raw, echoed, shut, unopened, hung, held, called, held_in, session;
static char noise[NOISE];
static int plain; /* a descriptor that is not closed by exec */

static struct pair open_pair(int opened)
{
	struct pair p = {.slave = -1};

	p.master = t_sys(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
	if (!opened)
		return p;
	t_sys(unlockpt(p.master));
	p.slave = t_sys(open(ptsname(p.master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
	return p;
}

static void set(int fd, tcflag_t iflag, tcflag_t lflag)
{
	struct termios t;

	t_sys(tcgetattr(fd, &t));
	t.c_iflag = iflag;
	t.c_lflag = lflag;
	t.c_cflag |= CLOCAL;
	t.c_cc[VEOL] = EOL;
	t_sys(cfsetspeed(&t, B9600));
	t_sys(tcsetattr(fd, TCSANOW, &t));
}

static void put(int fd, const void *data, size_t len)
{
	t_check(write(fd, data, len) == (ssize_t)len, "cannot write %zu bytes: %m", len);
}

#define PUTS(fd, text) put(fd, text, sizeof(text) - 1)

static int poll_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	(void)poll(&p, 1, ms);
	return p.revents;
}

/* The next read() must give exactly this. */
static void expect(int fd, const char *what, const char *want, size_t len)
{
	char buf[NOISE + 100];
	ssize_t n;

	t_check(poll_for(fd, POLLIN, 2000) & POLLIN, "%s: nothing to be read", what);
	n = read(fd, buf, sizeof(buf));
	t_check(n == (ssize_t)len && memcmp(buf, want, len) == 0,
		"%s: %zd bytes '%.*s' instead of %zu '%s'", what, n, n > 0 ? (int)n : 0, buf, len,
		want);
}

#define EXPECT(fd, what, text) expect(fd, what, text, sizeof(text) - 1)

static void nothing(int fd, const char *what)
{
	t_check(!(poll_for(fd, POLLIN, 100) & POLLIN), "%s: there is more to be read", what);
}

/* ---- pairs -------------------------------------------------------------------------------- */

static void make_lines(void)
{
	struct winsize size = {.ws_row = 33, .ws_col = 77, .ws_xpixel = 5, .ws_ypixel = 6};

	lines = open_pair(1);
	set(lines.slave, ICRNL | IXON, ICANON | ISIG | IEXTEN);
	t_sys(ioctl(lines.master, TIOCSWINSZ, &size));
	t_sys(fchmod(lines.slave, 0640)); /* as no new one has it */
	plain = t_sys(dup(lines.slave));
	PUTS(lines.slave, "said\n");
	PUTS(lines.master,
	     "first\rsec\026\nond\nby eol#an end\004\004\n\026\003\026\177quoted\r\nun");
}

static void check_lines(void)
{
	struct winsize size;
	struct termios t;
	struct stat st;

	EXPECT(lines.master, "output", "said\r\n");
	nothing(lines.master, "output");
	EXPECT(lines.slave, "first line", "first\n");
	EXPECT(lines.slave, "line with a quoted newline", "sec\nond\n");
	EXPECT(lines.slave, "line with an end of its own", "by eol#");
	EXPECT(lines.slave, "line without an end", "an end");
	EXPECT(lines.slave, "end of file", "");
	EXPECT(lines.slave, "empty line", "\n");
	EXPECT(lines.slave, "line with control characters", "\003\177quoted\n");
	EXPECT(lines.slave, "empty line", "\n");
	nothing(lines.slave, "lines");
	/* The user can still change what has not been sent. */
	PUTS(lines.master, "\177x\r");
	EXPECT(lines.slave, "edited line", "ux\n");
	t_sys(tcgetattr(lines.slave, &t));
	t_check(t.c_iflag == (ICRNL | IXON) && t.c_lflag == (ICANON | ISIG | IEXTEN) &&
			t.c_cc[VEOL] == EOL && t.c_cc[VINTR] == 3 && (t.c_oflag & OPOST),
		"settings differ: %#x %#x %#x", t.c_iflag, t.c_oflag, t.c_lflag);
	t_check((t.c_cflag & CLOCAL) && cfgetispeed(&t) == B9600 && cfgetospeed(&t) == B9600,
		"settings of the line differ: %#x", t.c_cflag);
	t_sys(ioctl(lines.slave, TIOCGWINSZ, &size));
	t_check(size.ws_row == 33 && size.ws_col == 77 && size.ws_xpixel == 5 &&
			size.ws_ypixel == 6,
		"size is %dx%d", size.ws_row, size.ws_col);
	t_sys(fstat(lines.slave, &st));
	t_check((st.st_mode & 0777) == 0640, "mode is %o", st.st_mode & 0777);
	t_check(fcntl(plain, F_GETFD) == 0 && fcntl(lines.slave, F_GETFD) == FD_CLOEXEC,
		"flags of descriptors differ");
	t_check(fcntl(lines.slave, F_GETFL) & O_NONBLOCK, "the slave blocks");
	t_check(!(fcntl(lines.master, F_GETFL) & O_NONBLOCK), "the master does not block");
	t_check(ttyname(lines.slave) && strcmp(ttyname(lines.slave), ptsname(lines.master)) == 0,
		"the slave has no name");
}

/* What has been typed is seen once. */
static void make_echoed(void)
{
	echoed = open_pair(1);
	set(echoed.slave, ICRNL, ICANON | ECHO | ISIG | IEXTEN);
	PUTS(echoed.master, "seen\r");
}

static void check_echoed(void)
{
	EXPECT(echoed.master, "echo", "seen\r\n");
	nothing(echoed.master, "echo");
	EXPECT(echoed.slave, "line with an echo", "seen\n");
	nothing(echoed.slave, "lines with an echo");
	PUTS(echoed.master, "more\r");
	EXPECT(echoed.slave, "one more line", "more\n");
	EXPECT(echoed.master, "its echo", "more\r\n");
}

static int is_exclusive(int fd)
{
	int on = -1;

	t_sys(ioctl(fd, TIOCGEXCL, &on));
	return on;
}

static struct termios2 kernel_settings(int fd)
{
	struct termios2 t;

	t_sys(ioctl(fd, TCGETS2, &t));
	return t;
}

static void make_raw(void)
{
	struct termios2 unusual;
	struct termios t;
	int on = 1;

	raw = open_pair(1);
	set(raw.slave, 0, 0);
	t_fill(noise, sizeof(noise), t_token());
	put(raw.master, noise, sizeof(noise));
	/* As it is: it has newlines in it. */
	t_sys(tcgetattr(raw.slave, &t));
	t.c_oflag = 0;
	t_sys(tcsetattr(raw.slave, TCSANOW, &t));
	unusual = kernel_settings(raw.slave);
	unusual.c_cflag = (unusual.c_cflag & ~(tcflag_t)CBAUD) | OTHER;
	unusual.c_ispeed = unusual.c_ospeed = SPEED;
	t_sys(ioctl(raw.slave, TCSETS2, &unusual));
	put(raw.slave, noise, sizeof(noise) / 2);
	t_sys(ioctl(raw.master, TIOCPKT, &on));
	t_sys(ioctl(raw.master, TIOCEXCL));
	t_sys(ioctl(raw.slave, TIOCEXCL));
}

static void check_raw(void)
{
	char packet[NOISE / 2 + 1] = {TIOCPKT_DATA};

	expect(raw.slave, "raw input", noise, sizeof(noise));
	nothing(raw.slave, "raw input");
	memcpy(packet + 1, noise, NOISE / 2);
	expect(raw.master, "packet", packet, sizeof(packet));
	t_sys(tcflush(raw.slave, TCIFLUSH));
	expect(raw.master, "packet with a status", "\001", 1);
	t_check(kernel_settings(raw.slave).c_ospeed == SPEED, "the speed is %u",
		kernel_settings(raw.slave).c_ospeed);
	t_check(is_exclusive(raw.master) == 1 && is_exclusive(raw.slave) == 1,
		"others may open it");
	t_check(is_exclusive(lines.master) == 0 && is_exclusive(lines.slave) == 0,
		"others may not open another one");
}

static void make_ends(void)
{
	shut = open_pair(1);
	PUTS(shut.slave, "last words");
	t_sys(close(shut.slave));
	unopened = open_pair(0);
	hung = open_pair(1);
	t_sys(close(hung.master));
}

static void check_ends(void)
{
	char c;

	t_check(poll_for(shut.master, POLLIN, 0) & POLLHUP, "the closed slave is open");
	EXPECT(shut.master, "output of a closed slave", "last words");
	t_check(read(shut.master, &c, 1) == -1 && errno == EIO, "no end after the slave's: %m");
	t_check(poll_for(unopened.master, POLLIN, 0) == 0, "the slave has been opened");
	t_check(open(ptsname(unopened.master), O_RDWR | O_NOCTTY) == -1 && errno == EIO,
		"the slave is not locked");
	t_check(poll_for(hung.slave, POLLIN, 0) & POLLHUP, "the slave is not hung up");
	t_check(read(hung.slave, &c, 1) == 0, "the slave is not hung up: %m");
	t_check(write(hung.slave, "x", 1) == -1 && errno == EIO, "the slave is not hung up: %m");
}

static void make_held(void)
{
	held = open_pair(1);
	set(held.slave, IXON, 0);
	PUTS(held.slave, "before");
	PUTS(held.master, "\023");
	for (int i = 0; i < 200 && (poll_for(held.slave, POLLOUT, 0) & POLLOUT); i++)
		(void)usleep(5000);
	t_check(write(held.slave, "x", 1) == -1 && errno == EAGAIN, "the output is not stopped");
	called = open_pair(1);
	set(called.slave, IXON, 0);
	PUTS(called.slave, "before");
	t_sys(tcflow(called.slave, TCOOFF));
	held_in = open_pair(1);
	set(held_in.slave, 0, 0);
	PUTS(held_in.master, "before");
	t_sys(tcflow(held_in.master, TCOOFF));
}

static void check_held(void)
{
	EXPECT(held.master, "stopped output", "before");
	t_check(write(held.slave, "x", 1) == -1 && errno == EAGAIN,
		"the output is not stopped any more");
	PUTS(held.master, "\021");
	t_check(poll_for(held.slave, POLLOUT, 2000) & POLLOUT, "the output does not go on");
	PUTS(held.slave, "after");
	EXPECT(held.master, "output that goes on", "after");
	EXPECT(called.master, "output that was stopped by a call", "before");
	PUTS(called.master, "\021");
	t_check(!(poll_for(called.slave, POLLOUT, 50) & POLLOUT),
		"output that was stopped by a call is not any more");
	t_sys(tcflow(called.slave, TCOON));
	PUTS(called.slave, "after");
	EXPECT(called.master, "output that goes on by a call", "after");
	EXPECT(held_in.slave, "stopped input", "before");
	t_check(!(poll_for(held_in.master, POLLOUT, 0) & POLLOUT),
		"the input is not stopped any more");
	t_sys(tcflow(held_in.master, TCOON));
	PUTS(held_in.master, "after");
	EXPECT(held_in.slave, "input that goes on", "after");
}

/* ---- a session ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupts, hangups;

static void on_signal(int signo)
{
	if (signo == SIGINT)
		interrupts++;
	else
		hangups++;
}

static unsigned device_of(int tty)
{
	unsigned device = 0;

	t_sys(ioctl(tty, TIOCGDEV, &device));
	return device;
}

/* In the foreground: it is asked by key. */
static void run_job(void)
{
	int tty, old = t_sys(open("/dev/tty", O_RDWR));

	(void)signal(SIGINT, on_signal);
	(void)signal(SIGHUP, on_signal);
	p_live_through(1, 0);
	tty = t_sys(open("/dev/tty", O_RDWR));
	t_check(tcgetpgrp(tty) == getpgrp(), "the job is not in the foreground");
	t_check(device_of(old) == device_of(tty) && tcgetsid(old) == getsid(0),
		"what was opened as /dev/tty is another terminal");
	t_check(!interrupts && !hangups, "signals came from nowhere");
	PUTS(old, "key?");
	for (int i = 0; i < 500 && !interrupts; i++)
		(void)usleep(10000);
	t_check(interrupts == 1, "the interrupt key does nothing");
	_exit(p_status(1));
}

static void run_leader(void)
{
	int slave, job;

	t_sys(setsid());
	slave = t_sys(open(ptsname(session.master), O_RDWR));
	(void)signal(SIGTTOU, SIG_IGN);
	(void)signal(SIGHUP, on_signal);
	job = t_sys(fork());
	if (job == 0) {
		t_sys(setpgid(0, 0));
		t_sys(tcsetpgrp(slave, getpid()));
		run_job();
	}
	p_await(&p_board->m[1].ready, 1, "job");
	p_live_through(0, 0);
	t_check(tcgetsid(slave) == getpid() && tcgetpgrp(slave) == job,
		"the terminal is that of session %d, group %d", tcgetsid(slave), tcgetpgrp(slave));
	p_reap(job, p_status(1));
	t_check(!hangups, "the terminal was hung up");
	_exit(p_status(0));
}

static int make_session(void)
{
	int pid;

	session = open_pair(0);
	t_sys(unlockpt(session.master));
	pid = t_sys(fork());
	if (pid == 0)
		run_leader();
	p_all_ready(2);
	return pid;
}

/* ---- the first life goes on --------------------------------------------------------------- */

static void disturb(void)
{
	struct winsize size = {.ws_row = 1, .ws_col = 1};
	char buf[8192];

	t_sys(tcflush(lines.slave, TCIOFLUSH));
	t_sys(ioctl(lines.master, TIOCSWINSZ, &size));
	t_sys(fchmod(lines.slave, 0622));
	set(lines.slave, 0, 0);
	(void)!read(raw.slave, buf, sizeof(buf));
	(void)!read(shut.master, buf, sizeof(buf));
	t_sys(unlockpt(unopened.master));
	t_sys(ioctl(raw.master, TIOCNXCL));
	t_sys(ioctl(raw.slave, TIOCNXCL));
	PUTS(held.master, "\021");
	t_sys(tcflow(called.slave, TCOON));
	t_sys(tcflow(held_in.master, TCOON));
}

int main(void)
{
	int leader;

	t_start();
	p_start();
	t_on_disturb(disturb);
	make_lines();
	make_echoed();
	make_raw();
	make_ends();
	make_held();
	leader = make_session();
	t_ready();
	check_lines();
	check_echoed();
	check_raw();
	check_ends();
	check_held();
	p_go();
	EXPECT(session.master, "question of the job", "key?");
	PUTS(session.master, "\003");
	p_reap(leader, p_status(0));
	t_done();
}
