/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between the coordinator and the agents of a set: docs/design/0002-agent-protocol.md.
 *
 * The coordinator listens on an abstract SOCK_SEQPACKET socket named after a random nonce, which it
 * sends in the signal; the leading thread of each process connects when all its threads stand still.
 * Bulk results go into a mailbox, a memfd that the coordinator passes in its first message.
 * The layout is frozen per protocol version: an agent that was loaded before an upgrade of the
 * package talks to a coordinator from after it.
 */
#ifndef CKPT_AGENT_PROTOCOL_H
#define CKPT_AGENT_PROTOCOL_H

#include <stdint.h>

#define CKPTI_PROTOCOL    1
#define CKPTI_SOCK_PREFIX "posix-ckpt/" /* + 16 hex digits of the nonce, after the leading NUL */

enum ckpti_msg_type {
	/* agent -> coordinator */
	CKPTI_M_HELLO = 1, /* all threads of the process stand still */
	CKPTI_M_HELD,      /* not now: ckpt_hold() or a plug-in */
	CKPTI_M_PREPARED,  /* atcheckpoint handlers have run */
	CKPTI_M_FAILED,    /* muster or command failed: error, tid */
	CKPTI_M_DONE,      /* command carried out */
	CKPTI_M_FDS,       /* descriptors, with SCM_RIGHTS; n of them, more = 1 if others follow */
	CKPTI_M_TRACK,     /* a userfaultfd, with SCM_RIGHTS; or error */
	/* coordinator -> agent */
	CKPTI_M_MAILBOX = 32, /* SCM_RIGHTS: the mailbox; value = its size */
	CKPTI_M_SENDFDS,
	CKPTI_M_STATE, /* write struct ckpti_state into the mailbox */
	CKPTI_M_WRITE, /* ranges are in the mailbox; SCM_RIGHTS: the data file; value = first offset */
	CKPTI_M_RESUME, /* go on; error = result of the round, value = generation */
};

#define CKPTI_FDS_PER_MSG 128

struct ckpti_msg {
	uint32_t type;
	uint32_t protocol;
	int32_t pid; /* as the process sees itself */
	int32_t tid;
	int32_t error; /* 0 or -errno */
	uint32_t n;
	uint32_t more;
	uint32_t pad;
	uint64_t value;
	uint64_t block;                /* HELLO: address of struct ckpti_agent */
	uint64_t resume;               /* HELLO: entry of restored threads */
	uint64_t addr;                 /* FAILED: address concerned, if any */
	char text[64];                 /* FAILED: what was being done */
	int32_t fd[CKPTI_FDS_PER_MSG]; /* FDS: numbers in the process */
};

/* ---- mailbox after STATE ------------------------------------------------------------------ */

#define CKPTI_STATE_SIGNALS 64

/* Offsets are from the start of the mailbox; arrays are of the image's element structs. */
struct ckpti_state {
	uint64_t size;                        /* bytes used */
	uint64_t threads, nthreads;           /* struct ckpti_e_thread */
	uint64_t sigactions;                  /* struct ckpti_e_sigaction[64] */
	uint64_t pending, npending;           /* struct ckpti_state_pending */
	uint64_t itimers;                     /* struct ckpti_e_itimer[3] */
	uint64_t timers, ntimers;             /* struct ckpti_e_timer */
	uint64_t foreign_maps, nforeign_maps; /* struct ckpti_e_range: left out by plug-ins */
	uint64_t exclude, nexclude;           /* struct ckpti_e_range: content not saved */
	uint64_t auxv, nauxv;                 /* uint64_t */
	uint64_t brk;
	uint64_t set_id;
	uint32_t leader_tid;
	uint32_t restarts;
	uint32_t nforeign_tasks;
	uint32_t eintr_hidden, eintr_lost;
	uint32_t dumpable, subreaper, keepcaps, thp_disable;
	int32_t pdeathsig;
	uint64_t mailbox_start, mailbox_end; /* where the mailbox is mapped: to be left out */
};

struct ckpti_state_pending {
	int32_t tid; /* 0: of the process */
	uint32_t pad;
	uint8_t info[128];
};

/* ---- mailbox for WRITE -------------------------------------------------------------------- */

enum ckpti_scan {
	CKPTI_SCAN_PRIVATE =
		1,           /* pages of the process' own: present or swapped, not file, not zero */
	CKPTI_SCAN_ALL,      /* the whole range as it is */
	CKPTI_SCAN_NONZERO,  /* shared memory: whole pages that are not all zero */
	CKPTI_SCAN_ANON,     /* as PRIVATE, of a mapping without a file: much quicker to tell */
	CKPTI_SCAN_RESIDENT, /* as NONZERO, of an object that lies in memory and nowhere else */
};

struct ckpti_write_range {
	uint64_t start, end;
	uint32_t scan; /* enum ckpti_scan */
	uint32_t prot; /* PROT_* of the mapping: made readable for the time of the write */
	uint64_t bias; /* added to addresses in the answer: object offset - address */
};

struct ckpti_write {
	uint64_t nranges;
	uint64_t ranges;  /* offset of struct ckpti_write_range[] */
	uint64_t extents; /* answer: offset of struct ckpti_e_extent[] (addr, len, off filled in) */
	uint64_t nextents;
	uint64_t guards; /* answer: offset of struct ckpti_e_range[] */
	uint64_t nguards;
	uint64_t end_off; /* answer: first free offset of the data file */
};

#endif
