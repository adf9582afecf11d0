/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hv_vss_plugin.h: all that a plugin of hv_vss has to know.
 *
 * hv_vss brings a FreeBSD guest to rest while its Hyper-V host takes a backup.  A plugin is a shared object that brings one
 * application, or one kind of filesystem, to rest and lets it go again; or that is told, when all is over, how it went.  This header is
 * plain C11 and C++17 and includes nothing but three standard headers.  hv_vss_plugin(3) says the same at greater length;
 * docs/plugin-guide.md walks through an example.
 *
 * THE LIFE OF A PLUGIN
 *
 *      dlopen, hv_vss_plugin_v1()               the host reads your table
 *               |
 *               v
 *             open ---- refused, broken ----->  the host ends; nothing else is called, close neither
 *               |
 *               v
 *      +---> at rest <--------------------------------------------+
 *      |        |   \                                             |
 *      |        |    +-- check, claim (often, change nothing) ----+
 *      |        |                                                 |
 *      |        +-- freeze -- done ------> holding -- thaw -------+      thaw comes after every freeze, also after one
 *      |                 \                                        |      that was refused, was broken or was given up;
 *      |                  +- refused,                             |      it may come twice, and it may come to a process
 *      |                     broken -----------------> thaw ------+      that never froze (see `owed`)
 *      |
 *      +---- close ---->  the process ends
 *
 *      As a filesystem plugin you get one freeze for each filesystem, in the right order, and hold several at once; each gets its
 *      own thaw.  As an application plugin you get one freeze and one thaw in a cycle.
 *
 *      An observer holds nothing: between open and close it gets `ended`, and nothing else, after each cycle and each CHECK.
 *
 * PROCESS       Each plugin runs in a process of its own, as root, with umask 077, in "/", with descriptors 0 to 2 connected to
 *               nothing you may rely on and no core dumps.  Crash or hang, and this process is killed: the backup fails with a
 *               sentence that names you, everything is let go, nobody else is harmed.  Descriptor 3 and SIGALRM are not yours.
 * THREADS       Every function is called on one and the same thread, one at a time; the host's functions may be called on that
 *               thread only, while one of yours is at work.  An application plugin or an observer may have threads of its own.  A
 *               filesystem plugin may not: the kernel refuses to suspend UFS for a process with more than one thread.
 * STRINGS       UTF-8, ended by a null byte.  What the host passes belongs to the host and is valid until your function returns:
 *               copy what you keep.  What you put in the table belongs to you and stays valid as long as you are loaded.  No
 *               memory is ever handed over to be freed by the other side.
 * ERRORS        Three results.  DONE.  REFUSED: it can't be done now, for a reason an administrator can act on.  BROKEN: you
 *               yourself failed.  With the last two write a sentence to `reason`, which has room for `reason_size` bytes,
 *               the null byte included: who, what, what to do (snprintf does the right thing).  Any other number counts as BROKEN.
 *               No exception, no longjmp, no panic may leave your function.
 * TIME          Each call has a deadline.  At the deadline the process is killed, so be done, or give up, before.  Ask
 *               host->time_left_ms(), and host->cancelled() wherever you wait: after true, give up and return REFUSED.
 * WHILE FROZEN  From a freeze until the thaw nothing in the process may wait for a disk: no write to a file, no open for writing, no
 *               close of a disk file, no fork, no exec, no syslog(3).  host->log() is safe: it never blocks.  An observer is not told
 *               of freezes: it does such things within `ended` only, and has ended them when that returns.
 * GROWTH        Each struct begins with its size.  Members are only ever appended.  A newer host calls an older plugin with what it
 *               knows; an older host ignores what it doesn't know of a newer plugin.  A member behind the end of what the host
 *               gave you is not there: HV_VSS_HAS() tells.  What this header promises as version 1 holds for every later host.
 */
#ifndef HV_VSS_PLUGIN_H
#define	HV_VSS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version this header describes; for the member `abi` of the table. */
#define	HV_VSS_PLUGIN_ABI	1

/* Is `member` within what the other side gave us?  HV_VSS_HAS(struct hv_vss_step, step, owed) */
#define	HV_VSS_HAS(type, pointer, member)					\
	((pointer)->size >= offsetof(type, member) + sizeof((pointer)->member))

/* On your entry function: visible from outside, whatever the compiler's flags say. */
#if defined(__GNUC__) || defined(__clang__)
#define	HV_VSS_EXPORT	__attribute__((__visibility__("default")))
#else
#define	HV_VSS_EXPORT
#endif

/* What your functions return (`claim` has its own numbers). */
enum {
	HV_VSS_DONE = 0,
	HV_VSS_REFUSED = 1,
	HV_VSS_BROKEN = 2
};

/* What `claim` returns. */
enum {
	HV_VSS_CLAIM_FREEZE = 16,	/* I will freeze it */
	HV_VSS_CLAIM_IGNORE = 17,	/* it needs no freezing; say why in `reason` */
	HV_VSS_CLAIM_VETO = 18,		/* it can't be frozen, and a backup without it would be wrong; say why and what to do */
	HV_VSS_CLAIM_NOT_MINE = 19	/* ask the next plugin */
};

/* Bits of `roles`. */
enum {
	HV_VSS_ROLE_FILESYSTEM = 1,	/* suspends filesystems: has `claim` */
	HV_VSS_ROLE_APPLICATION = 2,	/* brings an application to rest */
	/* Is told how cycles ended: has `ended`, and no other role beside it, since nobody may wait for an observer.  Appended to version 1. */
	HV_VSS_ROLE_OBSERVER = 4
};

/* Bits of `flags`. */
enum {
	/*
	 * What you hold stays held when your process ends.  (A suspension of UFS ends with its holder; an ext4 frozen with FIFREEZE
	 * does not thaw.)  With this bit a dead process is started anew and told to thaw, with the mounts in step->mounts.
	 */
	HV_VSS_HOLDS_SURVIVE_EXIT = 1
};

/* How the cycle stands; HV_VSS_OUTCOME for scripts. */
enum {
	HV_VSS_OUTCOME_OK = 0,		/* nothing has failed so far */
	HV_VSS_OUTCOME_ABORTED = 1,	/* the freeze failed or was given up */
	HV_VSS_OUTCOME_EXPIRED = 2,	/* the Hyper-V host did not thaw in time; we let go by ourselves */
	HV_VSS_OUTCOME_RECOVERED = 3,	/* the daemon died in between; this cleans up after it */
	HV_VSS_OUTCOME_RESTORED = 4	/* the machine was started from the backup, or was reset during it */
};

/* Levels of log(). */
enum {
	HV_VSS_LOG_DEBUG = 0,
	HV_VSS_LOG_INFO = 1,
	HV_VSS_LOG_WARN = 2,
	HV_VSS_LOG_ERROR = 3
};

/* Halves of a cycle, for substep(). */
enum {
	HV_VSS_PHASE_FREEZE = 0,
	HV_VSS_PHASE_THAW = 1
};

/* Progress of a sub-step, for substep(). */
enum {
	HV_VSS_SUBSTEP_PLANNED = 0,	/* will be run in this cycle if nothing goes wrong before */
	HV_VSS_SUBSTEP_STARTED = 1,
	HV_VSS_SUBSTEP_ENDED = 2
};

/* Bits of a mount's `flags`. */
enum {
	HV_VSS_MOUNT_READ_ONLY = 1
};

/* One mounted filesystem. */
struct hv_vss_mount {
	uint32_t	 size;
	uint32_t	 flags;		/* HV_VSS_MOUNT_... */
	uint8_t		 fsid[8];	/* statfs(2)'s f_fsid, in memory order */
	const char	*fstype;	/* "ufs", "zfs", ... */
	const char	*on;		/* the directory it is mounted on */
	const char	*from;		/* the device, dataset or directory that is mounted */
	const char	*backing;	/* NULL, or the file that holds this filesystem (a vnode-backed md(4)) */
	const char	*swap;		/* NULL, or a swap file in use that lies on it */
};

/* The host's functions.  Each takes the pointer to this struct itself. */
struct hv_vss_host {
	uint32_t	 size;
	uint32_t	 abi;		/* the newest version this host knows */

	/* One line for hv_vss's log.  Never blocks; of too many at once the rest is dropped and counted. */
	void		(*log)(const struct hv_vss_host *host, int32_t level, const char *text);

	/*
	 * A part of your step with a name of its own was planned, has started or has ended (HV_VSS_SUBSTEP_...): it is shown in the
	 * timeline.  `failure`: NULL, or with ENDED the sentence that says what went wrong.  Parts that started in the freeze and
	 * whose thaw has not been reported as ended are what a new process of yours finds in `owed`.
	 */
	void		(*substep)(const struct hv_vss_host *host, const char *name, int32_t phase, int32_t progress,
			    const char *failure);

	/* Milliseconds until the deadline of the call at work; 0 when it has passed. */
	uint64_t	(*time_left_ms)(const struct hv_vss_host *host);

	/* Not 0 when the call at work should be given up.  Cheap: one system call. */
	int32_t		(*cancelled)(const struct hv_vss_host *host);

	/*
	 * In `thaw` only, before it returns DONE: what you should have held did not stay at rest until now (the connection broke,
	 * somebody else thawed it).  The Hyper-V host then hears that the backup is no good.
	 */
	void		(*lost)(const struct hv_vss_host *host, const char *why);

	/*
	 * You have started a process for the sub-step of this name, in this half of the cycle.  `pid`: its number, which is also that of its
	 * session; `mark`: the value of HV_VSS_FAMILY in its environment, which no other process of yours has.  Should your process die before
	 * the thaw has been answered, hv_vss ends it with all that descends from it, before another process of yours is told to thaw.
	 * Of a sub-step whose thaw was reported as ended, what it started in the thaw is left alone.
	 * Appended to version 1: ask HV_VSS_HAS(struct hv_vss_host, host, started) first.
	 */
	void		(*started)(const struct hv_vss_host *host, const char *name, int32_t phase, int32_t pid, const char *mark);
};

/* One line of your table [plugin.NAME] in the configuration. */
struct hv_vss_setting {
	uint32_t	 size;
	uint32_t	 reserved;
	const char	*key;		/* "limit"; in a table within the table, "retry.count" */
	const char	*value;		/* strings as they are, numbers in decimal, "true" and "false"; a list comes once for each item */
};

/* What `open` is given. */
struct hv_vss_opening {
	uint32_t	 size;
	uint32_t	 setting_count;
	const struct hv_vss_setting *const *settings;
	const char	*json;		/* the same table as JSON, for those who like it better */
	const struct hv_vss_host *host;	/* valid until close has returned */
};

/* What check, claim, freeze, thaw and ended are given. */
struct hv_vss_step {
	uint32_t	 size;
	uint32_t	 outcome;	/* HV_VSS_OUTCOME_... */
	uint32_t	 role;		/* freeze, thaw, ended: the one HV_VSS_ROLE_... in which you are called; else 0 */
	uint32_t	 mount_count;
	const char	*cycle;		/* the cycle's id, as the log shows it */
	const struct hv_vss_host *host;

	/*
	 * Freeze and thaw as a filesystem plugin: the one filesystem this call is about.  As an application plugin: all that will be
	 * frozen, or were; an application that uses none of them has nothing to do.
	 */
	const struct hv_vss_mount *const *mounts;

	uint64_t	 deadline_ns;	/* at this instant of CLOCK_MONOTONIC the process is killed, in nanoseconds */
	uint64_t	 time_left_ms;	/* the same, as seen from the beginning of the call */

	/* freeze: at this instant of CLOCK_MONOTONIC thaw is called, should nobody have asked for it; else 0 */
	uint64_t	 expiry_ns;

	/*
	 * thaw: the sub-steps an earlier process of yours reported as started and did not live to let go of.  Empty when this process
	 * did the freeze itself.
	 */
	const char *const *owed;
	uint32_t	 owed_count;
	uint32_t	 reserved;

	/*
	 * freeze, in a rehearsal: do the sub-step of this name and no other; else NULL.  If there is none of this name, refuse and say so.
	 * Appended to version 1: ask HV_VSS_HAS(struct hv_vss_step, step, only) first.
	 */
	const char	*only;

	/* freeze, thaw: not 0 in a rehearsal.  Appended to version 1. */
	uint32_t	 rehearsal;
	uint32_t	 reserved2;
};

/* What hv_vss_plugin_v1() returns a pointer to.  Members marked * are required. */
struct hv_vss_plugin {
	uint32_t	 size;		/* * sizeof(struct hv_vss_plugin) */
	uint32_t	 abi;		/* * HV_VSS_PLUGIN_ABI */
	uint32_t	 roles;		/* * HV_VSS_ROLE_...: one, or filesystem and application */
	uint32_t	 flags;		/* HV_VSS_HOLDS_SURVIVE_EXIT or 0 */
	uint32_t	 number;	/* 1 to 99, lower ones freeze first and thaw last; 0: the configuration's, else 50 */
	uint32_t	 reserved;	/* 0 */
	const char	*name;		/* * short: "postgres" */
	const char	*version;	/* * your own: "2.1" */
	const char	*description;	/* one line, or NULL */

	/*
	 * * Called once, first.  Connect, read `opening`, allocate what later calls need: this is where you may take time and memory.
	 * *self is yours and comes back in every other call.  Refuse settings you don't know, and name them.
	 * DONE: ready.  REFUSED, BROKEN: nothing else is called, so clean up before.
	 */
	int32_t		(*open)(const struct hv_vss_opening *opening, void **self, char *reason, size_t reason_size);

	/*
	 * * but not of an observer.  Could you take part in a freeze now?  Called before every backup and whenever an administrator asks;
	 * changes nothing.
	 * DONE: yes.  REFUSED: no, and the backup must not start.
	 */
	int32_t		(*check)(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size);

	/*
	 * * with HV_VSS_ROLE_FILESYSTEM.  Whose is this mount?  Returns HV_VSS_CLAIM_...  Asked for each mount in each CHECK and
	 * FREEZE, so decide from what you are given: no input or output.
	 */
	int32_t		(*claim)(void *self, const struct hv_vss_step *step, const struct hv_vss_mount *mount, char *reason,
			    size_t reason_size);

	/*
	 * * but not of an observer.  Come to rest and stay so after returning.  DONE: what is on disk is consistent and stays as it is until the thaw.
	 * REFUSED, BROKEN: the backup fails; thaw comes all the same, so it need not tidy up.
	 */
	int32_t		(*freeze)(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size);

	/*
	 * * but not of an observer.  Let go.  DONE: nothing is held any more, also when there was nothing to let go.  REFUSED: it is still held and may be
	 * asked again.  BROKEN: you can't tell.  Must work without having been frozen, and twice.
	 */
	int32_t		(*thaw)(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size);

	/* * The last call: free what open made.  Nothing is held by then. */
	void		(*close)(void *self);

	/*
	 * * with HV_VSS_ROLE_OBSERVER.  A cycle or a CHECK is over, nothing is frozen, and this is its record: a JSON object, the one that
	 * `vssctl --json show` prints, with the members `daemon_version`, `state` (idle, refusing, owes) and `again` more; step->cycle is
	 * its cycle.  `again` is true when an earlier process of yours may have been told of it before: whoever has just been started is told
	 * of the latest.  Of several that wait because you are slow only the latest comes.
	 * Whatever you return, nobody waits for it and nothing changes by it: a reason is logged.  When a FREEZE comes meanwhile, cancelled()
	 * becomes true; who is still at work when the first filesystem is suspended is killed before.
	 * Appended to version 1: an older host does not know the role and does not load an observer.
	 */
	int32_t		(*ended)(void *self, const struct hv_vss_step *step, const char *record, char *reason, size_t reason_size);
};

/* The one symbol the host looks for.  Must do nothing but return the table. */
HV_VSS_EXPORT const struct hv_vss_plugin *hv_vss_plugin_v1(void);

#ifdef __cplusplus
}
#endif

#endif /* HV_VSS_PLUGIN_H */
