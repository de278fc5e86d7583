/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that nobody has open and that the checkpoint was told to include: missing, changed, grown, equal,
 * empty, sparse, below a directory that is gone, also one that is open besides.  One that was not named
 * stays as the first life left it, and a link that leads out of the directory is not followed.
 */
#include <stdbool.h>
#include <stdio.h>

#include "fd.h"

#define SIZE 9000
#define HOLE (8L << 20)

static const char *const names[] = {"in/missing", "in/changed", "in/grown", "in/shorter",
				    "in/equal",   "in/open",    "in/tool",  "in/deep/missing"};
enum {
	MISSING,
	CHANGED,
	GROWN,
	SHORTER,
	EQUAL,
	OPEN,
	TOOL,
	DEEP,
	NUM
};

static void fill(const char *name, size_t size, uint64_t seed)
{
	char data[SIZE];

	t_fill(data, size, seed);
	t_write_file(t_path(name), data, size);
}

static bool is_filled(const char *name, size_t size, uint64_t seed)
{
	char data[SIZE + 100];

	return access(t_path(name), F_OK) == 0 &&
	       t_read_file(t_path(name), data, sizeof(data)) == size && t_filled(data, size, seed);
}

static void disturb(void)
{
	fill("in/changed", SIZE, 1);
	fill("in/grown", SIZE, t_token() + GROWN);
	t_sys(truncate(t_path("in/grown"), SIZE + 50));
	t_sys(truncate(t_path("in/shorter"), 10));
	fill("in/open", SIZE, 2);
	fill("outside", SIZE, 3);
	t_sys(truncate(t_path("in/sparse"), 5));
	t_sys(unlink(t_path("in/missing")));
	t_sys(unlink(t_path("in/tool")));
	t_sys(unlink(t_path("in/empty")));
	t_sys(unlink(t_path("in/deep/missing")));
	t_sys(rmdir(t_path("in/deep")));
	fill("in/new", SIZE, 4);
	t_write_file(t_path("spoilt"), "", 0);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	t_sys(stat(t_path(name), &st));
	return st.st_mode & 07777;
}

static void check_sparse(void)
{
	char data[SIZE];
	struct stat st;
	int fd = t_sys(open(t_path("in/sparse"), O_RDONLY));

	t_sys(fstat(fd, &st));
	t_check(st.st_size == HOLE + SIZE, "sparse has %ld bytes", (long)st.st_size);
	t_check(st.st_blocks < 8192, "sparse takes %ld blocks", (long)st.st_blocks);
	t_check(pread(fd, data, SIZE, HOLE) == SIZE && t_filled(data, SIZE, t_token() + 20),
		"sparse has other data");
	t_sys(close(fd));
}

static void make_sparse(void)
{
	char data[SIZE];
	int fd = t_sys(open(t_path("in/sparse"), O_RDWR | O_CREAT, 0600));

	t_fill(data, SIZE, t_token() + 20);
	t_check(pwrite(fd, data, SIZE, HOLE) == SIZE, "pwrite: %m");
	t_sys(close(fd));
}

static void make_all(void)
{
	char options[8192];
	int n;

	t_sys(mkdir(t_path("in"), 0700));
	t_sys(mkdir(t_path("in/deep"), 0700));
	for (unsigned i = 0; i < NUM; i++)
		fill(names[i], SIZE, t_token() + i);
	t_sys(chmod(t_path("in/tool"), 0555));
	t_write_file(t_path("in/empty"), "", 0);
	make_sparse();
	fill("outside", SIZE, t_token() + 30);
	t_sys(symlink("../outside", t_path("in/link")));
	/* One relative, one absolute, twice the same, one that matches nothing. */
	t_sys(chdir(t_path("in")));
	n = snprintf(options, sizeof(options),
		     "--include * --include %s --include */missing --include nothing*",
		     t_path("in/[m-t]*"));
	t_write_file(t_path("options"), options, (size_t)n);
}

int main(void)
{
	char path[4096];
	bool spoilt;
	int fd;

	t_start();
	make_all();
	fd = t_sys(open(t_path("in/open"), O_RDWR));
	t_on_disturb(disturb);
	t_ready();

	spoilt = access(t_path("spoilt"), F_OK) == 0;
	for (unsigned i = 0; i < NUM; i++)
		t_check(is_filled(names[i], SIZE, t_token() + i), "%s: other content", names[i]);
	t_check(mode_of("in/tool") == 0555, "in/tool: mode %o", mode_of("in/tool"));
	t_check(size_of(t_path("in/empty")) == 0, "in/empty is not empty");
	check_sparse();
	t_check(is_filled("outside", SIZE, spoilt ? 3 : t_token() + 30), "outside was touched");
	t_check(reads_noise(fd, SIZE, t_token() + OPEN), "the descriptor: other content");
	/* Nothing is lost, and nothing is made that was not there. */
	for (unsigned gen = 1; gen <= 2; gen++) {
		(void)snprintf(path, sizeof(path), "in/equal.ckpt-old.%u", gen);
		t_check(access(t_path(path), F_OK) < 0, "%s is there", path);
	}
	if (spoilt) {
		t_check(is_filled("in/changed.ckpt-old.1", SIZE, 1) ||
				is_filled("in/changed.ckpt-old.2", SIZE, 1),
			"what in/changed held is lost");
		t_check(is_filled("in/new", SIZE, 4), "a newer file was touched");
	}
	t_done();
}
