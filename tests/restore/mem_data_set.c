/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A data set that is mapped shared and too large to be saved.  As long as nobody writes to it a restart
 * maps it again ("untouched"); when a page that was dirty already is written once more after the
 * checkpoint, the restart must be refused.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "t.h"

#define SIZE (1 << 20)

static unsigned char *map;

static void disturb(void)
{
	memset(map + 4096, 0xee, 100);
}

int main(int argc, char **argv)
{
	struct statfs fs;
	int fd;

	t_start();
	t_sys(statfs(".", &fs));
	if (fs.f_type == TMPFS_MAGIC)
		t_skip("what lies in memory only is saved, whatever its size");
	t_write_file(t_path("options"), "--copy-limit 64K", 16);
	t_write_file(t_path("refusal"), t_path("data"), strlen(t_path("data")));
	fd = t_sys(open("data", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_sys(ftruncate(fd, SIZE));
	map = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	t_sys(close(fd));
	t_fill(map, SIZE, t_token());
	if (argc == 1)
		t_on_disturb(disturb);
	(void)argv;
	t_ready();
	t_check(t_filled(map, SIZE, t_token()), "the data set differs");
	map[SIZE - 1] ^= 0xff;
	t_done();
}
