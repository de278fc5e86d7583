/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that change after the checkpoint.  The program must find what it left; what it wrote since is
 * kept beside the file.  The argument says what becomes of them: append, overwrite, truncate, rename,
 * remove or replace.
 */
#include <dirent.h>
#include <stdio.h>

#include "fd.h"

#define SIZE 20000
#define TAIL 333

static int rw, log_fd, readable;
static const char *how;

static void change(const char *name, int fd)
{
	const char *path = t_path(name);
	char other[TAIL];

	memset(other, '!', sizeof(other));
	if (strcmp(how, "append") == 0) {
		t_sys(lseek(fd, 0, SEEK_END));
		t_sys(write(fd, other, sizeof(other)));
	} else if (strcmp(how, "overwrite") == 0) {
		/* By another description: the log's appends. */
		fd = t_sys(open(path, O_WRONLY));
		t_sys(pwrite(fd, other, sizeof(other), 50));
		t_sys(close(fd));
	} else if (strcmp(how, "truncate") == 0) {
		t_sys(truncate(path, 10));
	} else if (strcmp(how, "rename") == 0) {
		t_sys(rename(path, t_path("moved")));
	} else if (strcmp(how, "remove") == 0) {
		t_sys(unlink(path));
	} else {
		t_sys(unlink(path));
		t_write_file(path, other, sizeof(other));
	}
}

static void disturb(void)
{
	change("data", rw);
	change("log", log_fd);
	t_write_file(t_path("spoilt"), "", 0);
}

/* Number of files whose name starts so; *path is the last one. */
static int count(const char *prefix, const char **path)
{
	DIR *dir = opendir(t_path("."));
	struct dirent *e;
	int n = 0;

	while ((e = readdir(dir)))
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
			*path = t_path(e->d_name);
			n++;
		}
	(void)closedir(dir);
	return n;
}

/* What the first life did after the checkpoint is not lost. */
static void check_kept(void)
{
	char buf[TAIL + 1], want[TAIL];
	const char *path;

	memset(want, '!', sizeof(want));
	if (strcmp(how, "append") == 0) {
		t_check(count("data.ckpt-tail.", &path) == 1, "the tail was not kept");
		t_check(t_read_file(path, buf, sizeof(buf)) == TAIL && !memcmp(buf, want, TAIL),
			"the tail in %s differs", path);
		t_check(count("log.ckpt-tail.", &path) == 1, "the log's tail was not kept");
	} else if (strcmp(how, "overwrite") == 0 || strcmp(how, "replace") == 0) {
		t_check(count("data.ckpt-old.", &path) == 1, "the other content was not kept");
		t_check(t_read_file(path, buf, sizeof(buf)) >= TAIL, "%s is short", path);
	} else if (strcmp(how, "rename") == 0) {
		t_check(count("moved", &path) == 1, "the renamed file is gone");
	}
}

int main(int argc, char **argv)
{
	struct stat st;

	t_start();
	t_check(argc == 2, "what is to be done?");
	how = argv[1];
	rw = t_sys(open(t_path("data"), O_RDWR | O_CREAT, 0640));
	writes_noise(rw, SIZE, t_token());
	t_sys(lseek(rw, 100, SEEK_SET));
	log_fd = t_sys(open(t_path("log"), O_WRONLY | O_CREAT | O_APPEND, 0644));
	writes_noise(log_fd, 64, t_token() + 1);
	readable = t_sys(open(t_path("log"), O_RDONLY));
	t_on_disturb(disturb);
	t_ready();

	t_check(lseek(rw, 0, SEEK_CUR) == 100, "the offset");
	t_check(size_of(t_path("data")) == SIZE, "the size of the file by name is %ld",
		(long)size_of(t_path("data")));
	t_sys(fstat(rw, &st));
	t_check(st.st_nlink == 1 && (st.st_mode & 07777) == 0640, "mode %o, links %lu", st.st_mode,
		(unsigned long)st.st_nlink);
	t_sys(lseek(rw, 0, SEEK_SET));
	t_check(reads_noise(rw, SIZE, t_token()), "the content differs");
	t_check(size_of(t_path("log")) == 64 && reads_noise(readable, 64, t_token() + 1),
		"the log differs");
	writes_noise(log_fd, 64, t_token() + 2);
	t_check(reads_noise(readable, 64, t_token() + 2), "both opens are not of one file");
	/* A program that just went on has changed nothing. */
	if (access(t_path("spoilt"), F_OK) == 0)
		check_kept();
	t_done();
}
