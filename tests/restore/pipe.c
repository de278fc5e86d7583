/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pipes: content, size, full ones, packets, O_NONBLOCK of each end, closed ends, both ends in one
 * process and in two, a process that is blocked in a read.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "fd.h"

#define SMALL 3000
#define BIG   200000

static int plain[2], large[2], full[2], packets[2], ended[2], deaf[2], down[2], up[2];
static int same_end;
static size_t full_size;

static void disturb(void)
{
	drain(plain[0]);
	drain(large[0]);
	drain(full[0]);
	drain(packets[0]);
	drain(ended[0]);
	t_sys(write(plain[1], "new", 3));
	t_sys(fcntl(plain[1], F_SETFL, O_NONBLOCK));
	t_sys(fcntl(large[1], F_SETPIPE_SZ, 65536));
	t_sys(write(down[1], "too early", 9));
}

/* Blocked in read() all the time; what was queued before comes first. */
static void in_child(void)
{
	char buf[16];

	t_sys(close(down[1]));
	t_sys(close(up[0]));
	t_check(reads_noise(down[0], 100, t_token()), "the child got something else");
	t_check(read(down[0], buf, sizeof(buf)) == 5 && memcmp(buf, "hello", 5) == 0,
		"the child was to get 'hello'");
	t_check(read(down[0], buf, sizeof(buf)) == 0, "no end of file after the last writer");
	t_sys(write(up[1], "bye", 3));
}

static void check_packets(void)
{
	char buf[100];

	for (size_t n = 1; n <= 5; n++)
		t_check(read(packets[0], buf, sizeof(buf)) == (ssize_t)(n * 7), "packet %zu", n);
	t_check(get_flags(packets[1]) & O_DIRECT, "O_DIRECT is lost");
}

int main(void)
{
	char buf[16], page[4096];
	pid_t pid;

	t_start();
	(void)signal(SIGPIPE, SIG_IGN);
	t_sys(pipe2(down, 0));
	t_sys(pipe2(up, 0));
	writes_noise(down[1], 100, t_token());
	pid = child_now(in_child);
	t_sys(close(down[0]));
	t_sys(close(up[1]));

	t_sys(pipe2(plain, O_CLOEXEC));
	writes_noise(plain[1], SMALL, t_token() + 1);
	same_end = t_sys(dup(plain[0]));
	t_sys(pipe2(large, 0));
	t_sys(fcntl(large[1], F_SETPIPE_SZ, 1 << 18));
	writes_noise(large[1], BIG, t_token() + 2);
	t_sys(fcntl(large[0], F_SETFL, O_NONBLOCK));
	t_sys(pipe2(full, O_NONBLOCK));
	t_fill(page, sizeof(page), t_token() + 3);
	while (write(full[1], page, sizeof(page)) > 0)
		full_size += sizeof(page);
	t_sys(pipe2(packets, O_DIRECT));
	for (size_t n = 1; n <= 5; n++)
		t_sys(write(packets[1], page, n * 7));
	t_sys(pipe2(ended, 0));
	writes_noise(ended[1], 10, t_token() + 4);
	t_sys(close(ended[1]));
	t_sys(pipe2(deaf, 0));
	t_sys(close(deaf[0]));
	t_on_disturb(disturb);
	t_ready();

	t_check(reads_noise(same_end, SMALL, t_token() + 1), "the content of a pipe");
	t_check(fcntl(plain[1], F_GETFD) == FD_CLOEXEC && fcntl(same_end, F_GETFD) == 0,
		"close-on-exec");
	t_check((get_flags(plain[1]) & O_NONBLOCK) == 0, "O_NONBLOCK was added");
	t_sys(fcntl(same_end, F_SETFL, O_NONBLOCK));
	t_check(read(plain[0], buf, 1) < 0 && errno == EAGAIN, "a duplicate is no duplicate");
	t_check(fcntl(large[0], F_GETPIPE_SZ) == 1 << 18, "capacity %d",
		fcntl(large[0], F_GETPIPE_SZ));
	t_check((get_flags(large[0]) & O_NONBLOCK) && !(get_flags(large[1]) & O_NONBLOCK),
		"O_NONBLOCK of the two ends");
	t_check(reads_noise(large[0], BIG, t_token() + 2), "the content of a large pipe");
	t_check(read(large[0], buf, 1) < 0 && errno == EAGAIN, "more than was there");

	t_check(write(full[1], page, sizeof(page)) < 0 && errno == EAGAIN, "a full pipe has room");
	for (size_t n = 0; n < full_size; n += sizeof(page))
		t_check(reads_noise(full[0], sizeof(page), t_token() + 3), "a full pipe at %zu", n);
	t_check(read(full[0], buf, 1) < 0 && errno == EAGAIN, "a full pipe held too much");
	check_packets();
	t_check(reads_noise(ended[0], 10, t_token() + 4) && read(ended[0], buf, 1) == 0,
		"a pipe without a writer");
	t_check(write(deaf[1], "x", 1) < 0 && errno == EPIPE, "a pipe without a reader");

	t_sys(write(down[1], "hello", 5));
	t_sleep_ms(50); /* the child's read must not get both at once */
	t_sys(close(down[1]));
	t_check(read(up[0], buf, sizeof(buf)) == 3, "the child's answer");
	child_must_pass(pid);
	t_check(read(up[0], buf, sizeof(buf)) == 0, "no end of file after the child's end");
	t_done();
}
