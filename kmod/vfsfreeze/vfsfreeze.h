/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * /dev/vfsfreeze: holds one mounted filesystem still for each descriptor.
 * See vfsfreeze(4).  Reserved fields must be 0; those of answers are 0.
 */
#ifndef _VFSFREEZE_H_
#define	_VFSFREEZE_H_

#include <sys/param.h>
#include <sys/ioccom.h>
#include <sys/mount.h>

#define	VFSFREEZE_DEV_NAME	"vfsfreeze"
#define	VFSFREEZE_ABI		1

/* Flags of a request and of a state. */
#define	VFSFREEZE_GATE_ONLY	0x0001U	/* hold writers; sync only started */
/* Flags of a state. */
#define	VFSFREEZE_QUIESCED	0x0002U	/* all is written: MNTK_SUSPENDED */

enum vfsfreeze_what {
	VFSFREEZE_IDLE = 0,		/* no hold on this descriptor yet */
	VFSFREEZE_BEGUN = 1,		/* being suspended */
	VFSFREEZE_HELD = 2,
	VFSFREEZE_FAILED = 3,		/* see error */
	VFSFREEZE_RELEASED = 4,
	VFSFREEZE_EXPIRED = 5,
};

struct vfsfreeze_version {
	uint32_t	abi;		/* VFSFREEZE_ABI */
	uint32_t	max_hold_ms;
	uint32_t	reserved[6];
};

struct vfsfreeze_flush {
	fsid_t		fsid;
	uint32_t	flags;		/* 0 */
	uint32_t	reserved[5];
};

struct vfsfreeze_hold {
	fsid_t		fsid;
	uint32_t	hold_ms;	/* from HOLD on, not from held */
	uint32_t	flags;		/* VFSFREEZE_GATE_ONLY */
	uint32_t	reserved[4];
};

struct vfsfreeze_state {
	uint32_t	state;		/* enum vfsfreeze_what */
	int32_t		error;		/* errno of VFSFREEZE_FAILED, or 0 */
	uint32_t	flags;
	uint32_t	left_ms;	/* until it expires */
	uint64_t	begin_us;	/* from HOLD to held, or until now */
	uint64_t	held_us;	/* from held to the end, or until now */
	uint64_t	reserved[4];
};

#define	VFSFREEZE_VERSION	_IOR('V', 1, struct vfsfreeze_version)
#define	VFSFREEZE_FLUSH		_IOW('V', 2, struct vfsfreeze_flush)
#define	VFSFREEZE_HOLD		_IOW('V', 3, struct vfsfreeze_hold)
#define	VFSFREEZE_STATE		_IOR('V', 4, struct vfsfreeze_state)
#define	VFSFREEZE_RELEASE	_IO('V', 5)

#endif /* !_VFSFREEZE_H_ */
