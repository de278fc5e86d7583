/* SPDX-License-Identifier: BSD-3-Clause */
#include "image_sample.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Records that cannot be added end the test program: there is nothing to test then. */
static void add(struct ckpti_image *img, uint32_t type, const void *fixed, size_t fixed_size,
		const char *const *strs, size_t nstr, const void *array, size_t elem_size,
		size_t count)
{
	if (ckpti_image_add(img, type, fixed, fixed_size, strs, nstr, array, elem_size, count) != 0)
		abort();
}

#define FIXED(x) &(x), sizeof(x)
#define ARRAY(x) (x), sizeof((x)[0]), COUNT(x)
#define STRS(x)  (x), COUNT(x)
#define NO_STR   NULL, 0
#define NO_ARRAY NULL, 0, 0

static void add_set(struct ckpti_image *img)
{
	struct ckpti_r_set s = {.set_id = 0x1122334455667788,
				.generation = 7,
				.ctime_ns = 1700000000,
				.request_type = 1,
				.request_id = 41,
				.root_pid = 41,
				.nprocs = 2,
				.nthreads = 2,
				.mem_bytes = 8192};
	struct ckpti_r_machine m = {.arch = 62,
				    .page_size = 4096,
				    .hwcap = 3,
				    .xsave_size = 2696,
				    .cpu_words = 2,
				    .cpu = {1, 2},
				    .vdso_hash = 99,
				    .vdso_size = 8192};
	const char *ss[] = {"node1", "simulate"};
	const char *ms[] = {"6.18.0", "Some CPU", "0a1b"};

	add(img, CKPTI_R_SET, FIXED(s), STRS(ss), NO_ARRAY);
	add(img, CKPTI_R_MACHINE, FIXED(m), STRS(ms), NO_ARRAY);
}

static void add_process(struct ckpti_image *img, int32_t pid, int32_t ppid)
{
	struct ckpti_r_proc p = {.pid = pid,
				 .ppid = ppid,
				 .pgid = 41,
				 .sid = 41,
				 .umask = 022,
				 .leader_tid = (uint32_t)pid,
				 .exe_mapfile = 1,
				 .agent_block = 0x5000};
	struct ckpti_pid_head h = {.pid = pid};
	struct ckpti_r_mm mm = {.pid = pid, .start_code = 0x400000, .brk = 0x900000};
	struct ckpti_e_vma vmas[] = {
		{.start = 0x400000, .end = 0x402000, .prot = 5, .kind = CKPTI_VMA_FILE, .obj = 1},
		{.start = 0x402000, .end = 0x404000, .prot = 3, .kind = CKPTI_VMA_ANON},
		{.start = 0x700000, .end = 0x701000, .prot = 3, .kind = CKPTI_VMA_SHM, .obj = 1},
	};
	struct ckpti_e_thread t[] = {{.tid = pid,
				      .uc = 0x403000,
				      .fs_base = 0x402100,
				      .comm = "worker",
				      .timerslack = 50000}};
	struct ckpti_e_sigaction sa[64] = {[1] = {.handler = 1}};
	struct ckpti_e_rlimit rl[16] = {[3] = {.cur = 8 << 20, .max = UINT64_MAX}};
	struct ckpti_e_itimer it[3] = {{.value_us = 1000}};
	struct ckpti_e_timer tm[] = {{.id = 0, .clock = 1, .signo = 10, .interval_ns = 5}};
	struct ckpti_e_siginfo si[] = {{.raw = {10}}};
	struct ckpti_e_range ranges[] = {{.start = 0x402000, .end = 0x403000}};
	struct ckpti_e_fd fds[] = {{.fd = 0, .obj = 4},
				   {.fd = 3, .obj = 1},
				   {.fd = 4, .obj = 5},
				   {.fd = 5, .obj = 10}};
	struct ckpti_r_extents x = {.owner_kind = CKPTI_OWN_PROC, .owner = (uint32_t)pid};
	struct ckpti_e_extent e[] = {{.addr = 0x401000, .len = 8192, .off = 0, .datafile = 1}};
	uint64_t auxv[] = {6, 4096, 0, 0};
	uint32_t groups[] = {100, 101, 102};
	const char *ps[] = {"worker", "/bin/worker", "/tmp", "/", "worker -v in.dat"};

	add(img, CKPTI_R_PROC, FIXED(p), STRS(ps), NO_ARRAY);
	add(img, CKPTI_R_RLIMITS, FIXED(h), NO_STR, ARRAY(rl));
	add(img, CKPTI_R_GROUPS, FIXED(h), NO_STR, ARRAY(groups));
	add(img, CKPTI_R_MM, FIXED(mm), NO_STR, ARRAY(auxv));
	add(img, CKPTI_R_VMAS, FIXED(h), NO_STR, ARRAY(vmas));
	add(img, CKPTI_R_GUARDS, FIXED(h), NO_STR, ARRAY(ranges));
	add(img, CKPTI_R_THREADS, FIXED(h), NO_STR, ARRAY(t));
	add(img, CKPTI_R_SIGACTIONS, FIXED(h), NO_STR, ARRAY(sa));
	add(img, CKPTI_R_PENDING, FIXED(h), NO_STR, ARRAY(si));
	add(img, CKPTI_R_ITIMERS, FIXED(h), NO_STR, ARRAY(it));
	add(img, CKPTI_R_TIMERS, FIXED(h), NO_STR, ARRAY(tm));
	add(img, CKPTI_R_FDS, FIXED(h), NO_STR, ARRAY(fds));
	add(img, CKPTI_R_EXTENTS, FIXED(x), NO_STR, ARRAY(e));
}

static void add_objects(struct ckpti_image *img)
{
	struct ckpti_r_obj_file file = {
		.o = {.id = 1, .oflags = 02}, .pos = 5, .size = 5, .content = 1};
	struct ckpti_r_obj_path dir = {.o = {.id = 2}}, chr = {.o = {.id = 3}, .rdev = 0x103};
	struct ckpti_r_obj_stdio std = {.o = {.id = 4}, .fd = 0};
	struct ckpti_r_obj_pipe pipe = {
		.o = {.id = 5}, .pipe = 77, .is_read = 1, .capacity = 65536, .nbytes = 3};
	struct ckpti_r_obj_pipe fifo = {
		.o = {.id = 6}, .pipe = 78, .is_write = 1, .capacity = 4096};
	struct ckpti_r_obj_eventfd ev = {.o = {.id = 7}, .count = 9};
	struct ckpti_r_obj_timerfd tfd = {.o = {.id = 8}, .clock = 1, .interval_ns = 1000};
	struct ckpti_r_obj_signalfd sfd = {.o = {.id = 9}, .mask = 0x200};
	struct ckpti_r_obj_epoll ep = {.o = {.id = 10}};
	struct ckpti_e_epoll watch[] = {{.fd = 4, .obj = 5, .events = 1, .pid = 41, .data = 4}};
	struct ckpti_r_obj_memfd mem = {.o = {.id = 11}, .shm = 1};
	struct ckpti_r_obj_unix un = {.o = {.id = 12}, .type = 1, .peer = 13, .nbytes = 2};
	struct ckpti_r_obj_unix un2 = {.o = {.id = 13}, .type = 1, .peer = 12};
	struct ckpti_r_obj_tcp tcp = {.o = {.id = 14}, .family = 2, .peer = 15, .linger = -1};
	struct ckpti_r_obj_tcp tcp2 = {.o = {.id = 15}, .family = 2, .peer = 14, .nbytes = 1};
	struct ckpti_r_obj_udp udp = {.o = {.id = 44}, .family = 2, .nbytes = 1};
	struct ckpti_r_obj_netlink nl = {.o = {.id = 45}, .type = 3, .ngroups = 1};
	struct ckpti_r_obj_ptm ptm = {.o = {.id = 116}, .nlines = 1, .nin = 2, .nout = 3};
	struct ckpti_r_obj_pts pts = {.o = {.id = 117}, .master = 116};
	struct ckpti_r_obj_pidfd pidfd = {.o = {.id = 40}, .pid = 42};
	struct ckpti_r_obj_path opath = {.o = {.id = 41, .oflags = 010000000}, .mode = 0120777};
	struct ckpti_r_obj_proc proc = {.o = {.id = 42}, .pid = 41};
	const char *rest[] = {"mountinfo"};
	struct ckpti_r_obj_inotify ino = {.o = {.id = 43}, .unread = 16};
	struct ckpti_e_watch watches[] = {{.wd = 1, .mask = 2}, {.wd = 7, .mask = 0x100}};
	const char *watched[] = {"/tmp/a", "/tmp/b"};
	struct ckpti_e_lock locks[] = {
		{.kind = CKPTI_LOCK_POSIX, .type = 1, .pid = 41, .fd = 3, .obj = 1}};
	const char *path[] = {"/tmp/out.txt"}, *none[] = {""};

	add(img, CKPTI_R_OBJ_FILE, FIXED(file), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_DIR, FIXED(dir), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_CHR, FIXED(chr), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_STDIO, FIXED(std), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_PIPE, FIXED(pipe), NO_STR, "abc", 1, 3);
	add(img, CKPTI_R_OBJ_FIFO, FIXED(fifo), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_EVENTFD, FIXED(ev), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_TIMERFD, FIXED(tfd), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_SIGNALFD, FIXED(sfd), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_EPOLL, FIXED(ep), NO_STR, ARRAY(watch));
	add(img, CKPTI_R_OBJ_MEMFD, FIXED(mem), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_UNIX, FIXED(un), STRS(none), "hi", 1, 2);
	add(img, CKPTI_R_OBJ_UNIX, FIXED(un2), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_TCP, FIXED(tcp), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_TCP, FIXED(tcp2), NO_STR, "x", 1, 1);
	add(img, CKPTI_R_OBJ_UDP, FIXED(udp), STRS(none), "x", 1, 1);
	add(img, CKPTI_R_OBJ_NETLINK, FIXED(nl), NO_STR, "\1\0\0\0", 1, 4);
	add(img, CKPTI_R_OBJ_PTM, FIXED(ptm), STRS(path), "\2\0\0\0\1\0\0\0x\nabc", 1, 13);
	add(img, CKPTI_R_OBJ_PTS, FIXED(pts), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_PIDFD, FIXED(pidfd), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_OBJ_OPATH, FIXED(opath), STRS(path), NO_ARRAY);
	add(img, CKPTI_R_OBJ_INOTIFY, FIXED(ino), STRS(watched), ARRAY(watches));
	add(img, CKPTI_R_OBJ_PROC, FIXED(proc), STRS(rest), NO_ARRAY);
	add(img, CKPTI_R_LOCKS, NULL, 0, NO_STR, ARRAY(locks));
}

void sample_fill(struct ckpti_image *img, int with_datafile, const char *pin,
		 const uint64_t pin_hash[2], uint64_t pin_size)
{
	struct ckpti_r_datafile d = {.id = 1, .size = SAMPLE_DATA_SIZE};
	struct ckpti_r_mapfile map = {.id = 1, .flags = CKPTI_MF_EXE, .size = pin_size};
	struct ckpti_r_shm shm = {.id = 1, .kind = CKPTI_SHM_MEMFD, .size = 4096};
	struct ckpti_r_content content = {.id = 1, .size = 5};
	struct ckpti_r_extents xs = {.owner_kind = CKPTI_OWN_SHM, .owner = 1};
	struct ckpti_r_extents xc = {.owner_kind = CKPTI_OWN_CONTENT, .owner = 1};
	struct ckpti_e_extent es[] = {{.addr = 0, .len = 4096, .off = 8192, .datafile = 1}};
	struct ckpti_e_extent ec[] = {{.addr = 0, .len = 5, .off = 12288, .datafile = 1}};
	const char *dname[] = {SAMPLE_DATA_NAME}, *sname[] = {"heap"};
	const char *mname[] = {"/bin/worker", pin ? pin : ""};

	map.hash[0] = pin_hash ? pin_hash[0] : 1;
	map.hash[1] = pin_hash ? pin_hash[1] : 2;
	add_set(img);
	if (with_datafile)
		add(img, CKPTI_R_DATAFILE, FIXED(d), STRS(dname), NO_ARRAY);
	add(img, CKPTI_R_MAPFILE, FIXED(map), STRS(mname), NO_ARRAY);
	add(img, CKPTI_R_SHM, FIXED(shm), STRS(sname), NO_ARRAY);
	add(img, CKPTI_R_EXTENTS, FIXED(xs), NO_STR, ARRAY(es));
	add(img, CKPTI_R_CONTENT, FIXED(content), NO_STR, NO_ARRAY);
	add(img, CKPTI_R_EXTENTS, FIXED(xc), NO_STR, ARRAY(ec));
	add_process(img, 41, 0);
	add_process(img, 42, 41);
	add_objects(img);
}

void sample_build(struct ckpti_image *img)
{
	struct ckpti_header h = {
		.generation = 7, .ctime_ns = 1700000000, .page_size = 4096, .uid = 1000};

	ckpti_image_init(img);
	sample_fill(img, 1, SAMPLE_PIN_NAME, NULL, 1234);
	ckpti_image_seal(img, &h);
}
