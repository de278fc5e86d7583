/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What belongs to an open regular file: offset, flags, sharing by dup() and fork(), close-on-exec,
 * directions, and that two opens of one file are two.
 */
#include "fd.h"

#define SIZE 5000

static int rw, dup_of_rw, second, appending, reading, writing, kept, status_only;
static const char *data;

static void disturb(void)
{
	/* Everything moves on; the file itself stays: see file_changed.c. */
	t_sys(lseek(rw, 4999, SEEK_SET));
	t_sys(lseek(second, 1, SEEK_SET));
	t_sys(lseek(reading, 0, SEEK_END));
	t_sys(fcntl(kept, F_SETFD, 0));
	t_sys(fcntl(appending, F_SETFL, 0));
	t_sys(close(dup_of_rw));
}

/* The child's descriptor is the parent's description: offsets move together. */
static void in_child(void)
{
	t_check(lseek(rw, 0, SEEK_CUR) == 1234, "the child's offset is %ld",
		(long)lseek(rw, 0, SEEK_CUR));
	t_check(share_offset(rw, dup_of_rw), "the child's duplicates differ");
	t_sys(lseek(rw, 777, SEEK_SET));
}

int main(void)
{
	pid_t pid;

	t_start();
	data = t_path("data");
	rw = t_sys(open(data, O_RDWR | O_CREAT | O_TRUNC, 0640));
	writes_noise(rw, SIZE, t_token());
	t_sys(lseek(rw, 1234, SEEK_SET));
	dup_of_rw = t_sys(fcntl(rw, F_DUPFD_CLOEXEC, 100));
	second = t_sys(open(data, O_RDWR));
	t_sys(lseek(second, 4321, SEEK_SET));
	reading = t_sys(open(data, O_RDONLY | O_NONBLOCK));
	t_sys(lseek(reading, 8, SEEK_SET));
	kept = t_sys(open(data, O_RDONLY | O_CLOEXEC | O_SYNC));
	writing = t_sys(open(t_path("out"), O_WRONLY | O_CREAT | O_DSYNC, 0600));
	writes_noise(writing, 100, t_token() + 1);
	appending = t_sys(open(t_path("log"), O_WRONLY | O_CREAT | O_APPEND, 0600));
	writes_noise(appending, 100, t_token() + 2);
	t_sys(lseek(appending, 0, SEEK_SET));
	status_only = t_sys(open(data, O_PATH));
	pid = child_after_go(in_child);
	t_on_disturb(disturb);
	t_ready();

	child_must_pass(pid);
	t_check(lseek(rw, 0, SEEK_CUR) == 777, "the offset is not shared with the child");
	t_check(share_offset(rw, dup_of_rw), "duplicates do not share their offset");
	t_check(!share_offset(rw, second), "two opens have become one");
	t_check(lseek(second, 0, SEEK_CUR) == 4321, "the second open's offset");
	t_check(fcntl(dup_of_rw, F_GETFD) == FD_CLOEXEC && fcntl(rw, F_GETFD) == 0,
		"close-on-exec of duplicates");
	t_check(fcntl(kept, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(fcntl(reading, F_GETFD) == 0, "close-on-exec was added");
	t_check((get_flags(reading) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK),
		"flags of the read-only open: %#o", get_flags(reading));
	t_check((get_flags(kept) & O_SYNC) == O_SYNC, "O_SYNC is lost");
	t_check((get_flags(writing) & (O_ACCMODE | O_SYNC)) == (O_WRONLY | O_DSYNC),
		"flags of the write-only open: %#o", get_flags(writing));
	t_check(get_flags(status_only) & O_PATH, "O_PATH is lost");
	t_check(write(reading, "", 1) < 0, "a read-only file can be written");
	t_check(read(writing, &(char){0}, 1) < 0, "a write-only file can be read");
	t_check(reads_noise(reading, 0, 0) && lseek(reading, 0, SEEK_CUR) == 8, "offset 8");
	t_sys(lseek(rw, 0, SEEK_SET));
	t_check(reads_noise(rw, SIZE, t_token()), "the content differs");

	/* An appending description writes at the end, whatever its offset. */
	t_check(get_flags(appending) & O_APPEND, "O_APPEND is lost");
	t_check(lseek(appending, 0, SEEK_CUR) == 0, "the offset of the appending open");
	t_check(write(appending, "x", 1) == 1 && size_of(t_path("log")) == 101, "append");
	writes_noise(writing, 100, t_token() + 3);
	t_check(size_of(t_path("out")) == 200, "writing went on at the wrong place");
	t_done();
}
