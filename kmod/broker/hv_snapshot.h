/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The user ABI of the VSS device nodes: one message, two ioctls.  It is the
 * in-base driver's, unchanged, so that a program built for one runs with the
 * other.  Nothing else of this driver is visible to user space.
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

#endif /* !_HV_SNAPSHOT_H_ */
