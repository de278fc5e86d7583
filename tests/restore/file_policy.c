/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an attribute file says about files that have changed: opened as they are (merge, ignore,
 * append), put back although only read (replace), or a private copy (substitute).
 */
#include <stdio.h>

#include "fd.h"

#define SIZE 1000

static const char *const names[] = {"merge", "ignore", "append", "replace", "substitute"};
enum {
	MERGE,
	IGNORE,
	APPEND,
	REPLACE,
	SUBSTITUTE,
	NUM
};
static int fd[NUM];

static void disturb(void)
{
	char other[SIZE + 500];

	memset(other, '!', sizeof(other));
	for (int i = 0; i < NUM; i++)
		t_write_file(t_path(names[i]), other, sizeof(other));
	t_write_file(t_path("spoilt"), "", 0);
}

static void write_attributes(void)
{
	const char *home = getenv("HOME");
	char path[4096], text[4096];
	int n;

	n = snprintf(text, sizeof(text), "CKPT * * {\n");
	for (int i = 0; i < NUM; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "\tFILE: \"*/%s\": %s\n",
			      names[i], names[i]);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "}\n");
	(void)snprintf(path, sizeof(path), "%s/.cpr", home ? home : ".");
	t_write_file(path, text, (size_t)n);
}

static int first_byte(const char *name)
{
	unsigned char c = 0;

	(void)t_read_file(t_path(name), &c, 1);
	return c;
}

static int byte_here(int from)
{
	unsigned char c = 0;

	return read(from, &c, 1) == 1 ? c : -1;
}

static off_t at(int i)
{
	return lseek(fd[i], 0, SEEK_CUR);
}

int main(void)
{
	int spoilt;

	t_start();
	write_attributes();
	for (int i = 0; i < NUM; i++) {
		/* Only read what would be left alone otherwise. */
		fd[i] = t_sys(open(t_path(names[i]), O_RDWR | O_CREAT, 0600));
		writes_noise(fd[i], SIZE, t_token() + (unsigned)i);
		if (i == REPLACE) {
			t_sys(close(fd[i]));
			fd[i] = t_sys(open(t_path(names[i]), O_RDONLY));
		}
		t_sys(lseek(fd[i], 600, SEEK_SET));
	}
	t_on_disturb(disturb);
	t_ready();

	spoilt = access(t_path("spoilt"), F_OK) == 0;
	if (!spoilt) {
		for (int i = 0; i < NUM; i++)
			t_check(at(i) == 600, "offset of %s", names[i]);
		t_done();
	}
	t_check(at(MERGE) == 600 && byte_here(fd[MERGE]) == '!', "merge: at %ld", (long)at(MERGE));
	t_check(at(IGNORE) == 0 && byte_here(fd[IGNORE]) == '!', "ignore: at %ld",
		(long)at(IGNORE));
	t_check(at(APPEND) == SIZE + 500, "append: at %ld", (long)at(APPEND));
	t_check(size_of(t_path("append")) == SIZE + 500 && first_byte("append") == '!',
		"append: the file was changed");
	t_check(at(REPLACE) == 600 && size_of(t_path("replace")) == SIZE, "replace: size %ld",
		(long)size_of(t_path("replace")));
	t_sys(lseek(fd[REPLACE], 0, SEEK_SET));
	t_check(reads_noise(fd[REPLACE], SIZE, t_token() + REPLACE), "replace: the content");
	t_check(at(SUBSTITUTE) == 600, "substitute: at %ld", (long)at(SUBSTITUTE));
	t_sys(lseek(fd[SUBSTITUTE], 0, SEEK_SET));
	t_check(reads_noise(fd[SUBSTITUTE], SIZE, t_token() + SUBSTITUTE),
		"substitute: the content");
	t_sys(pwrite(fd[SUBSTITUTE], "?", 1, 0));
	t_check(first_byte("substitute") == '!' && size_of(t_path("substitute")) == SIZE + 500,
		"substitute: the file was changed");
	t_done();
}
