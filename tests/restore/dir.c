/* SPDX-License-Identifier: BSD-3-Clause */
/* Open directories: readdir() goes on where it was, and relative names work. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "fd.h"

#define FILES 300

static DIR *dir;
static int removed[2];
static char seen[FILES];

static void disturb(void)
{
	while (readdir(dir))
		;
	rewinddir(dir);
}

static int read_some(int n)
{
	struct dirent *e;
	int got = 0, number;

	while (got < n && (e = readdir(dir))) {
		if (sscanf(e->d_name, "f%d", &number) != 1)
			continue;
		t_check(number < FILES && !seen[number], "file %d comes twice", number);
		seen[number] = 1;
		got++;
	}
	return got;
}

/* Its working directory has been removed. */
static void in_child(void)
{
	struct stat st;
	char cwd[64];

	t_sys(stat(".", &st));
	t_check(S_ISDIR(st.st_mode) && st.st_nlink == 0 && !getcwd(cwd, sizeof(cwd)),
		"the removed working directory");
}

int main(void)
{
	char name[32], small[2048];
	long cookie, n;
	struct stat st[2];
	int fd, here;
	pid_t pid;

	t_start();
	t_sys(mkdir(t_path("d"), 0700));
	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "d/f%d", i);
		t_write_file(t_path(name), "", 0);
	}
	dir = opendir(t_path("d"));
	t_check(dir != NULL, "opendir: %m");
	t_check(read_some(100) == 100, "too few files");
	/* A second description of the same directory at the start, which getdents() moves by itself. */
	fd = t_sys(open(t_path("d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	n = t_sys(getdents64(fd, small, sizeof(small)));
	cookie = lseek(fd, 0, SEEK_CUR);
	here = t_sys(open(t_path("d"), O_PATH | O_DIRECTORY));
	t_sys(mkdir(t_path("gone"), 0700));
	removed[0] = t_sys(open(t_path("gone"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	removed[1] = t_sys(open(t_path("gone"), O_PATH | O_DIRECTORY));
	t_sys(chdir(t_path("gone")));
	pid = child_after_go(in_child);
	t_sys(chdir(".."));
	t_sys(rmdir(t_path("gone")));
	t_on_disturb(disturb);
	t_ready();

	t_check(n > 0 && lseek(fd, 0, SEEK_CUR) == cookie, "cookie %ld instead of %ld",
		(long)lseek(fd, 0, SEEK_CUR), cookie);
	t_check(read_some(FILES) == FILES - 100, "readdir() did not go on where it was");
	t_check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(faccessat(fd, "f7", F_OK, 0) == 0 && faccessat(here, "f8", F_OK, 0) == 0,
		"names relative to the descriptors");
	t_check(get_flags(here) & O_PATH, "O_PATH is lost");
	t_sys(fstat(removed[0], &st[0]));
	t_sys(fstat(removed[1], &st[1]));
	t_check(S_ISDIR(st[0].st_mode) && st[0].st_nlink == 0 && st[0].st_ino == st[1].st_ino,
		"the removed directory");
	t_check((get_flags(removed[1]) & O_PATH) && !(get_flags(removed[0]) & O_PATH),
		"flags of the removed directory");
	t_check(getdents64(removed[0], small, sizeof(small)) < 0 && errno == ENOENT,
		"it can be read");
	t_check(openat(removed[0], "new", O_CREAT | O_WRONLY, 0600) < 0, "it takes files");
	child_must_pass(pid);
	t_done();
}
