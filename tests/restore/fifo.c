/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FIFOs: content, both ends in two processes, O_RDWR, one whose name disappears.  The name is there
 * again after the restart, and what others open by it is the same FIFO.
 */
#include <errno.h>

#include "fd.h"

static int reader, writer, both, nameless[2];

static void disturb(void)
{
	drain(reader);
	drain(both);
	drain(nameless[0]);
	t_sys(unlink(t_path("one")));
	t_sys(write(both, "new", 3));
}

static void in_child(void)
{
	int fd = t_sys(open(t_path("one"), O_WRONLY | O_NONBLOCK));

	t_sys(close(fd));
	t_sys(close(reader));
	writes_noise(writer, 50, t_token() + 1);
}

int main(void)
{
	struct stat st, st2;
	pid_t pid;
	char c;

	t_start();
	t_sys(mkfifo(t_path("one"), 0640));
	reader = t_sys(open(t_path("one"), O_RDONLY | O_NONBLOCK));
	writer = t_sys(open(t_path("one"), O_WRONLY));
	t_sys(fcntl(reader, F_SETFL, 0));
	writes_noise(writer, 50, t_token());
	t_sys(mkfifo(t_path("two"), 0600));
	both = t_sys(open(t_path("two"), O_RDWR));
	writes_noise(both, 60, t_token() + 2);
	t_sys(mkfifo(t_path("three"), 0600));
	nameless[0] = t_sys(open(t_path("three"), O_RDONLY | O_NONBLOCK));
	nameless[1] = t_sys(open(t_path("three"), O_WRONLY));
	t_sys(unlink(t_path("three")));
	writes_noise(nameless[1], 70, t_token() + 3);
	pid = child_after_go(in_child);
	t_sys(close(writer));
	t_on_disturb(disturb);
	t_ready();

	child_must_pass(pid);
	t_check(reads_noise(reader, 50, t_token()), "the content of a FIFO");
	t_check(reads_noise(reader, 50, t_token() + 1), "what the child wrote");
	t_check(read(reader, &c, 1) == 0, "no end of file after the last writer");
	t_sys(fstat(reader, &st));
	t_sys(stat(t_path("one"), &st2));
	t_check(S_ISFIFO(st2.st_mode) && st.st_ino == st2.st_ino && (st2.st_mode & 07777) == 0640,
		"the name is not this FIFO's: mode %o", st2.st_mode);
	t_check((get_flags(both) & O_ACCMODE) == O_RDWR, "O_RDWR is lost");
	t_check(reads_noise(both, 60, t_token() + 2), "the content of an O_RDWR FIFO");
	writes_noise(both, 10, t_token() + 4);
	t_check(reads_noise(both, 10, t_token() + 4), "an O_RDWR FIFO afterwards");
	t_check(reads_noise(nameless[0], 70, t_token() + 3), "the content of a nameless FIFO");
	t_check(read(nameless[0], &c, 1) < 0 && errno == EAGAIN, "a nameless FIFO afterwards");
	t_check(access(t_path("three"), F_OK) < 0, "a removed name is back");
	t_done();
}
