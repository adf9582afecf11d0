/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The user ABI of the VSS device nodes.  One message and two ioctls are the
 * in-base driver's, unchanged, so that a program built for one runs with the
 * other.  IOCHVVSSHEARD is this driver's own.
 */
#ifndef _HV_SNAPSHOT_H_
#define	_HV_SNAPSHOT_H_

#include <sys/types.h>
#ifndef _KERNEL
#include <stdint.h>
#endif
#ifdef __FreeBSD__
#include <sys/ioccom.h>
#else
#include <sys/ioctl.h>
#endif

#define	FS_VSS_DEV_NAME		"hv_fsvss_dev"
#define	APP_VSS_DEV_NAME	"hv_appvss_dev"
#define	VSS_DEV(name)		"/dev/" name

/* hv_vss_opt_msg.status */
#define	VSS_SUCCESS		0
#define	VSS_FAIL		1

/* hv_vss_opt_msg.opt */
enum hv_vss_op_t {
	HV_VSS_NONE = 0,
	HV_VSS_CHECK,
	HV_VSS_FREEZE,
	HV_VSS_THAW,
	HV_VSS_COUNT
};

struct hv_vss_opt_msg {
	uint32_t	opt;		/* HV_VSS_* */
	uint32_t	status;		/* VSS_* */
	uint64_t	msgid;		/* when the driver took it, wall, ns */
	uint8_t		reserved[48];	/* zero */
};

#define	IOCHVVSSREAD		_IOR('v', 2, struct hv_vss_opt_msg)
#define	IOCHVVSSWRITE		_IOW('v', 3, struct hv_vss_opt_msg)

/*
 * What the host heard.  The in-base driver accepts this ioctl, too, and leaves
 * all of it zero: a version of 0 means "not known".  A later version only gives
 * meaning to fields that are reserved in an earlier one.
 */
#define	HV_VSS_HEARD_VERSION	1
#define	HV_VSS_HEARD_MAX	16	/* requests remembered */
#define	HV_VSS_HEARD_APPS	8	/* applications, most */

/* hv_vss_heard_req.status is VSS_SUCCESS, VSS_FAIL or this. */
#define	HV_VSS_HEARD_NOTHING	2	/* the answer did not reach the host */

/* hv_vss_heard_req.why; an _APP_ one names its application. */
enum hv_vss_why {
	HV_VSS_WHY_NONE = 0,
	HV_VSS_WHY_DONE,	/* all that were asked said yes */
	HV_VSS_WHY_FS_REFUSED,	/* the daemon said no */
	HV_VSS_WHY_FS_TIMEOUT,	/* the daemon did not answer in time */
	HV_VSS_WHY_FS_GONE,	/* the daemon closed its node meanwhile */
	HV_VSS_WHY_FS_CLOSED,	/* no daemon had its node open */
	HV_VSS_WHY_APP_REFUSED,	/* an application said no */
	HV_VSS_WHY_APP_TIMEOUT,	/* an application did not answer in time */
	HV_VSS_WHY_APP_GONE,	/* an application closed its node meanwhile */
	HV_VSS_WHY_BUSY,	/* another request was at hand */
	HV_VSS_WHY_DISPLACED,	/* a THAW took its place */
	HV_VSS_WHY_DETACHED,	/* the driver was detached */
	HV_VSS_WHY_COUNT
};

/* One request of the host, and its answer. */
struct hv_vss_heard_req {
	uint64_t	msgid;
	uint32_t	opt;		/* HV_VSS_* */
	uint32_t	status;		/* VSS_*, HV_VSS_HEARD_NOTHING */
	uint32_t	why;		/* HV_VSS_WHY_* */
	uint32_t	app;		/* its number, from 1; 0: none */
	int32_t		pid;		/* that opened it; 0: not told */
	uint32_t	reserved[3];	/* zero */
};

struct hv_vss_heard {
	uint32_t	version;	/* HV_VSS_HEARD_VERSION; never 0 */
	uint32_t	count;		/* of req that are in use */
	uint64_t	total;		/* requests answered since attach */
	uint64_t	late;		/* last id answered too late here */
	uint32_t	apps;		/* application nodes open */
	int32_t		app_pid[HV_VSS_HEARD_APPS]; /* by number; 0: not told */
	uint32_t	reserved[5];	/* zero */
	struct hv_vss_heard_req	req[HV_VSS_HEARD_MAX]; /* the oldest first */
};

#define	IOCHVVSSHEARD		_IOR('v', 4, struct hv_vss_heard)

#endif /* !_HV_SNAPSHOT_H_ */
