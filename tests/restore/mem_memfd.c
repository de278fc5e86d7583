/* SPDX-License-Identifier: BSD-3-Clause */
/* memfd: descriptor and mappings stay one object, with size, offset, seals and holes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

#define SIZE (256 << 10)
#define HOLE (16 << 20)

static unsigned char *map;
static int fd;

static void disturb(void)
{
	memset(map, 0x55, SIZE);
	t_check(ftruncate(fd, SIZE) == 0, "ftruncate: %m");
}

int main(void)
{
	static unsigned char buf[SIZE];
	unsigned char *cow, *orphan;
	int sealed, unmapped, gone;
	struct stat st;

	t_start();
	fd = t_sys(memfd_create("mapped", MFD_CLOEXEC));
	t_sys(ftruncate(fd, HOLE));
	map = t_sys(mmap(NULL, HOLE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	t_fill(map, SIZE, t_token());
	t_fill(map + HOLE - SIZE, SIZE, t_token() + 1);
	t_sys(lseek(fd, 1234, SEEK_SET));
	/* A private view: its first page is its own, the rest shows the object. */
	cow = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	t_fill(cow, 4096, t_token() + 2);

	sealed = t_sys(memfd_create("sealed", MFD_ALLOW_SEALING));
	t_fill(buf, SIZE, t_token() + 3);
	t_check(write(sealed, buf, SIZE) == SIZE, "write: %m");
	t_sys(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));

	unmapped = t_sys(memfd_create("unmapped", MFD_CLOEXEC));
	t_fill(buf, SIZE, t_token() + 4);
	t_check(pwrite(unmapped, buf, SIZE, 8192) == SIZE, "write: %m");

	/* Mapped only: its descriptor is closed. */
	gone = t_sys(memfd_create("closed", MFD_CLOEXEC));
	t_sys(ftruncate(gone, SIZE));
	orphan = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0));
	t_fill(orphan, SIZE, t_token() + 5);
	t_sys(close(gone));

	t_on_disturb(disturb);
	t_ready();

	t_check(t_filled(map, SIZE, t_token()), "the mapped content differs");
	t_check(t_filled(map + HOLE - SIZE, SIZE, t_token() + 1), "the end differs");
	t_check(fstat(fd, &st) == 0 && st.st_size == HOLE, "the size is %ld", (long)st.st_size);
	t_check(st.st_blocks * 512 <= 4 * SIZE, "the hole was filled: %ld blocks",
		(long)st.st_blocks);
	t_check(lseek(fd, 0, SEEK_CUR) == 1234, "the offset is wrong");
	t_check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(t_filled(cow, 4096, t_token() + 2), "the private page differs");
	t_check(memcmp(cow + 4096, map + 4096, SIZE - 4096) == 0, "the private view differs");
	map[SIZE - 1] ^= 0xff;
	t_check(pread(fd, buf, 1, SIZE - 1) == 1 && buf[0] == map[SIZE - 1],
		"descriptor and mapping are two objects");
	t_check(cow[SIZE - 1] == map[SIZE - 1], "the private view is of another object");
	cow[0] ^= 0xff;
	t_check(pread(fd, buf, 1, 0) == 1 && buf[0] == map[0] && t_filled(map, 4096, t_token()),
		"the private view is not private");

	t_check(fcntl(sealed, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW),
		"the seals are 0x%x", (unsigned int)fcntl(sealed, F_GET_SEALS));
	t_check(pread(sealed, buf, SIZE, 0) == SIZE && t_filled(buf, SIZE, t_token() + 3),
		"the sealed content differs");
	t_check(write(sealed, buf, 1) < 0 && errno == EPERM, "the sealed object is writable");

	t_check(pread(unmapped, buf, SIZE, 8192) == SIZE && t_filled(buf, SIZE, t_token() + 4),
		"the unmapped content differs");
	t_check(t_filled(orphan, SIZE, t_token() + 5), "the object without descriptor differs");
	t_done();
}
