/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel objects behind descriptors: one file per object, save and restore side by side, each a row
 * of ckpti_fd_kinds[].  Saving runs in the coordinator while every task of the set is stopped: it
 * holds a duplicate of each descriptor (passed by the agents), so what it does must leave the object
 * as it was.  Restoring runs in the builder, an ordinary process from which the restored tree is
 * forked: it recreates each open file description once, children inherit it.
 */
#ifndef CKPT_STATE_STATE_H
#define CKPT_STATE_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "image/image.h"
#include "store/store.h"
#include "util/err.h"

/* ---- saving ------------------------------------------------------------------------------- */

/* One open file description of the set, seen through the first descriptor that was found for it. */
struct ckpti_desc {
	uint32_t id;   /* OBJ id, from 1 */
	int pid;       /* process as in this process' /proc */
	int image_pid; /* the same process as the image names it */
	int num;       /* descriptor number there */
	int fd;        /* duplicate here; -1 in a mere check (`cpr check`) */
	int oflags;    /* F_GETFL (from fdinfo in a mere check) */
	struct stat st;
	char link[PATH_MAX]; /* readlink of /proc/PID/fd/NUM */
	char *fdinfo;        /* text of /proc/PID/fdinfo/NUM */
	const struct ckpti_fd_kind *kind;
	void *priv; /* the kind's own, freed with free() */
};

/* What becomes of an open file at a restart: from --file-policy, the `.cpr` file or CKPT_FILEPOLICY.
 * The first rule whose glob matches the path (fnmatch(3), flags 0) counts. */
struct ckpti_file_rule {
	const char *glob;
	int action; /* enum ckpt_file_action of ckpt.h */
};

struct ckpti_capture {
	struct ckpti_image *img;
	struct ckpti_store *store; /* NULL in a mere check */
	struct ckpti_desc *desc;   /* all descriptions of the set, in the order of their ids */
	size_t ndesc;
	uint64_t copy_limit; /* content of files up to this size is saved (bytes) */
	/* Where saved content goes: one data file for the whole set, appended page-aligned. */
	uint32_t content_file;
	int content_fd;
	uint64_t content_end;
	uint32_t next_content; /* last CONTENT id given out */
	/* Which OBJ is descriptor `num` of process `pid` (0: none)? */
	uint32_t (*lookup)(const struct ckpti_capture *cap, int pid, int num);
	/* How the image names a process of the set: given as in this process' /proc, or as in its own
	 * pid namespace.  0: it is not in the set. */
	int (*member)(const struct ckpti_capture *cap, int pid, bool inner);
	const struct ckpti_file_rule *rules;
	size_t nrules;
};

/* ---- restoring ---------------------------------------------------------------------------- */

struct ckpti_redesc {
	uint32_t id;
	struct ckpti_view rec;
	const struct ckpti_fd_kind *kind;
	int fd;     /* the recreated description, -1 until restored; numbers are high */
	void *priv; /* the kind's own, freed with free() */
};

struct ckpti_relocation {
	const char *from, *to;
};

struct ckpti_rebuild {
	const struct ckpti_image *img;
	struct ckpti_store *store;
	struct ckpti_redesc *desc; /* sorted by id */
	size_t ndesc;
	uint64_t generation;
	bool clone; /* a second life beside the first: outputs must not be shared */
	const struct ckpti_relocation *reloc;
	size_t nreloc;
	const char *launch; /* what is restarted together on this host; NULL: this alone */
	int (*shm_fd)(struct ckpti_rebuild *rb, uint32_t shm); /* fd of a rebuilt SHM object */
	/* The number that a process of the image has now, when all processes exist. */
	int (*pid_now)(const struct ckpti_rebuild *rb, int pid);
	/* Has another process of the restart failed?  *err says how.  May be NULL. */
	bool (*aborted)(struct ckpti_rebuild *rb, struct ckpti_err *err);
	void (*note)(struct ckpti_rebuild *rb, const char *text); /* for the user; may be NULL */
};

struct ckpti_fd_kind {
	const char *name; /* "pipe": used in messages and docs/limits.md */
	uint32_t rec_type;
	/* 1: this kind's, 0: not, -errno with *err: this kind's, but it cannot be saved (say why).
	 * Must work without d->fd: st, link, fdinfo and oflags only. */
	int (*probe)(const struct ckpti_desc *d, struct ckpti_err *err);
	/* Add the OBJ record (and what belongs to it) to cap->img. */
	int (*save)(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err);
	/* Before anything is created or changed: would restore work?  May be NULL. */
	int (*check)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
	/* Create the description: set d->fd (and that of a peer).  A kind that finds d->fd >= 0
	 * returns 0. */
	int (*restore)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
	/* When all exist: fill queues, connect.  May be NULL. */
	int (*finish)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
	/* In the restored process, for each of its descriptors of this object: a description that only
	 * exists when all processes do, instead of the one that restore made.  Descriptor or -errno.
	 * May be NULL. */
	int (*place)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
	/* In the restored process `pid`, when its descriptors have their final numbers.  May be NULL. */
	int (*attach)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, int pid,
		      struct ckpti_err *err);
	/* At the point of no return, all processes being rebuilt: what changes the user's files
	 * (truncate a grown file …).  May be NULL. */
	int (*settle)(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
};

extern const struct ckpti_fd_kind *const ckpti_fd_kinds[]; /* NULL-terminated, probed in order */

/* Which row takes d?  Sets d->kind; -ENOTSUP names the object when none does. */
int ckpti_fd_probe(struct ckpti_desc *d, struct ckpti_err *err);
const struct ckpti_fd_kind *ckpti_fd_kind_by_type(uint32_t rec_type);

/* Helpers for the rows. */
void ckpti_obj_head(const struct ckpti_desc *d, struct ckpti_obj *ret); /* id, oflags, owner … */
int ckpti_obj_apply(int fd, const struct ckpti_obj *o);                 /* F_SETFL, F_SETSIG */
/* ckpti_obj_apply() at this place in the file. */
int ckpti_obj_apply_at(int fd, const struct ckpti_obj *o, uint64_t pos);
/* A new description becomes that of d, or is closed; `what` is for the message: "an eventfd". */
int ckpti_obj_take(struct ckpti_redesc *d, int fd, const struct ckpti_obj *o, const char *what,
		   struct ckpti_err *err);
/* `attach` of rows that need no more than F_SETOWN_EX, which only the owning process may do. */
int ckpti_obj_attach(struct ckpti_rebuild *rb, struct ckpti_redesc *d, int pid,
		     struct ckpti_err *err);
/* A file that no process has open: nobody refers to it, and it is never opened. */
bool ckpti_redesc_is_included(const struct ckpti_redesc *d);
struct ckpti_redesc *ckpti_redesc_by_id(struct ckpti_rebuild *rb, uint32_t id);
/* A directory that has been removed, as one was that had been at path.  Descriptor or -errno. */
int ckpti_dir_make_removed(const struct ckpti_store *store, const char *path);
/* Path after relocations; out has PATH_MAX bytes. */
const char *ckpti_relocate(const struct ckpti_rebuild *rb, const char *path, char *out);
/* A field "key:\tvalue" of fdinfo; NULL when absent.  Points behind the white space. */
const char *ckpti_fdinfo_field(const char *fdinfo, const char *key);
/* Save the content of fd (0 … size); adds CONTENT and EXTENTS; *ret_id is its id. */
int ckpti_content_save(struct ckpti_capture *cap, int fd, uint64_t size, uint32_t *ret_id,
		       struct ckpti_err *err);
/* Make fd (writable, without O_APPEND) hold exactly the saved content. */
int ckpti_content_restore(struct ckpti_rebuild *rb, uint32_t id, int fd, struct ckpti_err *err);
/* Does fd begin with the saved content?  1, 0 or -errno.  Checks all hashes in any case. */
int ckpti_content_equal(struct ckpti_rebuild *rb, uint32_t id, int fd, struct ckpti_err *err);

/* Pseudo-terminals (pty.c): OBJ id of the master of the controlling terminal of session sid (as in this
 * process' /proc), which has this device number, 0: outside the set; is d a terminal whose master is in
 * the set? */
uint32_t ckpti_pty_control(const struct ckpti_capture *cap, dev_t slave, pid_t sid);
bool ckpti_pty_inside(const struct ckpti_capture *cap, const struct ckpti_desc *d);
/* In a restored process: the terminal becomes that of its session, and its group the foreground's. */
int ckpti_pty_take_control(struct ckpti_rebuild *rb, uint32_t master);
int ckpti_pty_foreground(struct ckpti_rebuild *rb, uint32_t master);

/* File locks (lock.c): called for every descriptor of every process; adds elements to a list that
 * ckpti_locks_record() turns into one record. */
struct ckpti_locks;
struct ckpti_locks *ckpti_locks_new(void);
void ckpti_locks_free(struct ckpti_locks *l);
int ckpti_locks_save(struct ckpti_locks *l, int image_pid, int num, uint32_t obj,
		     const char *fdinfo, struct ckpti_err *err);
int ckpti_locks_record(const struct ckpti_locks *l, struct ckpti_image *img);
/* flock and OFD locks belong to the description and are taken in the builder.  POSIX locks belong to
 * the process and are taken by the restorer. */
int ckpti_locks_restore(struct ckpti_rebuild *rb, struct ckpti_err *err);

#endif
