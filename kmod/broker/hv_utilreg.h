/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The wire format of the host's VSS messages ("IC messages"): where each
 * field lies and which values it takes.  All fields are little-endian and
 * packed, so they are named by offset and read byte by byte (vss_ic.c); no
 * struct is ever laid over a buffer whose length is not known to suffice.
 */
#ifndef _HV_UTILREG_H_
#define	_HV_UTILREG_H_

/* Status of an answer. */
#define	HV_S_OK				0x00000000U
#define	HV_E_FAIL			0x80004005U
#define	HV_ERROR_NOT_SUPPORTED		0x80070032U

/* Common header: an 8-byte pipe header comes first and is only echoed. */
#define	HV_IC_TYPE			12	/* u16, HV_ICMSGTYPE_* */
#define	HV_IC_DSIZE			18	/* u16, bytes after header */
#define	HV_IC_STATUS			20	/* u32 */
#define	HV_IC_FLAGS			25	/* u8, HV_ICMSGHDRFLAG_* */
#define	HV_IC_HDRSIZE			28

#define	HV_ICMSGTYPE_NEGOTIATE		0
#define	HV_ICMSGTYPE_VSS		5

#define	HV_ICMSGHDRFLAG_TRANSACTION	1
#define	HV_ICMSGHDRFLAG_RESPONSE	4

/* NEGOTIATE: framework versions first, message versions after them. */
#define	HV_NEGO_FWCNT			28	/* u16 */
#define	HV_NEGO_MSGCNT			30	/* u16 */
#define	HV_NEGO_VERSIONS		36	/* u16 major, u16 minor each */
#define	HV_NEGO_VERSIZE			4

/* VSS */
#define	HV_VSS_OPERATION		28	/* u8, VSS_OP_* */
#define	HV_VSS_HDRSIZE			36
#define	HV_VSS_FLAGS			36	/* u32 */
#define	HV_VSS_MSGSIZE			40

/* CREATE, DELETE, BU_COMPLETE and AUTO_RECOVER ask nothing of a guest. */
#define	VSS_OP_CREATE			0
#define	VSS_OP_DELETE			1
#define	VSS_OP_HOT_BACKUP		2	/* the guest's CHECK */
#define	VSS_OP_GET_DM_INFO		3
#define	VSS_OP_BU_COMPLETE		4
#define	VSS_OP_FREEZE			5
#define	VSS_OP_THAW			6
#define	VSS_OP_AUTO_RECOVER		7

/* Flags of the answer to HOT_BACKUP: the host need not mount the copy. */
#define	VSS_HBU_NO_AUTO_RECOVERY	5

#endif /* !_HV_UTILREG_H_ */
