/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request state machine between one Hyper-V host and the programs that
 * bring a guest to rest: which is asked what, in which order, for how long, and
 * what the host hears.  It is the same file in the FreeBSD module and in the
 * simulator, so it knows no kernel, allocates nothing and has no globals.
 * (Compile vss_core.c together with vss_ic.c.)  An errno it returns is the
 * platform's own: ETIMEDOUT is 60 on FreeBSD and 110 on Linux.
 *
 * It never sleeps and has no lock: the caller serialises all calls on one
 * struct vss_core, vss_core_timeout() included.  Callbacks run inside these
 * calls and must not call back into the core.
 */
#ifndef _VSS_CORE_H_
#define	_VSS_CORE_H_

#include "hv_snapshot.h"	/* and the integer types, kernel or not */

#define	VSS_FS_OPENER		0	/* index of the filesystem node's */
#define	VSS_APPS_MAX		8	/* applications at once, most */
#define	VSS_OPENERS_MAX		(1 + VSS_APPS_MAX)
#define	VSS_RECENT_IDS		16	/* ids that a late WRITE may name */
#define	VSS_HOST_MSG_MAX	256	/* bytes; a real request has 40 */

#define	VSS_TIMEOUT_DEFAULT_MS	15000	/* the in-base driver's */
#define	VSS_TIMEOUT_LOWEST_MS	10
#define	VSS_TIMEOUT_HIGHEST_MS	60000
#define	VSS_FREEZE_HIGHEST_MS	900000	/* FREEZE's own: Linux's driver's */

enum vss_node {
	VSS_NODE_FS = 0,	/* hv_fsvss_dev: one opener, the daemon */
	VSS_NODE_APP = 1	/* hv_appvss_dev: applications */
};

/* A request failed; a request came or was answered; each step. */
enum vss_log_level { VSS_LOG_ERR = 0, VSS_LOG_INFO = 1, VSS_LOG_DEBUG = 2 };

struct vss_core_config {
	uint32_t	max_apps;	/* 1..VSS_APPS_MAX; 0: VSS_APPS_MAX */
	uint32_t	timeout_ms;	/* VSS_TIMEOUT_*; 0: the default */
	uint32_t	freeze_timeout_ms; /* 0: as the others */
};

/* What the core needs done.  log and done may be NULL. */
struct vss_core_ops {
	/* Wall clock, ns since 1970; may step. */
	uint64_t (*now_ns)(void *arg);
	/*
	 * Answer to the host; xactid as it came with the message.  0, or an
	 * errno if it did not go out; it is not tried again.
	 */
	int	(*send)(void *arg, uint64_t xactid, uint8_t *msg, size_t len);
	/* This opener has become readable: wake a program that polls it. */
	void	(*notify)(void *arg, int opener);
	/* Call vss_core_timeout() after ms, once; after a cancel, don't. */
	void	(*timer_arm)(void *arg, uint32_t ms);
	void	(*timer_cancel)(void *arg);
	/*
	 * A request is over, and this was its answer.  may_hold is 1 if file-
	 * systems may be frozen now: start nothing that could wait for a disk.
	 */
	void	(*done)(void *arg, const struct hv_vss_heard_req *heard,
		    int may_hold);
	/* what is a static phrase; opener is -1 where it's about the host. */
	void	(*log)(void *arg, int level, const char *what, int opener,
		    uint32_t opt, uint64_t msgid);
};

/* Totals since vss_core_init(). */
struct vss_core_counters {
	uint64_t	messages;	/* host messages with a whole header */
	uint64_t	runts;		/* shorter ones, dropped unanswered */
	uint64_t	requests;	/* CHECKs, FREEZEs and THAWs */
	uint64_t	answers;	/* messages - answers is 0 or 1 */
	uint64_t	unsent;		/* answers that did not go out */
	uint64_t	timeouts;	/* requests that ran out of time */
	uint64_t	late_answers;	/* WRITEs after the request was over */
	uint64_t	refused;	/* requests failed: busy, or no daemon */
	uint64_t	cancelled;	/* CHECK or FREEZE ended by a THAW */
	uint64_t	driver_thaws;	/* THAWs of our own to applications */
};

enum vss_stage { VSS_IDLE = 0, VSS_ASKING_APPS, VSS_ASKING_FS };

/* An opener's part in the request at hand. */
enum vss_part {
	VSS_PART_NONE = 0,	/* not asked */
	VSS_PART_QUEUED,	/* to be READ */
	VSS_PART_READ,		/* READ; its WRITE is awaited */
	VSS_PART_DONE		/* has answered */
};

/* Here so that a softc can embed it and C can look; only vss_core.c writes. */
struct vss_opener {
	uint8_t		open;
	uint8_t		part;		/* enum vss_part */
	uint8_t		own;		/* same, for the driver's own THAW */
	uint8_t		holds;		/* was handed FREEZE, and no THAW yet */
	uint32_t	recent_next;	/* index into recent */
	int32_t		pid;		/* that opened it */
	uint64_t	own_id;
	uint64_t	late;		/* the last id it answered too late */
	uint64_t	recent[VSS_RECENT_IDS];	/* ids it has READ */
};

struct vss_request {
	uint32_t	opt;		/* HV_VSS_* */
	uint32_t	len;
	uint64_t	msgid;
	uint64_t	xactid;
	uint32_t	app;		/* that makes it fail; 0: none */
	int32_t		app_pid;
	uint8_t		msg[VSS_HOST_MSG_MAX];	/* copy of the host's */
};

struct vss_core {
	struct vss_core_ops	ops;
	void			*arg;
	uint32_t		max_apps;
	uint32_t		timeout_ms;
	uint32_t		freeze_timeout_ms; /* 0: timeout_ms */
	uint32_t		fw_version;	/* negotiated; 0: not yet */
	uint32_t		msg_version;
	uint32_t		next_seq;
	uint8_t			detached;
	uint8_t			stage;		/* enum vss_stage */
	struct vss_request	req;		/* valid unless VSS_IDLE */
	struct vss_opener	openers[VSS_OPENERS_MAX];
	struct vss_core_counters counters;
	uint64_t		heard_total;	/* % HV_VSS_HEARD_MAX: next */
	struct hv_vss_heard_req	heard[HV_VSS_HEARD_MAX];
};

size_t	vss_core_size(void);
size_t	vss_core_align(void);

/* config may be NULL for the defaults; out of range values are clamped. */
void	vss_core_init(struct vss_core *c, const struct vss_core_config *config,
	    const struct vss_core_ops *ops, void *arg);

/*
 * Fails what is pending, wakes all openers; from then on open and ioctl get
 * ENXIO, host messages are dropped, and only closing and IOCHVVSSHEARD work.
 * Idempotent.
 */
void	vss_core_detach(struct vss_core *c);

/* Both take effect with the next request; clamped, but for FREEZE's 0. */
void	vss_core_set_timeout_ms(struct vss_core *c, uint32_t timeout_ms);
void	vss_core_set_freeze_timeout_ms(struct vss_core *c, uint32_t timeout_ms);

/*
 * A message from the host, in a buffer that the core may scribble on.  If it
 * has a whole header it is answered through send exactly once, now or later.
 */
void	vss_core_host_msg(struct vss_core *c, uint8_t *msg, size_t len,
	    uint64_t xactid);

/*
 * 0 and the opener's index; EBUSY: as many as may be; ENXIO: detached.  The
 * pid is only kept, for the daemon to be told.
 */
int	vss_core_open(struct vss_core *c, enum vss_node node, int32_t pid,
	    int *openerp);
void	vss_core_close(struct vss_core *c, int opener);

/* 0; with nothing queued too, but then msg->status is VSS_FAIL.  ENXIO. */
int	vss_core_read(struct vss_core *c, int opener,
	    struct hv_vss_opt_msg *msg);
/*
 * 0; ENOENT: never READ by this opener; EINVAL: another opt than was READ
 * (still awaited); ENXIO.  If READ by it, but nothing waits for it any more:
 * ETIMEDOUT for the daemon, and 0 for an application, as from the in-base
 * driver; it can learn of that by vss_core_heard().
 */
int	vss_core_write(struct vss_core *c, int opener,
	    const struct hv_vss_opt_msg *msg);
/* 0 or ENXIO.  Only the daemon is told pids. */
int	vss_core_heard(const struct vss_core *c, int opener,
	    struct hv_vss_heard *heard);
/*
 * One of the three by its ioctl number; data is its struct.  EPERM: READ or
 * WRITE, and the descriptor is not open for writing.  ENOTTY: any other number
 * (before data is touched).
 */
int	vss_core_ioctl(struct vss_core *c, int opener, unsigned long cmd,
	    int open_for_writing, void *data);

/* 1 if poll(2) should say POLLIN: something to READ, or detached. */
int	vss_core_is_readable(const struct vss_core *c, int opener);
void	vss_core_timeout(struct vss_core *c);
enum vss_stage	vss_core_stage(const struct vss_core *c);
int		vss_core_openers(const struct vss_core *c, enum vss_node node);
/* The daemon may hold filesystems frozen, as in done. */
#define	VSS_CORE_MAY_HOLD(c)	((c)->openers[VSS_FS_OPENER].holds != 0)

#endif /* !_VSS_CORE_H_ */
