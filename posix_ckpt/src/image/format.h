/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The on-disk format of a generation, version 1: this header and docs/format/image-v1.md are the
 * contract.  A generation file is a header and a stream of records; memory and file content lie
 * page-aligned in data files that records refer to.  All integers are little endian, all structs are
 * padded by hand, nothing is ever removed: new fields are appended to a fixed part, and a reader
 * zero-extends the shorter fixed part of an older writer.
 */
#ifndef CKPT_IMAGE_FORMAT_H
#define CKPT_IMAGE_FORMAT_H

#include <stdint.h>

#define CKPTI_MAGIC   "CKPTIMG" /* 8 bytes with the NUL */
#define CKPTI_VERSION 1
#define CKPTI_PAGE    4096 /* alignment of every extent in a data file */

struct ckpti_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size; /* sizeof(struct ckpti_header) of the writer */
	uint64_t total_size;  /* of the whole generation file */
	uint64_t nrecords;
	uint64_t body_hash;   /* XXH3-64 of bytes [header_size, total_size) */
	uint64_t header_hash; /* XXH3-64 of the header with this field 0 */
	uint64_t generation;
	int64_t ctime_ns;    /* CLOCK_REALTIME of the commit */
	uint32_t encryption; /* 0: none; other values are reserved */
	uint32_t page_size;  /* of the machine that wrote the image */
	uint32_t uid;        /* owner of the processes */
	uint32_t flags;      /* 0 */
	uint8_t key_id[32];  /* reserved for encryption: zeros */
};

/* Head of each record; the payload follows: fixed part, strings, array, each padded to 8 bytes. */
struct ckpti_rec {
	uint32_t type;       /* enum ckpti_rec_type */
	uint32_t fixed_size; /* bytes of the fixed struct */
	uint32_t str_size;   /* bytes of the NUL-terminated strings */
	uint32_t elem_size;  /* bytes of one array element, 0 when there is no array */
	uint64_t count;      /* number of array elements */
	uint64_t total; /* payload: pad8(fixed_size) + pad8(str_size) + pad8(elem_size * count) */
};

/* Bit of a type: a reader that does not know the record passes over it; any other unknown type makes
 * the image unreadable for it. */
#define CKPTI_R_OPTIONAL (1U << 31)

enum ckpti_rec_type {
	CKPTI_R_SET = 1,  /* once, first: what was captured, when */
	CKPTI_R_MACHINE,  /* once: what a restart must find again */
	CKPTI_R_DATAFILE, /* data files referenced by extents */
	CKPTI_R_PROC,     /* one for each process, parents before children */
	CKPTI_R_RLIMITS,
	CKPTI_R_GROUPS,
	CKPTI_R_MM,
	CKPTI_R_VMAS,
	CKPTI_R_EXTENTS = 10, /* 9 is not used */
	CKPTI_R_GUARDS,       /* guard regions (MADV_GUARD_INSTALL) */
	CKPTI_R_THREADS,
	CKPTI_R_SIGACTIONS,
	CKPTI_R_PENDING,
	CKPTI_R_ITIMERS,
	CKPTI_R_TIMERS,
	CKPTI_R_MAPFILE, /* a mapped file, pinned by content */
	CKPTI_R_SHM,     /* an object of shared memory that has its content in the image */
	CKPTI_R_FDS,     /* descriptor table of a process */
	CKPTI_R_LOCKS,   /* file locks */
	CKPTI_R_CONTENT, /* saved content of an open file */
	/* Open file descriptions: one record each; descriptors refer to them by id. */
	CKPTI_R_OBJ_FILE = 0x100,
	CKPTI_R_OBJ_DIR,
	CKPTI_R_OBJ_CHR,   /* /dev/null, zero, full, random, urandom */
	CKPTI_R_OBJ_STDIO, /* descriptor 0, 1 or 2 whose other end is outside the set */
	CKPTI_R_OBJ_PIPE,
	CKPTI_R_OBJ_FIFO,
	CKPTI_R_OBJ_EVENTFD,
	CKPTI_R_OBJ_TIMERFD,
	CKPTI_R_OBJ_SIGNALFD,
	CKPTI_R_OBJ_EPOLL,
	CKPTI_R_OBJ_MEMFD, /* descriptor of a CKPTI_R_SHM object */
	CKPTI_R_OBJ_UNIX,
	CKPTI_R_OBJ_TCP,
	CKPTI_R_OBJ_UDP = 0x110,
	CKPTI_R_OBJ_NETLINK,
	CKPTI_R_OBJ_PTM = 0x118, /* master of a pseudo-terminal */
	CKPTI_R_OBJ_PTS,         /* slave of one */
	CKPTI_R_OBJ_PIDFD = 0x120,
	CKPTI_R_OBJ_OPATH, /* O_PATH of what is neither a file nor a directory */
	CKPTI_R_OBJ_PROC,  /* of one process in /proc */
	CKPTI_R_OBJ_INOTIFY,
};

struct ckpti_r_set {
	uint64_t set_id; /* random identity of the set, from `cpr run` */
	uint64_t generation;
	int64_t ctime_ns;
	uint64_t request_type; /* P_PID … of ckpt.h */
	int64_t request_id;
	uint32_t root_pid;
	uint32_t nprocs;
	uint32_t nthreads;
	uint32_t restarts;  /* how often the set has been restarted before this generation */
	uint64_t mem_bytes; /* memory captured */
	uint64_t stored_bytes;
	uint64_t stop_ns;    /* first task in to last task out, or to the capture's end with -k */
	int64_t realtime_ns; /* the three clocks at the capture */
	int64_t monotonic_ns;
	int64_t boottime_ns;
	uint32_t eintr_hidden;
	uint32_t eintr_lost;
	uint64_t launch_cpus[16]; /* processors that the launch of this life had; 0: not known */
	/* strings: host name, program name, CKPT_LAUNCH_FILE (may be missing) */
};

struct ckpti_r_machine {
	uint32_t arch; /* e_machine */
	uint32_t page_size;
	uint64_t hwcap;
	uint64_t hwcap2;
	uint64_t xcr0;
	uint32_t xsave_size;
	uint32_t cpu_words; /* used of cpu[] */
	uint32_t cpu[16];   /* feature words; meaning by arch, see docs/format */
	uint64_t vdso_hash; /* XXH3-64 of the vdso's pages */
	uint64_t vdso_size;
	/* strings: kernel release, cpu model, boot id */
};

struct ckpti_r_datafile {
	uint32_t id;
	uint32_t flags; /* 0 */
	uint64_t size;
	uint64_t generation; /* that wrote it; 0: this one */

	/* string: file name inside the statefile directory */
};

enum ckpti_proc_state {
	CKPTI_PROC_LIVE = 0,
	CKPTI_PROC_ZOMBIE = 1
};

struct ckpti_r_proc {
	int32_t pid;
	int32_t ppid; /* 0: outside the set */
	int32_t pgid;
	int32_t sid;
	uint32_t state;  /* enum ckpti_proc_state */
	int32_t wstatus; /* of a zombie, as wait() reports it */
	int32_t exit_signal;
	uint32_t umask;
	uint32_t uid[4]; /* real, effective, saved, fs */
	uint32_t gid[4];
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint32_t dumpable;
	uint32_t subreaper;
	uint32_t no_new_privs;
	int32_t pdeathsig;
	int32_t oom_score_adj;
	int32_t tty_fg; /* 1 when its group was the terminal's foreground group */
	uint32_t personality;
	uint32_t thp_disable;
	uint64_t agent_block;  /* address of the agent's block (struct ckpti_agent_block) */
	uint64_t agent_resume; /* entry by which restored threads come in */
	uint32_t leader_tid;   /* thread that led the muster */
	uint32_t exe_mapfile;  /* CKPTI_R_MAPFILE id of the executable */
	uint32_t restarts;
	int32_t host_pid;    /* with start_time: is this very process still alive? */
	uint64_t start_time; /* in clock ticks since the boot that MACHINE names */
	uint32_t tty;        /* OBJ id of its terminal's master, 0: none, or outside the set */
	uint32_t pad;
	/* strings: comm, exe, cwd, root, command line (arguments separated by spaces) */
};

struct ckpti_pid_head {
	int32_t pid;
	int32_t tid; /* CKPTI_R_PENDING: the thread, 0 for the process */
};

struct ckpti_e_rlimit {
	uint64_t cur, max;
}; /* index = RLIMIT_* */

struct ckpti_r_mm {
	int32_t pid;
	uint32_t pad;
	uint64_t start_code, end_code, start_data, end_data;
	uint64_t start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	uint64_t def_flags; /* of new mappings: CKPTI_VF_LOCKED, CKPTI_VF_LOCKONFAULT */
			    /* array: auxv, as uint64_t */
};

enum ckpti_vma_kind {
	CKPTI_VMA_ANON = 1,   /* private anonymous */
	CKPTI_VMA_FILE,       /* private map of `obj` (MAPFILE); changed pages are extents */
	CKPTI_VMA_FILESHARED, /* shared map of `obj` (MAPFILE) on a real file system */
	CKPTI_VMA_SHM,        /* shared map of `obj` (SHM) */
	CKPTI_VMA_SHMPRIV,    /* private map of `obj` (SHM); changed pages are extents */
	CKPTI_VMA_VDSO,       /* vvar, vvar_vclock, vdso: moved, never saved */
};

struct ckpti_e_vma {
	uint64_t start, end;
	uint64_t off;
	uint64_t vmflags; /* CKPTI_VF_* */
	uint32_t prot;    /* PROT_* */
	uint32_t kind;    /* enum ckpti_vma_kind */
	uint32_t obj;     /* id of MAPFILE or SHM, 0 when none */
	uint32_t huge;    /* of hugetlbfs: binary logarithm of the page size; 0: usual pages */
};

#define CKPTI_VF_GROWSDOWN   (1U << 0)
#define CKPTI_VF_LOCKED      (1U << 1)
#define CKPTI_VF_NORESERVE   (1U << 2)
#define CKPTI_VF_DONTFORK    (1U << 3)
#define CKPTI_VF_DONTDUMP    (1U << 4)
#define CKPTI_VF_HUGEPAGE    (1U << 5)
#define CKPTI_VF_NOHUGEPAGE  (1U << 6)
#define CKPTI_VF_MERGEABLE   (1U << 7)
#define CKPTI_VF_WIPEONFORK  (1U << 8)
#define CKPTI_VF_SEQ         (1U << 9)
#define CKPTI_VF_RAND        (1U << 10)
#define CKPTI_VF_LOCKONFAULT (1U << 11)
#define CKPTI_VF_STACK       (1U << 12) /* the kernel's own [stack] */
#define CKPTI_VF_MAYWRITE    (1U << 13) /* of a shared file: mprotect() may make it writable */
#define CKPTI_VF_SEALED      (1U << 14) /* mseal(2) */

enum ckpti_owner {
	CKPTI_OWN_PROC = 1, /* owner = pid, addr = virtual address */
	CKPTI_OWN_SHM,      /* owner = SHM id, addr = offset in the object */
	CKPTI_OWN_CONTENT,  /* owner = CONTENT id, addr = offset in the file */
};

struct ckpti_r_extents {
	uint32_t owner_kind; /* enum ckpti_owner */
	uint32_t owner;
};

struct ckpti_e_extent {
	uint64_t addr;
	uint64_t len;  /* a multiple of the page size, except the last one of a file */
	uint64_t off;  /* in the data file, page-aligned */
	uint64_t hash; /* XXH3-64 of the bytes */
	uint32_t datafile;
	uint32_t flags; /* 0: raw */
};

struct ckpti_e_range {
	uint64_t start, end;
};

struct ckpti_e_thread {
	int32_t tid;
	uint32_t flags; /* 0 */
	uint64_t uc;    /* address of the signal frame's ucontext on the thread's stack */
	uint64_t fs_base, gs_base;
	uint64_t robust, robust_len;
	uint64_t clear_tid;
	uint64_t rseq;
	uint32_t rseq_len, rseq_sig;
	char comm[16];
	int32_t nice;
	int32_t policy;
	int32_t priority;
	uint32_t timerslack;
	uint64_t affinity[16]; /* first 1024 processors */
};

struct ckpti_e_sigaction {
	uint64_t handler, flags, restorer, mask;
}; /* index = signal - 1, 64 of them */

struct ckpti_e_siginfo {
	uint8_t raw[128];
};

struct ckpti_e_itimer {
	int64_t interval_us, value_us;
}; /* ITIMER_REAL, VIRTUAL, PROF */

struct ckpti_e_timer {
	int32_t id;
	int32_t clock;
	int32_t signo;
	int32_t notify;
	int32_t tid;
	int32_t overrun;
	uint64_t value; /* sigev_value */
	int64_t interval_ns, value_ns;
};

struct ckpti_r_mapfile {
	uint32_t id;
	uint32_t flags; /* CKPTI_MF_* */
	uint64_t dev, ino, size;
	int64_t mtime_ns;
	uint64_t hash[2]; /* XXH3-128 of the content: low, high */
	uint32_t mode;
	uint32_t pad;
	/* strings: path, name of the stored copy ("" when none) */
};
#define CKPTI_MF_EXE  (1U << 0)
#define CKPTI_MF_GONE (1U << 1) /* had been deleted from its directory */

enum ckpti_shm_kind {
	CKPTI_SHM_ANON = 1,
	CKPTI_SHM_MEMFD,
	CKPTI_SHM_FILE,
	CKPTI_SHM_DELETED
};

struct ckpti_r_shm {
	uint32_t id;
	uint32_t kind; /* enum ckpti_shm_kind */
	uint64_t dev, ino, size;
	uint32_t mode;
	uint32_t seals;
	uint32_t memfd_flags; /* MFD_* that can be told from outside */
	uint32_t uid, gid;
	uint32_t pad;
	int64_t mtime_ns;
	/* string: path, or the memfd's name */
};

struct ckpti_e_fd {
	int32_t fd;
	uint32_t obj;   /* id of an OBJ record */
	uint32_t flags; /* FD_CLOEXEC */
	uint32_t pad;
};

/* Common head of every OBJ record. */
struct ckpti_obj {
	uint32_t id;     /* unique in the set, from 1 */
	uint32_t oflags; /* F_GETFL */
	uint64_t dev, ino;
	int32_t owner;     /* F_GETOWN_EX: id, 0 when unset */
	int32_t ownertype; /* F_OWNER_* */
	int32_t ownersig;  /* F_GETSIG */
	uint32_t pad;
};

struct ckpti_r_content {
	uint32_t id; /* > 0; FILE records refer to it */
	uint32_t pad;
	uint64_t size;
	/* EXTENTS with owner CKPTI_OWN_CONTENT hold the bytes */
};

struct ckpti_r_obj_file {
	struct ckpti_obj o;
	uint64_t pos;
	uint64_t size;
	int64_t mtime_ns;
	uint64_t content; /* CONTENT id, 0 when the content was not saved */
	uint32_t mode, uid, gid;
	uint32_t gone;   /* 1: no name left in the file system */
	uint32_t policy; /* enum ckpt_file_action of ckpt.h, 0: default */
	uint32_t pad;
	uint32_t included; /* 1: no process has it open; saved because the user asked for it */
	uint32_t pad2;
	/* string: path */
};

struct ckpti_r_obj_path { /* DIR, CHR, OPATH */
	struct ckpti_obj o;
	uint64_t pos; /* DIR: cookie for getdents */
	uint64_t rdev;
	uint32_t mode; /* OPATH: st_mode */
	uint32_t gone; /* DIR: 1: it has been removed */
		       /* string: path */
};

#define CKPTI_PTY_LOCKED    (1U << 0) /* the slave may not be opened by its name */
#define CKPTI_PTY_PACKET    (1U << 1)
#define CKPTI_PTY_EXCLUSIVE (1U << 2)
#define CKPTI_PTY_OPENED    (1U << 3) /* the slave has been open at least once */

#define CKPTI_PTY_HELD_KEY   (1U << 0) /* the slave's output was stopped by its STOP character */
#define CKPTI_PTY_HELD_CALL  (1U << 1) /* by tcflow(3) */
#define CKPTI_PTY_HELD_INPUT (1U << 2) /* the master's output, by tcflow(3) */

struct ckpti_r_obj_ptm {
	struct ckpti_obj o;
	uint32_t index;                      /* N of /dev/pts/N */
	uint32_t flags;                      /* CKPTI_PTY_* */
	uint32_t iflag, oflag, cflag, lflag; /* settings: c_iflag … of struct termios2 */
	uint32_t ispeed, ospeed;
	uint8_t cc[32];
	uint32_t line;
	uint32_t mode;       /* of the slave's inode, 0: not known */
	uint16_t winsize[4]; /* rows, columns, width and height in pixels */
	uint32_t held;       /* CKPTI_PTY_HELD_* */
	uint32_t nlines; /* the array: for each line of the input its length and how it ended: */
	uint32_t nin;    /* 0 not, 1 by its last character, 2 by end of file; as uint32_t; then */
	uint32_t nout;   /* bytes to be read from the slave, bytes to be read from the master */
			 /* string: path, array of bytes */
};

struct ckpti_r_obj_pts {
	struct ckpti_obj o;
	uint32_t master;    /* OBJ id, 0: the terminal has been hung up */
	uint32_t exclusive; /* TIOCEXCL */
			    /* string: path */
};

struct ckpti_r_obj_pidfd {
	struct ckpti_obj o;
	int32_t pid; /* 0: it has ended, and its parent has waited for it */
	uint32_t pad;
};

struct ckpti_e_watch {
	int32_t wd;
	uint32_t mask; /* IN_* */
};

struct ckpti_r_obj_inotify {
	struct ckpti_obj o;
	uint32_t unread; /* bytes of events that had not been read, and are not saved */
	uint32_t pad;
	/* strings: one path for each watch, array: struct ckpti_e_watch */
};

struct ckpti_r_obj_proc {
	struct ckpti_obj o;
	uint64_t pos;
	int32_t pid;
	uint32_t pad;
	/* string: what follows /proc/PID/, "" for that directory itself */
};

struct ckpti_r_obj_stdio {
	struct ckpti_obj o;
	int32_t fd; /* 0, 1 or 2: which descriptor of the restarting command takes its place */
	uint32_t pad;
	/* string: what it was, for messages */
};

struct ckpti_r_obj_pipe { /* PIPE, FIFO */
	struct ckpti_obj o;
	uint64_t pipe;    /* identity of the pipe: all ends of one pipe carry the same */
	uint32_t is_read; /* which end(s): FIFOs opened O_RDWR have both */
	uint32_t is_write;
	uint32_t capacity;
	uint32_t mode;
	uint64_t nbytes;   /* of the array: queued data, held by exactly one record of the pipe */
	uint32_t npackets; /* packet mode: the array starts with so many lengths as uint32_t */
	uint32_t pad;
	/* string: path (FIFO), array of bytes: queued data */
};

struct ckpti_r_obj_eventfd {
	struct ckpti_obj o;
	uint64_t count;
	uint32_t semaphore;
	uint32_t pad;
};

struct ckpti_r_obj_timerfd {
	struct ckpti_obj o;
	int32_t clock;
	uint32_t settime_flags;
	uint64_t ticks; /* expirations not yet read */
	/* Time left, as timerfd_gettime reports; TFD_TIMER_ABSTIME on CLOCK_REALTIME: time of day. */
	int64_t value_ns, interval_ns;
};

struct ckpti_r_obj_signalfd {
	struct ckpti_obj o;
	uint64_t mask;
};

struct ckpti_e_epoll {
	int32_t fd;   /* number under which the file was added */
	uint32_t obj; /* its OBJ id */
	uint32_t events;
	int32_t pid; /* a process that holds `obj` under this number, or held it */
	uint64_t data;
	uint32_t closed; /* 1: there it is under this number no more */
	uint32_t pad;
};

struct ckpti_r_obj_epoll {
	struct ckpti_obj o;
	/* array: struct ckpti_e_epoll */
};

struct ckpti_r_obj_memfd {
	struct ckpti_obj o;
	uint64_t pos;
	uint32_t shm; /* CKPTI_R_SHM id */
	uint32_t pad;
};

struct ckpti_r_obj_unix {
	struct ckpti_obj o;
	int32_t type;  /* SOCK_STREAM, SOCK_DGRAM */
	uint32_t peer; /* OBJ id, 0 when none */
	uint32_t listening;
	uint32_t backlog;
	int32_t sndbuf, rcvbuf;
	uint32_t shut; /* bits 1: read side, 2: write side */
	uint32_t passcred;
	uint32_t bound;  /* 1: has a name of its own */
	uint32_t mode;   /* st_mode of the socket file, 0: no file is left */
	uint64_t nbytes; /* queued data to be read from this end */
	uint32_t nmsgs;  /* datagrams: lengths as uint32_t stand in front of the data */
	uint32_t gone;   /* 1: the other end is closed, 2: with data that it had not read */
	int64_t rcvtimeo_us, sndtimeo_us;
	uint32_t senders; /* 1: behind the lengths, uint32_t each: OBJ id, 0: a nameless socket */
	uint32_t pad;
	/* string: name (path, or "@" and an escaped abstract name); array of bytes: queued data */
};

struct ckpti_r_obj_tcp {
	struct ckpti_obj o;
	int32_t family; /* AF_INET, AF_INET6 */
	uint32_t peer;  /* OBJ id of the other end */
	uint32_t listening;
	uint32_t backlog;
	uint8_t local[28], remote[28]; /* sockaddr_in or sockaddr_in6 */
	int32_t sndbuf, rcvbuf;        /* 0: left to the kernel */
	uint32_t nodelay, keepalive, reuseaddr, v6only;
	int32_t rcvlowat, linger; /* linger: seconds, -1 off */
	uint32_t shut;
	uint32_t pad;
	uint64_t nbytes; /* data on its way to this end, in order */
	int64_t rcvtimeo_us, sndtimeo_us;
	int32_t opt[8]; /* see tcp_options[] in state/tcp.c, in this order */
			/* array of bytes */
};

/* An option that holds an integer and is read and set in the same way. */
struct ckpti_e_sockopt {
	int32_t level, name, value;
};

enum ckpti_membership_op {
	CKPTI_GROUP_JOIN = 1,
	CKPTI_GROUP_JOIN_SOURCE,
	CKPTI_GROUP_BLOCK_SOURCE
};

struct ckpti_e_membership {
	uint32_t op;                   /* enum ckpti_membership_op */
	char ifname[16];               /* interface; numbers change */
	uint8_t group[28], source[28]; /* sockaddr_in or sockaddr_in6 */
};

struct ckpti_e_datagram {
	uint32_t len;
	uint8_t from[28]; /* sockaddr_in or sockaddr_in6 */
};

struct ckpti_r_obj_udp { /* UDP, UDP-Lite */
	struct ckpti_obj o;
	int32_t family;                /* AF_INET, AF_INET6 */
	int32_t protocol;              /* IPPROTO_UDP, IPPROTO_UDPLITE */
	uint8_t local[28], remote[28]; /* sockaddr_in or sockaddr_in6; zeros: not connected */
	int32_t sndbuf, rcvbuf;        /* 0: left to the kernel */
	uint32_t cork;
	uint32_t nopts;   /* the array: so many ckpti_e_sockopt, */
	uint32_t ngroups; /* ckpti_e_membership, */
	uint32_t nmsgs;   /* ckpti_e_datagram, */
	uint64_t nbytes;  /* and the data of the datagrams */
	int64_t rcvtimeo_us, sndtimeo_us;
	/* string: device that it is bound to, array of bytes: see above */
};

struct ckpti_r_obj_netlink {
	struct ckpti_obj o;
	int32_t type;     /* SOCK_RAW, SOCK_DGRAM */
	int32_t protocol; /* NETLINK_ROUTE … */
	uint32_t bound;   /* 1: has a port */
	uint32_t port;
	uint32_t peer_port, peer_groups; /* of connect() */
	int32_t sndbuf, rcvbuf;          /* 0: left to the kernel */
	uint32_t nopts;                  /* the array: so many ckpti_e_sockopt, */
	uint32_t ngroups;                /* uint32_t with 32 groups each, */
	uint32_t nfilter;                /* and instructions of a packet filter, 8 bytes each */
	uint32_t pad;
	int64_t rcvtimeo_us, sndtimeo_us;
	/* array of bytes: see above */
};

enum ckpti_lock_kind {
	CKPTI_LOCK_POSIX = 1,
	CKPTI_LOCK_OFD,
	CKPTI_LOCK_FLOCK
};

struct ckpti_e_lock {
	uint32_t kind;       /* enum ckpti_lock_kind */
	int32_t type;        /* F_RDLCK, F_WRLCK */
	int32_t pid;         /* POSIX: owner; otherwise a process that holds the descriptor */
	int32_t fd;          /* a descriptor of that process for the file */
	uint64_t start, len; /* len 0: to the end of the file */
	uint32_t obj;
	uint32_t pad;
};

#endif
